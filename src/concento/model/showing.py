"""What the hub shows servers, as configured: beside static header fields, what has to be fetched or signed for."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ClientMethod = Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]
"""How the hub proves itself to an authorization server. Source: OpenID Connect Core 9, RFC 6749 2.3, RFC 7523."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client that gets tokens in its own name (OAuth client credentials, RFC 6749 4.4)."""

    token_url: str
    client_id: str
    method: ClientMethod = "client_secret_basic"
    secret: str = field(default="", repr=False)
    """The client's secret, or its private key as PEM."""
    scope: str = ""
    resource: str = ""
    """Whom the token is for (RFC 8707)."""
    issuer: str = ""
    """Whom an assertion is signed for, if not for `token_url`."""


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How a server's certificate is judged, and what the hub shows it. Paths are absolute."""

    ca: Path | None = None
    """Who may have signed the server's; None: whom this machine trusts."""
    cert: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class UserOAuth:
    """Tokens that each user grants the hub, at the server's own authorization server."""

    client_id: str = ""
    """What the hub is known by there; empty: by the URL of its metadata, or by registering itself."""
    secret: str = field(default="", repr=False)
    method: ClientMethod | None = None
    """How the client proves itself; None: as the authorization server prefers."""
    issuer: str = ""
    """The one authorization server that users are sent to; empty: the first that the server names."""
    scope: str = ""
    """Scopes to ask for; empty: those that the server asks for."""


SubjectToken = Literal["access_token", "id_token", "jwt"]


@dataclass(frozen=True, slots=True)
class TokenExchange:
    """A caller's own token, exchanged at an authorization server of the operator's (RFC 8693)."""

    client: OAuthClient
    audience: str = ""
    """For whom the token is wanted, as the authorization server calls it."""
    subject: SubjectToken = "access_token"
    """What callers show the hub."""
    at: OAuthClient | None = None
    """What the hub is known by at the server's own authorization server, which takes an ID-JAG for a token."""
