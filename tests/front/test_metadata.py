"""What those are told who have not come in yet. Source: RFC 9728, RFC 6750, RFC 9110."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concento.front.identity.metadata import WELL_KNOWN, challenge, document, resource_path
from concento.model.auth import Auth, Certificate, Issuer

BASE_URL = "https://mcp.example.com"
ISSUER = Issuer("company", "https://login.example.com", scopes_supported=("tools:read", "tools:call"))
OTHER = Issuer("other", "https://other.example", scopes_supported=("tools:call", "x"))
SSO = Auth(BASE_URL, issuers=(ISSUER, OTHER))
KEYS = Auth()

_PARAMETER = re.compile(r'([a-z_]+)="((?:[\x20\x21\x23-\x5b\x5d-\x7e])*)"(?:, |$)')


def parameters(headers: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The parameters of a Bearer challenge, which must be all that is there."""
    ((name, value),) = headers
    assert name == "www-authenticate"
    scheme, _, rest = value.partition(" ")
    assert scheme == "Bearer"
    assert _PARAMETER.sub("", rest) == ""
    found = _PARAMETER.findall(rest)
    assert len(dict(found)) == len(found), "a parameter came twice"
    return dict(found)


@pytest.mark.parametrize("path", ["/mcp", "/views/coding/mcp", "/servers/git-2/mcp"])
def test_each_endpoint_has_metadata_of_its_own(path: str) -> None:
    told = document(SSO, BASE_URL, WELL_KNOWN + path)
    assert told is not None
    assert json.loads(told) == {
        "resource": BASE_URL + path,
        "authorization_servers": ["https://login.example.com", "https://other.example"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Concento",
        "scopes_supported": ["tools:read", "tools:call", "x"],
    }


def test_the_bare_place_is_that_of_the_whole_catalog() -> None:
    assert document(SSO, BASE_URL, WELL_KNOWN) == document(SSO, BASE_URL, f"{WELL_KNOWN}/mcp")


def test_scopes_that_nobody_configured_are_not_told() -> None:
    told = document(Auth(issuers=(Issuer("a", "https://a.example"),)), BASE_URL, WELL_KNOWN)
    assert told is not None
    assert "scopes_supported" not in json.loads(told)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/sse",
            "/mcp/",
            "/views/mcp",
            "/views//mcp",
            "/views/A/mcp",
            "/views/a/b/mcp",
            "/x/a/mcp",
            "x",
            "/mcp/mcp",
        ),
        *('/views/a"b/mcp', "/views/a\n/mcp", f"/views/{'a' * 21}/mcp", "/mcp\n"),
    ],
)
def test_what_is_no_endpoint_has_none(path: str) -> None:
    assert document(SSO, BASE_URL, WELL_KNOWN + path) is None


def test_without_an_issuer_there_is_nothing_to_tell_and_nothing_that_leads_there() -> None:
    for auth in (KEYS, Auth(api_keys=False, certificates=(Certificate("*"),))):
        assert document(auth, BASE_URL, WELL_KNOWN) is None
        assert parameters(challenge(auth, BASE_URL, "/mcp")) == {"realm": "concento"}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/mcp", "/mcp"),
        ("/views/coding/mcp", "/views/coding/mcp"),
        ("/sse", "/mcp"),
        ("/messages", "/mcp"),
        ('/views/x", error="none/mcp', "/mcp"),
    ],
)
def test_a_challenge_leads_to_the_endpoints_metadata(path: str, place: str) -> None:
    told = parameters(challenge(SSO, BASE_URL, path))
    assert told == {"resource_metadata": BASE_URL + WELL_KNOWN + place, "scope": "tools:read tools:call x"}
    assert document(SSO, BASE_URL, told["resource_metadata"].removeprefix(BASE_URL)) is not None


def test_a_challenge_says_what_was_wrong() -> None:
    told = parameters(challenge(SSO, BASE_URL, "/mcp", "insufficient_scope", ("a", "b"), 'needs "a"\\\r\nX: y, ü'))
    assert told["error"] == "insufficient_scope"
    assert told["scope"] == "a b"
    assert told["error_description"] == "needs  a    X: y,  "


@given(st.text(), st.lists(st.text()), st.text(), st.text())
def test_nothing_breaks_out_of_a_challenge(path: str, scopes: list[str], error: str, description: str) -> None:
    told = challenge(SSO, BASE_URL, path, error, scopes, description)
    assert set(parameters(told)) <= {"resource_metadata", "error", "scope", "error_description"}
    told[0][1].encode("ascii")


@given(st.text())
def test_every_path_belongs_to_one_endpoint(path: str) -> None:
    place = resource_path(path)
    assert resource_path(place) == place
    assert document(SSO, BASE_URL, WELL_KNOWN + place) is not None
