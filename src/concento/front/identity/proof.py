"""What it means to have proved who calls, apart from how: what a hub without issuers needs of tokens.

The libraries for signatures and for asking issuers take a tenth of a second to import: only who has issuers pays it.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any, Final

from msgspec import Struct

from ...model.principal import Principal

REFETCH_S: Final = 30.0
"""An issuer's key that is not known is looked for at most this often: tokens can name any number."""
terms: Final = count(1)


class Proved(Principal, frozen=True):
    """A principal proved under a part of the configuration, which has its number: with that part its proof ends."""

    term: int = 0


class TokenProblem(Struct, frozen=True):
    """Why a token is not taken. Callers are told none of it: it would help a forger.

    `is_down`: the token may be good, but its issuer can't be asked.
    """

    reason: str
    is_down: bool = False


class NoTokens:
    """The tokens of a hub without issuers: none is taken."""

    keys: Sequence[Any] = ()

    def find(self, text: str, resource: str, now_s: float) -> TokenProblem:
        """Why it is not."""
        return TokenProblem("no issuer is known")

    def holds(self, principal: Principal) -> bool:
        """Whether somebody's token is still taken: it is not."""
        return False
