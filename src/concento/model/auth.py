"""How callers prove who they are, as configured. `control.config` makes it; `front.identity` applies it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from .tenant import DEFAULT_TENANT

ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""Signatures that can be taken: those with a public key."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What a listener shows, and whose certificates it takes. Files are read again when they change."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    """Authorities whose client certificates are taken; None asks for none."""
    client_required: bool = False


@dataclass(frozen=True, slots=True)
class Claims:
    """Which claims of a token say what; a dotted path goes into objects."""

    subject: str = "sub"
    agent: str = "client_id"
    """`azp` stands in where it is missing."""
    tenant: str | None = None
    roles: str | None = None
    scopes: str = "scope"
    """`scp` stands in where it is missing."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """An OAuth or OIDC issuer whose tokens are taken."""

    name: str
    issuer: str
    audiences: tuple[str, ...] = ()
    """Audiences taken at every endpoint; without any, a token must name the endpoint's own resource URI."""
    jwks_url: str | None = None
    """Where its keys are; None: where its metadata says."""
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    skew_s: float = 60.0
    tenant: str = DEFAULT_TENANT
    """Whose its users are, where no claim says so."""
    claims: Claims = Claims()
    tenants: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The tenant that a value of the tenant claim stands for; a value that is not here is refused."""
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """The roles that a value of the roles claim stands for. Others count as roles of that name if it is empty."""
    scopes_supported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Certificate:
    """Who the holder of a client certificate is. `match` is a pattern over `dns:NAME`, `uri:URI`, `email:ADDRESS` (its
    alternative names) and `cn:NAME`; `subject` may use `{name}`, what was matched without its kind."""

    match: str
    subject: str = "{name}"
    agent: str | None = None
    tenant: str = DEFAULT_TENANT
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Auth:
    """Everything that is accepted. A request that shows nothing of it is refused."""

    public_url: str | None = None
    """The hub's own URL as agents know it, without path: canonical resource URIs begin with it."""
    api_keys: bool = True
    issuers: tuple[Issuer, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    keeps_tokens: bool = False
    """Whether callers' tokens are kept while they are good: some server is called with what they are exchanged for."""
