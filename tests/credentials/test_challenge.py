"""What a server asks for that refuses a request, and what its metadata may be about. Source: RFC 6750, RFC 9728."""

import pytest

from concento.credentials.challenge import Challenge, read_challenge
from concento.credentials.discovery import covers, is_safe_page

METADATA = "https://mcp.example.com/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", Challenge()),
        ("Bearer", Challenge()),
        ('Basic realm="x"', Challenge()),
        (f'Bearer resource_metadata="{METADATA}"', Challenge(METADATA)),
        (f'bearer  scope="a b a", resource_metadata="{METADATA}"', Challenge(METADATA, ("a", "b"))),
        ('Bearer error="insufficient_scope", scope="write"', Challenge(None, ("write",), "insufficient_scope")),
        ("Bearer error=invalid_token, scope=read", Challenge(None, ("read",), "invalid_token")),
        (f'Basic realm="x", Bearer resource_metadata="{METADATA}"', Challenge(METADATA)),
        ('Bearer scope="a", scope="b"', Challenge(None, ("a",))),
        (r'Bearer realm="a \" b, scope=\"c\"", scope="d"', Challenge(None, ("d",))),
        ('Bearer scope="ok \x7f bad\\"ly fine"', Challenge(None, ("ok", "fine"))),
        ("Bearer " + 'x="' * 5000, Challenge()),
    ],
)
def test_a_challenge_is_read_as_far_as_it_is_one(header: str, found: Challenge) -> None:
    assert read_challenge(header) == found


@pytest.mark.parametrize(
    ("resource", "url", "is_covered"),
    [
        ("https://mcp.example.com/mcp", "https://mcp.example.com/mcp", True),
        ("https://mcp.example.com", "https://mcp.example.com/mcp", True),
        ("https://mcp.example.com/", "https://mcp.example.com/mcp", True),
        ("https://MCP.example.com/a", "https://mcp.example.com/a/mcp", True),
        ("https://mcp.example.com/mc", "https://mcp.example.com/mcp", False),
        ("https://mcp.example.com/mcp/x", "https://mcp.example.com/mcp", False),
        ("https://evil.example.com/mcp", "https://mcp.example.com/mcp", False),
        ("http://mcp.example.com/mcp", "https://mcp.example.com/mcp", False),
        ("https://mcp.example.com:8443/mcp", "https://mcp.example.com/mcp", False),
        ("https://mcp.example.com/mcp#x", "https://mcp.example.com/mcp", False),
        ("https://mcp.example.com/mcp?x=1", "https://mcp.example.com/mcp", False),
        ("https://[", "https://mcp.example.com/mcp", False),
        ("nonsense", "https://mcp.example.com/mcp", False),
    ],
)
def test_a_token_is_for_the_server_or_what_it_is_a_part_of(resource: str, url: str, is_covered: bool) -> None:
    assert covers(resource, url) is is_covered


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://login.example.com/authorize", True),
        ("https://login.example.com/authorize?tenant=a", True),
        ("http://localhost:3000/authorize", True),
        ("http://127.0.0.1/authorize", True),
        ("http://[::1]/authorize", True),
        ("http://login.example.com/authorize", False),
        ("http://localhost.example.com/authorize", False),
        ("javascript:alert(1)", False),
        ("file:///etc/passwd", False),
        ("data:text/html,x", False),
        ("https://user:pass@login.example.com/", False),
        ("https://login.example.com/#x", False),
        ("https://login.example.com/\n", False),
        ("https://login.example.com/ $(touch x)", False),
        ("https://login.example.com\\@evil.example.com/", False),
        ("https:///nowhere", False),
        ("https://[", False),
        ("https://löschen.example.com/", False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
def test_people_are_sent_to_https_or_this_machine_and_to_nothing_a_shell_takes_up(url: object, is_safe: bool) -> None:
    assert is_safe_page(url) is is_safe
