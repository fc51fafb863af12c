"""Identity and TLS: what may stand in `auth:` and `tls:`, and the values it is read as."""

import re
from collections.abc import Collection, Sequence
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from ...model.auth import ALGORITHMS, Auth, Certificate, Claims, Issuer, Tls
from ...model.tenant import DEFAULT_TENANT
from .kinds import (
    EMPTY,
    Choice,
    Entries,
    Flag,
    Items,
    Key,
    Keys,
    Number,
    Parsed,
    Placed,
    Reader,
    Table,
    Text,
    WithPlace,
)
from .problems import Problems, nearest, unknown
from .texts import ALIAS, http_url

_CLAIMS = Claims()


def _algorithm(text: str) -> str:
    if text in ALGORITHMS:
        return text
    if text == "none":
        raise ValueError("a token without a signature proves nothing; expected RS256, ES256, EdDSA, …")
    if re.fullmatch("HS[0-9]+", text):
        told = "whoever can check such a signature can forge it, so only those with a public key are taken"
        raise ValueError(f"{told}; expected RS256, ES256, EdDSA, …")
    near = nearest(text, ALGORITHMS)
    raise ValueError(f"expected one of {', '.join(ALGORITHMS)}" + (f"; did you mean {near!r}?" if near else ""))


def _trusted_url(text: str) -> str:
    parts = urlsplit(http_url(text))
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("expected an https:// URL: whoever can change what comes from there can be anybody")
    return text


def _issuer(text: str) -> str:
    if urlsplit(_trusted_url(text)).query:
        raise ValueError("an issuer's URL has no query")
    return text


def _public_url(text: str) -> str:
    parts = urlsplit(_trusted_url(text))
    if parts.path.strip("/") or parts.query:
        raise ValueError("expected a URL without a path, such as https://mcp.example.com")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _match(text: str) -> str:
    if not re.fullmatch(r"(dns|uri|email|cn):.+", text):
        raise ValueError("expected dns:NAME, uri:URI, email:ADDRESS or cn:NAME, with * and ? as wildcards")
    if set(text) & set("[]"):
        raise ValueError("a pattern knows the wildcards * and ? only; give several rules instead")
    return text


_CLAIM = Text("the name of a claim, or a path such as realm_access.roles", r"[^\x00-\x20]{1,256}")
_TENANT = WithPlace(Text("a tenant", ALIAS))
_ROLE_LIST = Items(WithPlace(Text("a role")), "such as [developer]")
_SCOPE_LIST = Items(Text("a scope", r"[\x21\x23-\x5b\x5d-\x7e]{1,128}"), "such as [git:write]")

NAME: Final = Key("name", Text("a name", ALIAS), "What logs and audit call it.", required=True, example="company")
ISSUER: Final = Key(
    "issuer",
    WithPlace(Parsed(Text("the issuer's URL"), _issuer)),
    "The issuer, exactly as its tokens have it in `iss`.",
    required=True,
    example="https://login.example.com",
)
AUDIENCE: Final = Key(
    "audience",
    Items(Text("an audience", r"[^\x00-\x20]{1,512}"), "such as [https://mcp.example.com/mcp]"),
    "Audiences taken at every endpoint. Without it, a token must be for the endpoint it is shown to: `public_url` and "
    "its path.",
    example="[api://concento]",
)
JWKS_URL: Final = Key(
    "jwks_url",
    Parsed(Text("a URL"), _trusted_url),
    "Where its keys are; by default where its metadata says.",
    example="https://login.example.com/keys",
)
ALGORITHM: Final = Key(
    "algorithms",
    Items(Parsed(Text("an algorithm"), _algorithm), "such as [RS256]"),
    "Signatures that are taken.",
    ("RS256", "ES256", "EdDSA"),
    example="[RS256, ES256]",
)
SKEW_S: Final = Key(
    "clock_skew_s", Number(0, 300), "Seconds that its clock may differ from the hub's.", 60.0, example="30"
)
TENANT: Final = Key("tenant", _TENANT, "Whose its users are, where no claim says so.", example="acme")
CLAIM_SUBJECT: Final = Key("subject", _CLAIM, "Who the user is.", _CLAIMS.subject, example="email")
CLAIM_AGENT: Final = Key(
    "agent",
    _CLAIM,
    "Which agent acts for them; `azp` stands in, and an `act` chain goes first.",
    _CLAIMS.agent,
    example="azp",
)
CLAIM_TENANT: Final = Key("tenant", _CLAIM, "Whose they are.", example="org_id")
CLAIM_ROLES: Final = Key("roles", _CLAIM, "Their roles or groups.", example="realm_access.roles")
CLAIM_SCOPES: Final = Key("scopes", _CLAIM, "Scopes; `scp` stands in.", _CLAIMS.scopes, example="scp")
CLAIMS: Final = Key(
    "claims",
    Keys("claims", CLAIM_SUBJECT, CLAIM_AGENT, CLAIM_TENANT, CLAIM_ROLES, CLAIM_SCOPES),
    "Which claims say what.",
    example="{subject: email, roles: groups}",
)
TENANT_OF: Final = Key(
    "tenants",
    Entries(_TENANT, "value", r"[^\x00-\x1f]{1,256}", "a value of the claim"),
    "The tenant that each value of the tenant claim stands for; other values are refused. Without it a value is the "
    "name of a tenant, but never `default`.",
    example="{org-4711: default}",
)
ROLES_OF: Final = Key(
    "roles",
    Entries(_ROLE_LIST, "value", r"[^\x00-\x1f]{1,256}", "a value of the claim"),
    "The roles that each value of the roles claim stands for; others count for nothing. Without it a value is a role.",
    example="{engineering: [reader]}",
)
SCOPES_SUPPORTED: Final = Key(
    "scopes_supported", _SCOPE_LIST, "Scopes that agents are told to ask for.", example="[tools:read]"
)
JWT: Final = Key(
    "jwt",
    Items(
        Keys(
            "an issuer",
            *(NAME, ISSUER, AUDIENCE, JWKS_URL, ALGORITHM, SKEW_S, TENANT, CLAIMS, TENANT_OF, ROLES_OF),
            SCOPES_SUPPORTED,
        ),
        "one item for each issuer",
    ),
    "OAuth and OIDC issuers whose signed tokens are taken.",
    example="[{name: company, issuer: https://login.example.com, audience: [api://concento]}]",
)
MATCH: Final = Key(
    "match",
    Parsed(Text("a pattern over the names of a certificate"), _match),
    "Which certificates: a pattern over `dns:…`, `uri:…`, `email:…` (alternative names) and `cn:…`. `*` stands for "
    "anything, dots and slashes too.",
    required=True,
    example='"dns:*.agents.example.com"',
)
SUBJECT: Final = Key(
    "subject",
    Text("a name", r"[^\x00-\x1f]{1,256}"),
    "Who that is; `{name}` is what was matched.",
    "{name}",
    example="ci",
)
AGENT: Final = Key(
    "agent", Text("a name", r"[^\x00-\x1f]{1,256}"), "The agent that acts; `{name}` as before.", example='"{name}"'
)
HELD_TENANT: Final = Key("tenant", _TENANT, "Whose it is.", example="acme")
HELD_ROLES: Final = Key("roles", _ROLE_LIST, "Its roles.", example="[reader]")
HELD_SCOPES: Final = Key("scopes", _SCOPE_LIST, "Its scopes.", example="[tools:read]")
MTLS: Final = Key(
    "mtls",
    Items(
        Keys("a certificate rule", MATCH, SUBJECT, AGENT, HELD_TENANT, HELD_ROLES, HELD_SCOPES),
        "one item for each rule",
    ),
    "Who the holders of client certificates are; the first rule that fits counts. Needs `tls.client_ca`.",
    example='[{match: "dns:*.agents.example.com"}]',
)
API_KEYS: Final = Key("api_keys", Flag(), "Take keys made by `concento key create`.", True, example="false")
PUBLIC_URL: Final = Key(
    "public_url",
    Parsed(Text("a URL, such as https://mcp.example.com"), _public_url),
    "The hub's own URL as agents know it, without a path; by default where it listens. What tokens are for begins with "
    "it, and so does what agents are told about signing in.",
    example="https://mcp.example.com",
)
AUTH: Final = Key(
    "auth",
    Keys("auth", API_KEYS, JWT, MTLS, PUBLIC_URL),
    "How callers prove who they are. Without it the hub serves loopback only, and everybody there is one caller.",
    example="{api_keys: true}",
)

_FILE = Text("a file", r"[^\x00]+", references=True)
CERT: Final = Key("cert", _FILE, "The certificate and those between, in PEM.", required=True, example="hub.crt")
KEY_FILE: Final = Key("key", _FILE, "Its private key, without a passphrase.", required=True, example="hub.key")
CLIENT_CA: Final = Key("client_ca", _FILE, "Authorities whose client certificates are taken.", example="agents-ca.crt")
CLIENT: Final = Key(
    "client",
    Choice(("optional", "required")),
    "Whether every connection has to show one.",
    "optional",
    example="required",
)
TLS: Final = Key(
    "tls",
    Keys("tls", CERT, KEY_FILE, CLIENT_CA, CLIENT),
    "Speak TLS. Files that change are taken over without a restart.",
    example="{cert: hub.crt, key: hub.key}",
)


def build_tls(table: Table, reader: Reader) -> Tls | None:
    """TLS of a listener."""
    tls = table.get(TLS)
    if tls is None:
        return None
    path = reader.references.path
    ca = tls.get(CLIENT_CA)
    if tls.get(CLIENT) == "required" and ca is None:
        reader.problems.add(tls.place_of(CLIENT), "'client: required' needs 'client_ca': whose certificates?")
    return Tls(
        path(tls.get(CERT) or "?"),
        path(tls.get(KEY_FILE) or "?"),
        None if ca is None else path(ca),
        tls[CLIENT] == "required",
    )


def build_auth(
    root: Table, tls: Tls | None, tenants: Collection[str], roles: Collection[str], problems: Problems
) -> Auth | None:
    """How callers prove who they are. `tenants` and `roles` are those that may be named."""
    table = root.get(AUTH)
    if table is None:
        return None
    names = _Names(tenants, roles, problems)
    tables = table.get(JWT) or ()
    has_url = bool(table.given(PUBLIC_URL))
    issuers = [_built(issuer, names, has_url=has_url) for issuer in tables]
    _refuse_twins(tables, issuers, problems)
    certificates = [_certificate(rule, names) for rule in table.get(MTLS) or ()]
    if certificates and (tls is None or tls.client_ca is None):
        problems.add(
            table.place_of(MTLS), "'mtls' needs 'tls' with 'client_ca': without it no certificate is asked for"
        )
    if not table[API_KEYS] and not table.given(JWT, MTLS) and not table.is_misspelt:
        problems.add(table.place, "nobody could come in: take 'api_keys', or give 'jwt' or 'mtls'")
    return Auth(table.get(PUBLIC_URL), table[API_KEYS], tuple(issuers), tuple(certificates))


def _refuse_twins(tables: Sequence[Table], issuers: Sequence[Issuer], problems: Problems) -> None:
    """Two issuers of one name could not be told apart in logs, two entries for one URL not in tokens."""
    names: set[str] = set()
    urls: set[str] = set()
    for table, issuer in zip(tables, issuers, strict=True):
        if issuer.name and issuer.name in names:
            problems.add(table.place_of(NAME), f"another issuer is called {issuer.name!r}; give each its own 'name'")
        if issuer.issuer and issuer.issuer in urls:
            problems.add(table.place_of(ISSUER), "this issuer is there already; put its audiences into one entry")
        names.add(issuer.name)
        urls.add(issuer.issuer)


class _Names:
    """The names that may be used, and noting those that may not."""

    def __init__(self, tenants: Collection[str], roles: Collection[str], problems: Problems) -> None:
        self._tenants = [DEFAULT_TENANT, *tenants]
        self._roles = roles
        self.problems = problems

    def tenant(self, placed: Placed[str] | None) -> str:
        if placed is None:
            return DEFAULT_TENANT
        if placed.value not in self._tenants:
            self.problems.add(placed.place, unknown("tenant", placed.value, self._tenants))
        return placed.value

    def roles(self, placed: tuple[Placed[str], ...] | None) -> tuple[str, ...]:
        for role, place in placed or ():
            if role not in self._roles:
                self.problems.add(place, unknown("role", role, self._roles))
        return tuple(role for role, _ in placed or ())


def _built(table: Table, names: _Names, *, has_url: bool) -> Issuer:
    claims = table.get(CLAIMS) or EMPTY
    issuer = table.get(ISSUER)
    if not (table.given(AUDIENCE) or has_url or table.is_misspelt):
        told = "without 'audience' a token has to be for the endpoint's own URL, and without 'public_url' in 'auth' "
        names.problems.add(table.place, f"{told}the hub does not know what that is to agents; give either")
    by_claim = table.get(TENANT_OF) or {}
    if by_claim and claims.get(CLAIM_TENANT) is None:
        names.problems.add(table.place_of(TENANT_OF), "'tenants' needs 'claims.tenant': which claim has these values?")
    by_role = table.get(ROLES_OF) or {}
    if by_role and claims.get(CLAIM_ROLES) is None:
        names.problems.add(table.place_of(ROLES_OF), "'roles' needs 'claims.roles': which claim has these values?")
    return Issuer(
        table.get(NAME) or "",
        "" if issuer is None else issuer.value,
        table.get(AUDIENCE) or (),
        table.get(JWKS_URL),
        table[ALGORITHM],
        table[SKEW_S],
        names.tenant(table.get(TENANT)),
        Claims(
            claims[CLAIM_SUBJECT],
            claims[CLAIM_AGENT],
            claims.get(CLAIM_TENANT),
            claims.get(CLAIM_ROLES),
            claims[CLAIM_SCOPES],
        ),
        MappingProxyType({value: names.tenant(placed) for value, (placed, _) in by_claim.items()}),
        MappingProxyType({value: names.roles(placed) for value, (placed, _) in by_role.items()}),
        table.get(SCOPES_SUPPORTED) or (),
    )


def _certificate(table: Table, names: _Names) -> Certificate:
    return Certificate(
        table.get(MATCH) or "",
        table[SUBJECT],
        table.get(AGENT),
        names.tenant(table.get(HELD_TENANT)),
        names.roles(table.get(HELD_ROLES)),
        table.get(HELD_SCOPES) or (),
    )
