"""Who is calling, found on a request's head: keys, tokens and client certificates, side by side.

What was proved before is found again in a microsecond or two. Only a token that is signed with a key nobody has seen
yet has to wait; that is done after the body has come. Source: hardening T1, T2, T36; RFC 6750.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from ...model.auth import Auth
from ...model.clock import Clock
from ...model.principal import ANONYMOUS, Principal
from ..parser import HttpHead, Refusal
from .certificates import holder
from .jwks import IssuerKeys
from .keys import PREFIX, ApiKeys, KeyProblem
from .metadata import challenge, document, resource_path
from .tokens import TokenProblem, Tokens

_UNPROVED: Final = "This hub wants to know who calls: send 'Authorization: Bearer …' with a key or token"
_REFUSED: Final = "The key or token is not taken here"


class Peer(Struct, frozen=True):
    """Who is at the other end of a connection, as far as the connection says."""

    address: str = ""
    certificate: Principal | None = None


class Authenticator:
    """Lets callers in, or says why not. Without `auth:` everybody is the same anonymous caller."""

    def __init__(self, keys: ApiKeys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._auth: Auth | None = None
        self._base_url = ""
        self._resources: dict[str, str] = {}
        self._tokens = Tokens((), clock)

    async def configure(self, auth: Auth | None, base_url: str) -> None:
        """Take a configuration. What was proved under one that stays as it was stays proved."""
        if (auth, base_url) == (self._auth, self._base_url):
            return
        old, self._tokens = self._tokens, Tokens(() if auth is None else auth.issuers, self._clock)
        self._auth, self._base_url = auth, base_url
        self._resources = {}
        for keys in old.keys:
            await keys.close()

    @property
    def is_on(self) -> bool:
        """Whether callers have to prove who they are."""
        return self._auth is not None

    # -- connections and heads

    def meet(self, transport: asyncio.Transport) -> Peer:
        """Who is at the other end of a new connection."""
        name = transport.get_extra_info("peername")
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        known = () if self._auth is None or tls is None else self._auth.certificates
        return Peer(name[0] if name else "", holder(tls, known) if tls is not None and known else None)

    def judge(self, head: HttpHead, peer: Peer) -> Principal | Refusal | None:
        """Who calls, or why they may not; None if that takes waiting, which `settle` does."""
        if self._auth is None:
            return ANONYMOUS
        now_s = self._clock.wall()
        shown = head.fields.get("authorization")
        if "access_token=" in head.query:
            return self._refuse(head, "A token does not belong into a URL: send it in the Authorization header")
        if shown is None:
            certificate = peer.certificate
            if certificate is None or not self.is_alive(certificate, now_s):
                return self._refuse(head, _UNPROVED, None)
            return certificate
        if "authorization" in head.repeated:
            return self._refuse(head, "The Authorization header came more than once")
        scheme, _, text = shown.partition(" ")
        if scheme.lower() != "bearer" or not text or " " in text:
            return self._refuse(head, _UNPROVED)
        found: Principal | KeyProblem | TokenProblem | IssuerKeys
        if text.startswith(PREFIX):
            found = self._keys.find(text, now_s) if self._auth.api_keys else KeyProblem("keys are not taken")
        else:
            found = self._tokens.find(text, self._resource(head.path), now_s)
        if isinstance(found, Principal):
            if peer.certificate is not None and peer.certificate.tenant != found.tenant:
                return self._refuse(head, "The certificate and the token are of different tenants")
            return found
        return None if isinstance(found, IssuerKeys) else self._refuse(head, _REFUSED)

    async def settle(self, head: HttpHead, peer: Peer) -> Principal | Refusal:
        """Who calls, once the issuer of their token was asked for its keys."""
        _, _, text = head.fields.get("authorization", "").partition(" ")
        found = self._tokens.find(text, self._resource(head.path), self._clock.wall())
        if isinstance(found, IssuerKeys):
            await found.look()
            judged = self.judge(head, peer)
            if judged is not None:
                return judged
            if found.problem is not None:
                headers = (("retry-after", "30"),)
                return Refusal(503, "Who calls can't be found out: an issuer does not answer", False, headers)
            return self._refuse(head, _REFUSED)
        return self.judge(head, peer) or self._refuse(head, _REFUSED)

    def is_alive(self, principal: Principal, now_s: float) -> bool:
        """Whether somebody who was let in would be let in now."""
        if self._auth is None:
            return principal is ANONYMOUS
        if principal is ANONYMOUS or (principal.until_s is not None and now_s >= principal.until_s):
            return False
        return principal.proof != "key" or self._keys.is_alive(principal.credential, now_s)

    async def refresh(self) -> None:
        """Look for new keys of issuers, where those that are known are old."""
        for keys in self._tokens.keys:
            if keys.is_due:
                await keys.look()

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

    def _refuse(self, head: HttpHead, reason: str, error: str | None = "invalid_token") -> Refusal:
        return Refusal(401, reason, False, self.challenge(head.path, error))

    def _resource(self, path: str) -> str:
        resource = self._resources.get(path)
        if resource is None:
            resource = self._base_url + resource_path(path)
            if len(self._resources) < 1000:
                self._resources[path] = resource
        return resource
