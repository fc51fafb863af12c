"""Have a caller's user connect an account: asked where the caller can ask, told with a link where it can't.

Source: specification 2026-07-28, client/elicitation (URL mode); hardening T14, T21.
"""

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

from ..model.call import Call, Reply, Result
from ..model.config import Server
from ..model.errors import Forbidden, NeedsAccount
from .own_questions import may_be_asked, question

if TYPE_CHECKING:
    from .call import Gateway

_encode = msgspec.json.Encoder().encode
ACCOUNT: Final = "account"
"""What is answered once the user has opened the page."""
WAIT_S: Final = 20.0
"""How long a call waits for a user who has opened the page."""
ASKED_MAX: Final = 10
"""How often one call asks: agents that ask at once again give the user some minutes so."""


async def opened(gateway: "Gateway", server: Server, call: Call, answered: tuple[str, ...]) -> None:
    """Wait a while for a user who said that they open the page. Errors: Forbidden, if they did not connect."""
    if answered and answered[-1] == ACCOUNT:
        problem = await gateway.connecting.wait(server.key, call.principal, WAIT_S)
        if problem is not None:
            raise Forbidden(problem, outcome="not_sent")


def to_connect(
    gateway: "Gateway", server: Server, call: Call, answered: tuple[str, ...], needed: NeedsAccount
) -> Reply:
    """The question whether the user connects an account, in place of what was asked for.

    Errors: NeedsAccount, with a link, if the caller can't be asked; Forbidden, Unavailable, Overloaded.
    """
    if call.principal.narrowed:
        told = "a delegated key can't connect accounts; whoever gave it can"
        raise Forbidden(f"{needed.message}: {told}", outcome="not_sent")
    page = gateway.connecting.begin(server.key, call.principal)
    if call.state is None and may_be_asked(call, page=True) and answered.count(ACCOUNT) < ASKED_MAX:
        message = f"{needed.message}. The page is your hub's, and leads on to where you sign in."
        return question(call, server.alias, ACCOUNT, message, answered, gateway.seal, gateway.wall(), page)
    told = f"{needed.message}. Ask the user to open {page} and to connect the account there; then repeat this call."
    raise NeedsAccount(told, needed.scopes)


def told_in_result(needed: NeedsAccount) -> Result:
    """What has to be done, where a model reads it: few clients show it errors."""
    result = {"resultType": "complete", "content": [{"type": "text", "text": needed.message}], "isError": True}
    return Result(Raw(_encode(result)), "complete", failed=True)
