"""Who is calling, found on a request's head: keys, tokens and client certificates, side by side.

What was proved before is found again in a microsecond or two. Only a token that is signed with a key nobody has seen
yet has to wait; that is done after the body has come. Source: hardening T1, T2, T36; RFC 6750.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from ...model.auth import Auth
from ...model.clock import Clock
from ...model.outbound import PUBLIC, Reach
from ...model.principal import ANONYMOUS, Principal
from ..parser import HttpHead, Refusal
from .certificates import holder
from .keys import PREFIX, KeyProblem
from .metadata import challenge, document, resource_path
from .proof import REFETCH_S, NoTokens, Proved, TokenProblem, terms

if TYPE_CHECKING:
    from .jwks import IssuerKeys
    from .tokens import Tokens

_UNPROVED: Final = "This hub wants to know who calls: send 'Authorization: Bearer …' with a key or token"
_UNCERTIFIED: Final = "This hub wants to know who calls: connect with a client certificate that it knows"
_REFUSED: Final = "The key or token is not taken here"
_IN_URL: Final = "A token does not belong into a URL: send it in the Authorization header"
_DOWN: Final = "Who calls can't be found out: an issuer does not answer"
_RESOURCES_MAX: Final = 1000


class Keys(Protocol):
    """Where API keys are looked up."""

    def find(self, text: str, now_s: float) -> Principal | KeyProblem:
        """Who shows a key."""
        ...

    def is_alive(self, credential: str, now_s: float) -> bool:
        """Whether the key behind a credential still proves anything."""
        ...


class Peer(Struct, frozen=True):
    """Who is at the other end of a connection, as far as the connection says."""

    address: str = ""
    certificate: Principal | None = None


class Unproved(Refusal, frozen=True):
    """Somebody who is not let in. `why` is for the operator: who calls is not told what was wrong with a forgery."""

    why: str = ""


class Authenticator:
    """Lets callers in, or says why not. Without `auth:` everybody is the same anonymous caller.

    A caller shows one thing: a key or token in the Authorization header, else the certificate of their connection.
    Where both are there, the key or token says who they are, and both have to be of one tenant.
    """

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._auth: Auth | None = None
        self._base_url = ""
        self._reach = PUBLIC
        self._resources: dict[str, str] = {}
        self._tokens: Tokens | NoTokens = NoTokens()
        self._term = 0
        """Number of the certificate rules that hold."""

    async def configure(self, auth: Auth | None, base_url: str, reach: Reach = PUBLIC) -> None:
        """Take a configuration. What was proved under a part of it that stays as it was stays proved.

        `reach`: where issuers may send the hub for their keys.
        """
        if (auth, base_url, reach) == (self._auth, self._base_url, self._reach):
            return
        old_auth, old, self._reach = self._auth, self._tokens, reach
        self._tokens = self._tokens_of(auth)
        if auth is None or old_auth is None or auth.certificates != old_auth.certificates:
            self._term = next(terms)
        self._auth, self._base_url = auth, base_url
        self._resources = {}
        for keys in old.keys:
            if keys not in self._tokens.keys:
                await keys.close()

    def _tokens_of(self, auth: Auth | None) -> "Tokens | NoTokens":
        if auth is None or not auth.issuers:
            return NoTokens()
        from .tokens import Tokens

        before = None if isinstance(self._tokens, NoTokens) else self._tokens
        return Tokens(auth.issuers, self._clock, before, self._reach, keeps=auth.keeps_tokens)

    @property
    def is_on(self) -> bool:
        """Whether callers have to prove who they are."""
        return self._auth is not None

    # -- connections and heads

    def meet(self, transport: asyncio.Transport) -> Peer:
        """Who is at the other end of a new connection."""
        name = transport.get_extra_info("peername")
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        rules = () if self._auth is None or tls is None else self._auth.certificates
        return Peer(name[0] if name else "", holder(tls, rules, self._term) if tls is not None and rules else None)

    def judge(self, head: HttpHead, peer: Peer) -> Principal | Refusal | None:
        """Who calls, or why they may not; None if that takes waiting, which `settle` does."""
        auth = self._auth
        if auth is None:
            return ANONYMOUS
        fields = head.fields
        shown = fields.get("authorization")
        if head.query and "access_token=" in head.query:
            return self._refuse(head, _IN_URL, "a token in the URL")
        if shown is None:
            return self._by_certificate(head, peer)
        if "authorization" in head.repeated:
            return self._refuse(head, "The Authorization header came more than once")
        scheme, _, text = shown.partition(" ")
        if scheme != "Bearer" and scheme.lower() != "bearer":
            return self._refuse(head, _UNPROVED, "another scheme than Bearer", None)
        if not text or " " in text:
            return self._refuse(head, _UNPROVED, "no single token after Bearer")
        now_s = self._clock.wall()
        found: Principal | KeyProblem | TokenProblem | IssuerKeys
        if text.startswith(PREFIX):
            found = self._keys.find(text, now_s) if auth.api_keys else KeyProblem("keys are not taken")
        else:
            found = self._tokens.find(text, self._resources.get(head.path) or self._resource(head.path), now_s)
        if isinstance(found, Principal):
            certificate = peer.certificate
            if certificate is not None and certificate.tenant != found.tenant:
                return self._refuse(head, "The certificate and the token are of different tenants")
            return found
        if not isinstance(found, TokenProblem | KeyProblem):
            return None  # keys that have to be asked for first
        if isinstance(found, TokenProblem) and found.is_down:
            return Unproved(503, _DOWN, False, (("retry-after", f"{REFETCH_S:g}"),), why=found.reason)
        return self._refuse(head, _REFUSED, found.reason)

    async def settle(self, head: HttpHead, peer: Peer) -> Principal | Refusal:
        """Who calls, once the issuer of their token was asked for its keys."""
        _, _, text = head.fields.get("authorization", "").partition(" ")
        found = self._tokens.find(text, self._resource(head.path), self._clock.wall())
        if not isinstance(found, Principal | TokenProblem):
            await found.look()
        return self.judge(head, peer) or self._refuse(head, _REFUSED, "its key is still not known")

    def is_alive(self, principal: Principal, now_s: float) -> bool:
        """Whether somebody who was let in would be let in now."""
        proof = principal.proof
        if proof in ("stdio", "local"):
            return True  # nothing of theirs is in `auth`
        if self._auth is None or proof == "loopback":
            return self._auth is None and proof == "loopback"
        if principal.until_s is not None and now_s >= principal.until_s:
            return False
        if proof == "key":
            return self._auth.api_keys and self._keys.is_alive(principal.credential, now_s)
        if proof == "jwt":
            return self._tokens.holds(principal)
        return isinstance(principal, Proved) and principal.term == self._term

    async def refresh(self) -> None:
        """Look for new keys of issuers, where those that are known are old."""
        async with asyncio.TaskGroup() as group:
            for keys in self._tokens.keys:
                if keys.is_due:
                    group.create_task(keys.look())

    @property
    def problems(self) -> list[str]:
        """What is wrong with issuers."""
        return [keys.problem for keys in self._tokens.keys if keys.problem is not None]

    async def close(self) -> None:
        """Stop asking issuers."""
        for keys in self._tokens.keys:
            await keys.close()

    # -- what those are told who are not let in

    def metadata(self, path: str) -> bytes | None:
        """What is at a well-known path."""
        return None if self._auth is None else document(self._auth, self._base_url, path)

    def challenge(self, path: str, error: str | None = None, scopes: Sequence[str] = ()) -> tuple[tuple[str, str], ...]:
        """The header of a 401 or 403."""
        return () if self._auth is None else challenge(self._auth, self._base_url, path, error, scopes)

    def _by_certificate(self, head: HttpHead, peer: Peer) -> Principal | Refusal:
        certificate, auth = peer.certificate, self._auth
        if certificate is None:
            takes_text = auth is None or auth.api_keys or bool(auth.issuers)
            return self._refuse(head, _UNPROVED if takes_text else _UNCERTIFIED, "nothing was shown", None)
        if self.is_alive(certificate, self._clock.wall()):
            return certificate
        # Only a new connection shows a certificate anew.
        return Unproved(
            401,
            _UNCERTIFIED,
            headers=self.challenge(head.path),
            why="its certificate has expired, or the rules are new",
        )

    def _refuse(self, head: HttpHead, told: str, why: str = "", error: str | None = "invalid_token") -> Refusal:
        return Unproved(401, told, False, self.challenge(head.path, error), why=why or told)

    def _resource(self, path: str) -> str:
        resource = self._base_url + resource_path(path)
        if len(self._resources) < _RESOURCES_MAX:
            self._resources[path] = resource
        return resource
