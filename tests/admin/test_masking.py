"""What is shown of an object has no secret in it, and comes back as the object that it was."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concento.admin.masking import MASK, masked, masks, unmasked

SECRET = "s3cr3t-of-somebody"
TOKEN = "ghp_" + "a1B2" * 9


@pytest.mark.parametrize(
    "value",
    [
        {"credentials": {"bearer": SECRET}},
        {"credentials": {"basic": {"user": "hub", "password": SECRET}}},
        {"credentials": {"oauth": {"client_id": "x", "client_secret": SECRET}}},
        {"credentials": {"oauth": {"client_id": "x", "private_key": SECRET}}},
        {"replicas": [{"url": "https://x.example", "headers": {"X-Api-Key": SECRET}}]},
        {"headers": {"Authorization": f"Bearer {SECRET}", "Cookie": SECRET}},
        {"headers": {"Authorization": "Bearer ${env:A}" + SECRET}},
        {"env": {"DB_PASSWORD": SECRET, "SENTRY_DSN": SECRET, "GITHUB_PAT": SECRET}},
        {"command": ["x", "--api-key", SECRET, f"--token={SECRET}"]},
        {"webhook": {"url": "https://x.example", "secret": SECRET}},
        {"options": {"apiToken": SECRET}},
        {"args": ["serve", TOKEN]},
        {"env": {"INNOCENT": TOKEN}},
        {"url": f"https://x.example/?q={SECRET}"},
    ],
)
def test_no_secret_is_shown_and_all_of_it_comes_back(value: dict[str, Any]) -> None:
    known = {SECRET} if "url" in value else ()
    shown = masked(value, known)
    assert SECRET not in str(shown)
    assert TOKEN not in str(shown)
    assert list(masks(shown))
    assert unmasked(shown, value, known) == (value, [])


@pytest.mark.parametrize(
    "value",
    [
        {"credentials": {"bearer": "${env:DOCS_TOKEN}"}},
        {"headers": {"Authorization": "Bearer ${env:A}", "X-Key": "${file:b}"}},
        {"env": {"TZ": "Europe/Rome", "PORT": 80, "DEBUG": True, "API_KEY": "${env:X:-}"}},
        {"command": ["uvx", "mcp-server-time", "--local-timezone", "Europe/Rome", "--token", "${env:T}"]},
        {"credentials": {"oauth": {"token_url": "https://x.example/token", "client_id": "a-client-of-ours"}}},
        {"tools": {"get_secret": {"rename": "secret_of", "description": "Tells a secret's name"}}},
        {"url": "https://docs.example.com/mcp", "timeout_s": 3.5, "required": False},
        {"deny": ["*.delete_*"], "when": {"subjects": ["*@example.com"]}},
    ],
)
def test_what_is_no_secret_is_shown_as_it_is(value: dict[str, Any]) -> None:
    assert masked(value) == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([SECRET, MASK, "--token"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["bearer", "env", "headers", "A_KEY", "a", "args"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_is_shown_comes_back_as_it_was(value: Any) -> None:
    assert unmasked(masked(value, {SECRET}), value, {SECRET}) == (value, [])
    assert SECRET not in str(masked(value, {SECRET}))


def test_a_mask_that_stands_for_nothing_is_told() -> None:
    assert unmasked({"bearer": MASK}, None)[1] == ["/bearer"]
    assert unmasked({"args": ["--token=***"]}, {"args": []})[1] == ["/args/0"]
    assert unmasked({"args": [MASK, "b"]}, {"args": ["--token", "x"]})[1] == ["/args/0"]
    assert unmasked({"description": "a *** b"}, None)[1] == []
