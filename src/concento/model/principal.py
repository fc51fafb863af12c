"""Who calls: the user, the agent that acts for them, their tenant, what they may, and how it was proved."""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from .secret import Secret
from .tenant import DEFAULT_TENANT

_encode = msgspec.json.Encoder().encode

Proof = Literal["loopback", "stdio", "key", "jwt", "mtls", "local"]
"""`loopback` and `stdio`: nothing was asked for, and nobody else can call. `local`: who may read the state folder."""

Owner = tuple[str, str, str | None]
"""Tenant, subject and agent."""


class Principal(Struct, frozen=True):
    """One caller, proved. Made once for a credential and kept with it, so that a call makes none.

    The user (`subject`) and the agent that acts for them are told apart. `chain` has the agents behind that one, the
    nearest first. `narrowed` are the layers of patterns that a delegated key was given: a thing has to match each.
    """

    subject: str = "anonymous"
    agent: str | None = None
    tenant: str = DEFAULT_TENANT
    proof: Proof = "loopback"
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    chain: tuple[str, ...] = ()
    narrowed: tuple[tuple[str, ...], ...] = ()
    credential: str = ""
    """What proved it, by an id that may be written down: a key's, a certificate's or a token's digest."""
    within: "Principal | None" = None
    """Whom a delegated key was derived of: what they may not use, its holder may not either."""
    until_s: float | None = None
    """Wall time from which on the credential proves nothing."""
    token: Secret | None = None
    """What they showed, where a server is called with what it is exchanged for."""

    @property
    def owner(self) -> Owner:
        """What sessions, tasks, cursors and sealed states are bound to: a credential is renewed, its owner stays."""
        return self.tenant, self.subject, self.agent

    @property
    def owner_key(self) -> str:
        """The same as one text, which no other owner has, nor a delegate: what it makes is not its parent's."""
        return _encode((*self.owner, *self.narrowed)).decode()


def owner_prefix(tenant: str, subject: str) -> str:
    """What the `owner_key` of a user begins with, whichever agent acts for them."""
    return f"{_encode((tenant, subject)).decode()[:-1]},"


ANONYMOUS: Final = Principal()
"""Every caller, where nobody has to prove anything."""
LOCAL: Final = Principal(proof="stdio")
"""The one agent of a hub over standard input and output."""
