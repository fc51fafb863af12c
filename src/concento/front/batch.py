"""JSON-RPC batches, which the revision 2025-03-26 has and no other: split, answered side by side, joined again."""

import asyncio

from ..model.errors import InvalidRequest
from ..model.limits import BATCH_MAX
from ..protocol.jsonrpc import Rejection, parse, parse_batch
from .answers import legacy_error
from .asking import Send
from .session import Caller, Session

_REVISION = "2025-03-26"


def batch_in(session: Session | None, text: bytes) -> list[bytes] | None:
    """The messages of a batch; None if this is none, or if the session's revision has none."""
    if session is None or session.hello is None or session.hello.revision != _REVISION:
        return None
    messages = parse_batch(text)
    return messages if messages and len(messages) <= BATCH_MAX else None


async def answer_batch(session: Session, messages: list[bytes], send: Send | None, caller: Caller) -> list[bytes]:
    """The replies to those messages that get one."""
    texts = await asyncio.gather(*(_answer(session, message, send, caller) for message in messages))
    return [text for text in texts if text is not None]


def join(replies: list[bytes]) -> bytes:
    """Replies as one message."""
    return b"[" + b",".join(replies) + b"]"


async def _answer(session: Session, text: bytes, send: Send | None, caller: Caller) -> bytes | None:
    message = parse(text)
    if isinstance(message, Rejection):
        return legacy_error(message.id, message.error)
    if message.method == "initialize":
        return legacy_error(message.id, InvalidRequest("initialize stands alone, not in a batch"))
    return await session.answer(message, send, caller=caller)
