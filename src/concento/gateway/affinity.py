"""Which of a server's links a call may use, and what brings a caller back to the same one.

A server that remembers earlier calls has links of their own for sessions or principals (`isolation`). Agents of the
session era have a session; others may ask for one of such a server with `"dev.concento/session": "new"` in `_meta`.
The result's `_meta` has a handle, which they put there from then on. Sealed, it is good for them and that server alone.
"""

import secrets
import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw, structs

from ..model import meta
from ..model.call import Call, Request
from ..model.errors import InvalidParams
from ..model.seal import Seal
from ..protocol.jsonrpc import read_object, read_string
from ..upstream.server import Upstream

_encode = msgspec.json.Encoder().encode
_NEW: Final = "new"


def partition_of(upstream: Upstream, call: Call) -> str:
    """The links a call may use, by name: all callers share one, or each principal or session has its own."""
    isolation, principal = upstream.server.isolation, call.principal
    if isolation == "shared":  # by the callers of one tenant
        return "" if principal.tenant == upstream.server.tenant else principal.tenant
    owner = principal.owner_key
    return f"{owner}/{call.session}" if isolation == "session" and call.session is not None else owner


def in_session(upstream: Upstream, call: Call, seal: Seal) -> tuple[Call, str | None]:
    """A call that brings a handle, or asks for one, as a call in that session, and the handle to answer with.

    Errors: InvalidParams, if the server keeps no sessions, the handle is not this caller's, or its session has ended.
    """
    wanted = read_string(call.meta.get(meta.SESSION))
    alias = upstream.server.alias
    if wanted is None or upstream.server.isolation != "session":
        raise InvalidParams(
            f"The server {alias!r} has no sessions; leave out {meta.SESSION!r}, or set `stateful: true` for the server"
        )
    context = _encode(("session", upstream.server.key, *call.principal.owner))
    kept = {key: value for key, value in call.meta.items() if key != meta.SESSION}
    if wanted == _NEW:
        session = f"handle-{secrets.token_urlsafe(12)}"
        return structs.replace(call, session=session, meta=kept), seal.close(session.encode(), context)
    opened = seal.open(wanted, context)
    held = None if opened is None else structs.replace(call, session=opened.decode(), meta=kept)
    if held is None or not upstream.holds(partition_of(upstream, held)):
        raise InvalidParams(f"The session at {alias!r} has ended, or is not this caller's; begin one with {_NEW!r}")
    return held, wanted


def steady(attempts: Sequence[int], usable: Sequence[bool], partition: str) -> Sequence[int]:
    """The replicas in the order that brings a partition to the same one each time, as long as that one is usable."""
    home = zlib.crc32(partition.encode()) % len(usable)
    return (home, *(one for one in attempts if one != home)) if usable[home] else attempts


def hash_key(by: str, request: Request, call: Call) -> bytes:
    """What calls have in common that go to one replica: the caller, the session, or the value of an argument."""
    owner = call.principal.owner_key
    if by == "session":
        return (call.session or owner).encode()
    if by != "subject":
        arguments = request.params.get("arguments")
        members = read_object(arguments) if isinstance(arguments, Raw) else None
        value = (members or {}).get(by.removeprefix("arguments."))
        if value is not None:
            return bytes(value)
    return owner.encode()
