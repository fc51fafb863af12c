"""Who may use the admin listener, and as what: viewer, operator, admin, or admin of one tenant.

Without `auth:` it listens on loopback only and asks for nothing. With it, every route but health wants either a key or
token with one of the scopes `concento:viewer`, `concento:operator`, `concento:admin`, `concento:tenant-admin`, or the
local token: a secret in the state folder, which this machine's operator can read and the command line shows by itself.
"""

import hmac
import os
import secrets
from pathlib import Path
from typing import Final, Literal

from starlette.types import Scope

from ..front.identity.authenticator import Authenticator, Peer
from ..front.identity.keys import PREFIX
from ..front.parser import HttpHead, Refusal
from ..model.errors import StartError
from ..model.principal import Principal
from ..model.tenant import DEFAULT_TENANT

Role = Literal["viewer", "operator", "admin"]
"""What somebody may: look; act on what runs (drain, approve, end experiments); change the configuration and keys. Each
may what those before it may."""

SCOPES: Final[dict[str, Role]] = {
    "concento:viewer": "viewer",
    "concento:operator": "operator",
    "concento:admin": "admin",
}
RANKS: Final[tuple[Role, ...]] = ("viewer", "operator", "admin")
TENANT_ADMIN: Final = "concento:tenant-admin"
"""The scope of those who change what their own tenant has, and see nothing else."""

SCOPE: Final = "concento:admin"
TOKEN_FILE: Final = "admin.token"
_PREFIX: Final = PREFIX + "local_"
OPEN: Final = frozenset({"/health/live", "/health/ready"})
OPERATOR: Final = Principal("operator", proof="local", scopes=frozenset({SCOPE}), credential="local")
_CHALLENGE: Final = (("www-authenticate", 'Bearer realm="concento-admin"'),)
_STEP_UP: Final = (("www-authenticate", f'Bearer realm="concento-admin", error="insufficient_scope", scope="{SCOPE}"'),)


def make_token(folder: Path) -> str:
    """A new local token, readable by the owner of the folder only. Errors: StartError."""
    token = _PREFIX + secrets.token_urlsafe(32)
    path = folder / TOKEN_FILE
    fresh = path.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token)
        fresh.replace(path)
    except OSError as error:
        raise StartError(
            f"The local token {path} can't be written ({error.strerror}); set `state:` to a place"
        ) from None
    return token


def read_token(folder: Path | None) -> str | None:
    """The local token of the hub that runs here; None if there is none, or it is not ours to read."""
    try:
        return None if folder is None else (folder / TOKEN_FILE).read_text()
    except (OSError, UnicodeDecodeError):
        return None


class AdminAccess:
    """Judges requests to the admin listener."""

    def __init__(self, identity: Authenticator, token: str | None) -> None:
        self._identity = identity
        self._token = token

    async def judge(self, scope: Scope) -> Principal | Refusal:
        """Who asks, or why they may not."""
        if not self._identity.is_on or scope["path"] in OPEN:
            return OPERATOR
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, shown = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        if self._token is not None and scheme.lower() == "bearer" and hmac.compare_digest(shown, self._token):
            return OPERATOR
        repeated = frozenset({"authorization"}) if len(given) > 1 else frozenset[str]()
        fields = {"authorization": given[0]} if given else {}
        query = scope["query_string"].decode("latin-1")
        head = HttpHead(scope["method"], scope["path"], query, fields, repeated, {}, True, True)
        client = scope.get("client")
        peer = Peer(client[0] if client else "")
        caller = self._identity.judge(head, peer) or await self._identity.settle(head, peer)
        if isinstance(caller, Refusal):
            return Refusal(caller.status, caller.reason, headers=_CHALLENGE if caller.status == 401 else caller.headers)
        if caller.narrowed or (role_of(caller) is None and tenant_of(caller) is None):
            return Refusal(403, f"The admin API needs a scope: {', '.join((*SCOPES, TENANT_ADMIN))}", headers=_STEP_UP)
        return caller


def role_of(caller: Principal) -> Role | None:
    """As what somebody may use the whole API: the most that their scopes give."""
    roles = [SCOPES[scope] for scope in caller.scopes if scope in SCOPES]
    return max(roles, key=RANKS.index, default=None)


def may(caller: Principal, role: Role) -> bool:
    """Whether somebody has a role, or one that may more."""
    has = role_of(caller)
    return has is not None and RANKS.index(has) >= RANKS.index(role)


def tenant_of(caller: Principal) -> str | None:
    """The one tenant whose objects somebody changes, and sees; None if that is not what they are."""
    is_one = TENANT_ADMIN in caller.scopes and role_of(caller) is None and caller.tenant != DEFAULT_TENANT
    return caller.tenant if is_one else None
