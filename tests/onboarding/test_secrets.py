"""What is taken for a secret and what is not, by name and by look."""

import pytest

from concento.onboarding.secrets import Kind, secret_spans

TOKEN = "ghp_0123456789abcdefABCDEF0123456789ab"


@pytest.mark.parametrize(
    ("kind", "name", "text", "secret"),
    [
        ("env", "GITHUB_TOKEN", "short", ["short"]),
        ("env", "OPENAI_API_KEY", "sk-proj-0123456789abcdef", ["sk-proj-0123456789abcdef"]),
        ("env", "DB_PASSWORD", "p", ["p"]),
        ("env", "SOMETHING", TOKEN, [TOKEN]),
        ("env", "OPAQUE", "0123456789abcdef0123456789abcdef", ["0123456789abcdef0123456789abcdef"]),
        ("env", "AUTH_HEADER", "Bearer abc", ["Bearer abc"]),
        ("env", "PRIVATE_KEY", "-----BEGIN-----\nabc\n", ["-----BEGIN-----\nabc"]),
        ("env", "DATABASE_URL", "postgres://ada:pa55@db/x", ["pa55"]),
        ("env", "PASSWORD", "a$${b", ["a$${b"]),
        ("header", "Authorization", "Bearer abc.def", ["abc.def"]),
        ("header", "authorization", "Basic dXNlcjpwYXNz", ["dXNlcjpwYXNz"]),
        ("header", "X-API-Key", "abc", ["abc"]),
        ("header", "Cookie", "session=1; other=2", ["session=1; other=2"]),
        ("url", "", "https://x.example.com/mcp?api_key=abc&n=1", ["abc"]),
        ("url", "", "https://x.example.com/s/Ab0Cd1Ef2Gh3Ij4Kl5Mn6Op7/mcp", ["Ab0Cd1Ef2Gh3Ij4Kl5Mn6Op7"]),
        ("url", "", "https://ada:pa55@x.example.com/mcp", ["pa55"]),
        ("arg", "api-key", "abc", ["abc"]),
        ("arg", "header", "Authorization: Bearer abc", ["abc"]),
        ("arg", "H", "X-Api-Key: abc", ["abc"]),
        ("arg", "e", "GITHUB_TOKEN=abc", ["abc"]),
        ("arg", "", "--token=abc", ["abc"]),
        ("arg", "", "--header=Authorization: Bearer abc", ["abc"]),
        ("arg", "", "postgresql://ada:pa55@db.example.com:5432/shop", ["pa55"]),
        ("arg", "", TOKEN, [TOKEN]),
    ],
)
def test_a_secret_is_found_and_only_the_secret(kind: Kind, name: str, text: str, secret: list[str]) -> None:
    assert [text[start:end] for start, end in secret_spans(text, name, kind)] == secret


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("env", "MAX_TOKENS", "4096"),
        ("env", "LOG_LEVEL", "debug"),
        ("env", "GOOGLE_APPLICATION_CREDENTIALS", "/home/ada/key.json"),
        ("env", "SSH_KEY_PATH", "~/.ssh/id_ed25519"),
        ("env", "AUTH_ENABLED", "true"),
        ("env", "AUTH_URL", "https://login.example.com"),
        ("env", "GITHUB_TOKEN", "${env:GITHUB_TOKEN}"),
        ("env", "DATABASE_URL", "postgres://ada:${env:PW}@db/x"),
        ("env", "MODEL", "claude-sonnet-4-5-20250929"),
        ("env", "NODE_OPTIONS", "--max-old-space-size=4096"),
        ("header", "Accept-Language", "de"),
        ("header", "Authorization", "Bearer ${env:X}"),
        ("url", "", "https://x.example.com/v1/mcp?region=eu"),
        ("arg", "", "@modelcontextprotocol/server-filesystem@2026.8.31"),
        ("arg", "", "mcp-server-git==2026.10.19"),
        ("arg", "header", "Authorization:$${AUTH}"),
        ("arg", "", "ghcr.io/github/github-mcp-server"),
        ("arg", "", "--port=8080"),
        ("arg", "e", "GITHUB_TOKEN"),
        ("arg", "api-key", "--verbose"),
        ("arg", "", "/home/ada/Documents and notes 2024"),
    ],
)
def test_what_is_none_stays_where_a_person_can_read_it(kind: Kind, name: str, text: str) -> None:
    assert secret_spans(text, name, kind) == []
