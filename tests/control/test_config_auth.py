"""`auth:` and `tls:` of a configuration: what they are read as, and what is refused, at its place."""

from pathlib import Path
from typing import Any

import pytest

from concento.control.config.auth import (
    AUTH,
    CLAIMS,
    JWT,
    MTLS,
    TLS,
    build_auth,
    build_tls,
)
from concento.control.config.document import parse
from concento.control.config.kinds import Key, Keys, Reader, Table
from concento.control.config.problems import Problems
from concento.control.config.references import References
from concento.model.auth import Auth, Certificate, Claims, Issuer, Tls

TENANTS = ("acme", "globex")
ROLES = ("reader", "developer")
FOLDER = Path("/etc/hub")


def build(text: str) -> tuple[Auth | None, Tls | None, Problems]:
    problems = Problems()
    reader = Reader(problems, References({"HOME": "/home/ada"}, FOLDER))
    node = parse(text, problems)
    assert node is not None
    root: Table = Keys("a configuration", AUTH, TLS).read(node, reader)
    tls = build_tls(root, reader)
    return build_auth(root, tls, TENANTS, ROLES, problems), tls, problems


def built(text: str) -> tuple[Auth | None, Tls | None]:
    auth, tls, problems = build(text)
    assert not problems, problems.error("hub.yaml")
    return auth, tls


def told(text: str) -> list[str]:
    _, _, problems = build(text)
    return [problem.removeprefix("hub.yaml:") for problem in problems.error("hub.yaml").problems]


# -- what it is read as


def test_without_auth_nobody_is_asked_and_an_empty_one_takes_keys() -> None:
    assert built("{}") == (None, None)
    assert built("auth: {}") == (Auth(), None)
    auth, _ = built("auth: {}")
    assert auth is not None
    assert auth.api_keys


def test_everything_about_an_issuer() -> None:
    auth, _ = built(
        """
auth:
  api_keys: false
  public_url: https://MCP.example.com/
  jwt:
    - name: company
      issuer: https://login.example.com/realms/x/
      audience: [api://concento, https://mcp.example.com/mcp]
      jwks_url: https://login.example.com/keys?app=1
      algorithms: [RS256, PS512, EdDSA]
      clock_skew_s: 5
      tenant: acme
      claims: {subject: email, agent: azp, tenant: org.id, roles: https://x.example/roles, scopes: scp}
      tenants: {org-1: acme, "4711": globex, ours: default}
      roles: {engineering: [developer, reader], "all staff": [reader]}
      scopes_supported: [tools:read]
    - {name: other, issuer: "http://localhost:8080"}
"""
    )
    assert auth == Auth(
        "https://mcp.example.com",
        api_keys=False,
        issuers=(
            Issuer(
                "company",
                "https://login.example.com/realms/x/",
                audiences=("api://concento", "https://mcp.example.com/mcp"),
                jwks_url="https://login.example.com/keys?app=1",
                algorithms=("RS256", "PS512", "EdDSA"),
                skew_s=5.0,
                tenant="acme",
                claims=Claims("email", "azp", "org.id", "https://x.example/roles", "scp"),
                tenants={"org-1": "acme", "4711": "globex", "ours": "default"},
                roles={"engineering": ("developer", "reader"), "all staff": ("reader",)},
                scopes_supported=("tools:read",),
            ),
            Issuer("other", "http://localhost:8080"),
        ),
    )


def test_everything_about_certificates() -> None:
    auth, tls = built(
        """
tls: {cert: tls/hub.crt, key: /run/hub.key, client_ca: ~/ca.crt, client: required}
auth:
  mtls:
    - {match: "uri:spiffe://example.com/ns/*", subject: ci, agent: "{name}", tenant: acme, roles: [reader], scopes: [a]}
    - {match: "cn:*"}
"""
    )
    assert tls == Tls(FOLDER / "tls/hub.crt", Path("/run/hub.key"), Path("/home/ada/ca.crt"), True)
    assert auth is not None
    assert auth.certificates == (
        Certificate("uri:spiffe://example.com/ns/*", "ci", "{name}", "acme", ("reader",), ("a",)),
        Certificate("cn:*"),
    )


def test_tls_alone() -> None:
    assert built("tls: {cert: a, key: b}")[1] == Tls(FOLDER / "a", FOLDER / "b")
    assert built("tls: {cert: a, key: b, client_ca: c}")[1] == Tls(FOLDER / "a", FOLDER / "b", FOLDER / "c")


# -- the examples

SAMPLES = "auth: {public_url: https://x.example, jwt: [{name: a, issuer: https://a.example, %s}]}"
CERTIFICATE = "{tls: {cert: a, key: b, client_ca: c}, auth: {mtls: [{%s}]}}"
MAPPED = {"tenants": "claims: {tenant: org}, ", "roles": "claims: {roles: groups}, "}


def keys_of(key: Key[Any]) -> list[Key[Any]]:
    kind = key.kind
    kind = getattr(kind, "kind", kind)
    assert isinstance(kind, Keys)
    return list(kind.keys.values())


def loads(text: str) -> None:
    """Load an example. It may name a tenant or role that this file does not have."""
    _, _, problems = build(text)
    others = [one for one in problems.error("x").problems if "unknown tenant" not in one and "unknown role" not in one]
    assert not others


def test_the_examples_load() -> None:
    loads(f"tls: {TLS.example}")
    loads(f"auth: {AUTH.example}")
    tried = 0
    for key in keys_of(AUTH):
        tls = "tls: {cert: a, key: b, client_ca: c}, " if key is MTLS else ""
        beside = ", jwt: [{name: a, issuer: https://a.example, audience: [x]}]" if key.name == "api_keys" else ""
        loads(f"{{{tls}auth: {{{key.name}: {key.example}{beside}}}}}")
        tried += 1
    for key in keys_of(JWT):
        text = {
            "name": "auth: {public_url: https://x.example, jwt: [{issuer: https://a.example, %s}]}",
            "issuer": "auth: {public_url: https://x.example, jwt: [{name: a, %s}]}",
        }.get(key.name, SAMPLES)
        loads(text % f"{MAPPED.get(key.name, '')}{key.name}: {key.example}")
        tried += 1
    for key in keys_of(CLAIMS):
        loads(SAMPLES % f"claims: {{{key.name}: {key.example}}}")
        tried += 1
    for key in keys_of(MTLS):
        beside = "" if key.name == "match" else 'match: "cn:*", '
        loads(CERTIFICATE % f"{beside}{key.name}: {key.example}")
        tried += 1
    for key in keys_of(TLS):
        missing = {"cert": "cert: a, ", "key": "key: b, ", "client_ca": "client_ca: c, "}
        missing.pop(key.name, None)
        loads(f"tls: {{{''.join(missing.values())}{key.name}: {key.example}}}")
        tried += 1
    assert tried == 4 + 11 + 5 + 6 + 4


def test_every_key_is_explained() -> None:
    every: list[Key[Any]] = [AUTH, TLS]
    for key in (*every, *keys_of(AUTH), *keys_of(JWT), *keys_of(CLAIMS), *keys_of(MTLS), *keys_of(TLS)):
        assert key.doc.endswith("."), key.name
        assert key.example, key.name


# -- what is refused


def issuer(text: str) -> str:
    """Line 3 has the changed keys of an issuer that is otherwise right, from column 6 on."""
    return f"auth:\n  public_url: https://mcp.example.com\n  jwt: [{{{text}}}]"


GOOD = "name: a, issuer: https://a.example"
ISSUERS = [
    ("name: a", "3:9", "an issuer needs the key 'issuer'"),
    ("issuer: https://a.example", "3:9", "an issuer needs the key 'name'"),
    ("name: A, issuer: https://a.example", "3:16", "expected a name"),
    ("name: a, issuer: http://a.example", "3:27", "expected an https:// URL"),
    ("name: a, issuer: http://127.0.0.1.evil.example", "3:27", "expected an https:// URL"),
    ("name: a, issuer: a.example", "3:27", "expected an http:// or https:// URL"),
    ("name: a, issuer: https://u:p@a.example", "3:27", "can't hold a user or password"),
    ("name: a, issuer: https://a.example?x=1", "3:27", "no query"),
    ("name: a, issuer: https://a.example#x", "3:27", "expected an http:// or https:// URL"),
    (f"{GOOD}, jwks_url: http://a.example/keys", "3:56", "expected an https:// URL"),
    (f"{GOOD}, algorithms: [none]", "3:59", "without a signature proves nothing"),
    (f"{GOOD}, algorithms: [RS256, HS256]", "3:66", "can forge it"),
    (f"{GOOD}, algorithms: [RS265]", "3:59", "did you mean 'RS256'?"),
    (f"{GOOD}, algorithms: [rs256]", "3:59", "expected one of RS256"),
    (f"{GOOD}, algorithms: []", "3:58", "at least 1"),
    (f"{GOOD}, audience: api://x", "3:56", "expected a list, such as [https://"),
    (f"{GOOD}, audience: []", "3:56", "at least 1"),
    (f"{GOOD}, audiences: [x]", "3:46", "unknown key 'audiences'; did you mean 'audience'?"),
    (f"{GOOD}, clock_skew_s: 301", "3:60", "from 0 to 300"),
    (f"{GOOD}, clock_skew_s: -1", "3:60", "from 0 to 300"),
    (f"{GOOD}, tenant: acmee", "3:54", "unknown tenant 'acmee'; did you mean 'acme'?"),
    (f"{GOOD}, tenants: {{x: acme}}", "3:46", "'tenants' needs 'claims.tenant'"),
    (f"{GOOD}, claims: {{tenant: o}}, tenants: {{x: acmee}}", "3:80", "did you mean 'acme'?"),
    (f"{GOOD}, roles: {{x: [reader]}}", "3:46", "'roles' needs 'claims.roles'"),
    (f"{GOOD}, claims: {{roles: o}}, roles: {{x: [raeder]}}", "3:78", "unknown role 'raeder'; did you mean 'reader'?"),
    (f"{GOOD}, claims: {{role: o}}", "3:55", "unknown key 'role'; did you mean 'roles'?"),
    (f"{GOOD}, scopes_supported: ['a b']", "3:65", "expected a scope"),
    (f"{GOOD}, scopes_supported: ['a\"b']", "3:65", "expected a scope"),
    (f"{GOOD}}}, {{name: a, issuer: https://b.example", "3:48", "another issuer is called 'a'"),
    (f"{GOOD}}}, {{name: b, issuer: https://a.example", "3:57", "this issuer is there already"),
]


@pytest.mark.parametrize(("keys", "place", "part"), ISSUERS, ids=[case[0] for case in ISSUERS])
def test_an_issuer_that_can_not_be_meant_is_refused_at_its_place(keys: str, place: str, part: str) -> None:
    (problem,) = told(issuer(keys))
    assert part in problem
    assert problem.startswith(f"{place}:")


WHOLE = [
    ("auth: [x]", "1:7", "found a list"),
    ("auth: {keys: true}", "1:8", "unknown key 'keys'; did you mean 'api_keys'?"),
    ("auth: {api_keys: yes}", "1:18", "write true"),
    ("auth: {api_keys: false}", "1:7", "nobody could come in"),
    ("auth: {jwt: [{name: a, issuer: https://a.example}]}", "1:14", "give either"),
    ("auth: {public_url: http://mcp.example.com}", "1:20", "expected an https:// URL"),
    ("auth: {public_url: https://mcp.example.com/mcp}", "1:20", "without a path"),
    ("auth: {public_url: https://mcp.example.com?x}", "1:20", "without a path"),
    ("auth: {public_url: mcp.example.com}", "1:20", "expected an http:// or https:// URL"),
    ('auth: {mtls: [{match: "cn:*"}]}', "1:8", "needs 'tls' with 'client_ca'"),
    ('{tls: {cert: a, key: b}, auth: {mtls: [{match: "cn:*"}]}}', "1:33", "needs 'tls' with 'client_ca'"),
    (CERTIFICATE % "subject: x", "1:54", "a certificate rule needs the key 'match'"),
    (CERTIFICATE % "match: bot", "1:62", "expected dns:NAME"),
    (CERTIFICATE % "match: 'dns:'", "1:62", "expected dns:NAME"),
    (CERTIFICATE % "match: 'ip:10.0.0.1'", "1:62", "expected dns:NAME"),
    (CERTIFICATE % "match: 'cn:[ab]'", "1:62", "wildcards * and ? only"),
    (CERTIFICATE % "match: 'cn:*', tenant: globx", "1:78", "did you mean 'globex'?"),
    (CERTIFICATE % "match: 'cn:*', roles: [x]", "1:78", "unknown role 'x'"),
    ("tls: {cert: a}", "1:6", "tls needs the key 'key'"),
    ("tls: {key: a}", "1:6", "tls needs the key 'cert'"),
    ("tls: {cert: a, key: b, client: required}", "1:24", "needs 'client_ca'"),
    ("tls: {cert: a, key: b, client_ca: c, client: requird}", "1:46", "did you mean 'required'?"),
    ("tls: {cert: '${env:NO_SUCH}', key: b}", "1:13", "NO_SUCH is not set"),
]


@pytest.mark.parametrize(("text", "place", "part"), WHOLE, ids=[case[0] for case in WHOLE])
def test_what_can_not_be_meant_is_refused_at_its_place(text: str, place: str, part: str) -> None:
    (problem,) = told(text)
    assert part in problem
    assert problem.startswith(f"{place}:")


def test_all_problems_are_told_at_once() -> None:
    text = """
auth:
  public_url: ftp://x
  jwt:
    - {name: a, issuer: http://a.example, algorithms: [none, HS512], tenant: nobody}
  mtls: [{match: x}]
"""
    assert len(told(text)) == 7


def test_an_issuer_on_this_machine_needs_no_certificate() -> None:
    for host in ("localhost", "127.0.0.1:8080", "[::1]:8080"):
        built(f'auth: {{public_url: "http://{host}", jwt: [{{name: a, issuer: "http://{host}/x"}}]}}')
