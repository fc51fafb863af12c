"""`auth`, `tls`, `tenants` and `audit` in a configuration: what is taken, and what is refused where."""

from pathlib import Path

import pytest

from concento.control.config import read
from concento.model.config import Config
from concento.model.errors import ConfigError

SERVER = "servers: {time: {command: [x]}}\n"


def loaded(text: str, tmp_path: Path) -> Config:
    return read(text.encode(), tmp_path / "concento.yaml", {"HOME": str(tmp_path)})


def test_a_platform_is_read_whole(tmp_path: Path) -> None:
    config = loaded(
        SERVER
        + """
listen: 0.0.0.0:7400
tls: {cert: a.crt, key: a.key, client_ca: ca.crt, client: required}
admin: {tls: {cert: b.crt, key: b.key}}
auth:
  public_url: https://mcp.example.com/
  jwt:
    - name: company
      issuer: https://login.example.com/realm
      algorithms: [ES256]
      clock_skew_s: 5
      claims: {tenant: org, roles: groups}
      tenants: {o1: acme}
      roles: {eng: [dev]}
  mtls: [{match: "dns:*.ci", subject: ci, tenant: acme, roles: [theirs], scopes: [a]}]
roles: {dev: {allow: ["time.*"]}}
tenants:
  acme:
    share: ["time.*"]
    servers: {own: {command: [y]}}
    views: {v: {include: ["own.*", "time.*"]}}
    roles: {theirs: {allow: ["own.*"]}}
    policies: [{deny: ["own.x"], when: {roles: [dev, theirs]}}]
    limits: {l: {match: ["own.*"], rate: 5/m}}
  globex: {}
audit: {mode: strict, path: a.db, keep_days: off, anchor: /n/a, stream: file:s}
""",
        tmp_path,
    )
    assert config.tls is not None
    assert (config.tls.cert, config.tls.client_required) == (tmp_path / "a.crt", True)
    assert config.admin_tls is not None
    assert config.auth is not None
    assert (config.base_url, config.auth.issuers[0].skew_s) == ("https://mcp.example.com", 5.0)
    assert config.auth.issuers[0].roles == {"eng": ("dev",)}
    assert set(config.servers) == {"time", "acme/own"}
    assert config.servers["acme/own"].tenant == "acme"
    assert set(config.views) == {"acme/v"}
    acme = config.tenants["acme"]
    assert (acme.share, set(acme.roles), len(acme.policies)) == (("time.*",), {"theirs"}, 1)
    assert acme.limits[0].per_s == 60.0
    audit = config.audit
    assert (audit.mode, audit.keep_days, audit.stream) == ("strict", None, f"file:{tmp_path / 's'}")
    assert config.audit_path == tmp_path / "a.db"


def test_audit_can_be_off(tmp_path: Path) -> None:
    assert loaded(SERVER + "audit: off\n", tmp_path).audit_path is None


JWT = "auth: {jwt: [{name: c, issuer: 'https://l.example', audience: [a]%s}]}\n"
REFUSED = [
    ("auth: {api_keys: false}\n", "nobody could come in"),
    ("auth: {mtls: [{match: 'dns:*'}]}\n", "'mtls' needs 'tls' with 'client_ca'"),
    ("auth: {mtls: [{match: '*'}]}\n", "expected dns:NAME"),
    ("auth: {jwt: [{name: c, issuer: 'https://l.example'}]}\n", "without 'audience'"),
    ("auth: {jwt: [{name: c, issuer: 'http://l.example', audience: [a]}]}\n", "expected an https:// URL"),
    (JWT % ", algorithms: [HS256]", "can forge it"),
    (JWT % ", algorithms: [RS257]", "expected one of RS256"),
    (JWT % ", tenant: acne", "unknown tenant 'acne'"),
    (JWT % ", tenants: {o: default}", "'tenants' needs 'claims.tenant'"),
    (JWT % ", roles: {g: [default]}", "'roles' needs 'claims.roles'"),
    (JWT % ", claims: {roles: g}, roles: {g: [raeder]}", "unknown role 'raeder'"),
    ("auth: {public_url: 'https://m.example/path'}\n", "without a path"),
    ("auth: {}\nstate: off\n", "API keys are kept in the state store"),
    ("tls: {cert: a}\n", "needs the key 'key'"),
    ("tls: {cert: a, key: b, client: required}\n", "needs 'client_ca'"),
    ("tenants: {default: {}}\n", "the operator's own"),
    ("tenants: {acme: {share: ['tiem.*']}}\n", "did you mean 'time'?"),
    ("tenants: {acme: {servers: {time: {command: [y]}}}}\n", "the operator has a server 'time'"),
    ("roles: {r: {allow: ['*']}}\ntenants: {acme: {roles: {r: {allow: ['*']}}}}\n", "the operator has a role 'r'"),
    ("tenants: {acme: {views: {v: {include: ['other.*']}}}}\n", "unknown server 'other'"),
    ("audit: {mode: stirct}\n", "did you mean 'strict'?"),
    ("audit: {stream: 'syslog:nowhere'}\n", "expected file:PATH"),
    ("audit: {keep_days: 0}\n", "above 0"),
    ("limits: {l: {match: ['tiem.*'], rate: 1/s}}\n", "did you mean 'time'?"),
    ("validate: maybe\n", "expected one of off, warn, enforce"),
]


@pytest.mark.parametrize(("text", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_is_wrong_is_refused_at_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(SERVER + text, tmp_path)
    assert told in str(refused.value)
    assert all(f"{tmp_path}/concento.yaml:" in problem for problem in refused.value.problems)
