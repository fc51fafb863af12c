"""The Skills extension: one list of all servers that declare it; single skills and directories asked of their owner.

Skills are asked for anew each time, with the caller's own capabilities: they are no part of the catalog. One page of
the merged list is one page of each server that has more, so nothing is gathered beyond what somebody asked for.
Source: SEP-2640; ext-skills, specification/stable/skills.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Raw, Struct, structs

from ..catalog import rewrite
from ..catalog.view import Binding, TenantView
from ..model import limits, meta
from ..model.call import INPUT_REQUIRED, Call, Failure, Patience, Reply, Request, Result
from ..model.errors import BadReply, CallError, InvalidParams, MethodNotFound, Unavailable
from ..model.extensions import SKILLS
from ..observe.record import Record
from ..protocol.jsonrpc import raw, read_object, read_string
from .ask import ask
from .lists import INFO
from .resolve import Target

if TYPE_CHECKING:
    from .call import Gateway

_encode = msgspec.json.Encoder().encode
_cursors = msgspec.json.Decoder(dict[str, str])
_resources = msgspec.json.Decoder(list[Raw])

_LIST, _GET, _DIRECTORY = "skills/list", "skills/get", "resources/directory/read"
_NOUN: Final = {_GET: "skill", _DIRECTORY: "directory"}
_TOLD_MAX: Final = 10


class _Page(Struct):
    """What one server says to `skills/list`."""

    skills: list[Raw]
    nextCursor: str | None = None
    ttlMs: float | None = None
    cacheScope: str | None = None


_page = msgspec.json.Decoder(_Page)


async def answer(gateway: "Gateway", view: TenantView, call: Call, record: Record) -> Reply:
    """Answer a method of the extension.

    Errors: MethodNotFound, if no server of the endpoint offers it; any `CallError` of the one server that is asked.
    """
    if any(slice.inventory is None for slice in view.shown):
        await gateway.freshness.refresh(view, "tools", call.principal)
        view = gateway.current.snapshot.view(call.endpoint, call.principal) or view
    _check_offered(view, call.method)
    if call.method == _LIST:
        return await _list(gateway, view, call, record)
    return await _one(gateway, view, call, record)


def _check_offered(view: TenantView, method: str) -> None:
    if any(_offers(view, alias, method) for alias in view.extensions.get(SKILLS, ())):
        return
    starting = [slice.server.alias for slice in view.shown if slice.inventory is None]
    if starting:
        told = f"The server {starting[0]!r} is not known yet; it may have skills"
        raise Unavailable(told, retry_after_s=1.0)
    what = f"the extension {SKILLS}" + (" with directoryRead" if method == _DIRECTORY else "")
    servers = [
        slice.server.alias + (f" ({slice.health.revision})" if slice.health.revision else "") for slice in view.shown
    ]
    listed = ", ".join(servers[:_TOLD_MAX]) + (", …" if len(servers) > _TOLD_MAX else "")
    raise MethodNotFound(f"{method} needs {what}, which no server here declares: {listed or 'there is none'}")


def _offers(view: TenantView, alias: str, method: str) -> bool:
    return view.reads_directories(alias) if method == _DIRECTORY else alias in view.extensions.get(SKILLS, ())


# -- one server


async def _one(gateway: "Gateway", view: TenantView, call: Call, record: Record) -> Reply:
    """Ask the server that a URI names."""
    uri = read_string(call.params.get("uri"))
    if uri is None:
        raise InvalidParams("The parameter 'uri' must be a string")
    binding = view.resource(uri)
    unknown = InvalidParams(f"Unknown {_NOUN[call.method]}: {uri[:256]}")
    if binding is None:
        raise unknown
    if not _offers(view, binding.alias, call.method):
        lacks = SKILLS + (" with directoryRead" if call.method == _DIRECTORY else "")
        raise InvalidParams(f"{unknown}. The server {binding.alias!r} does not declare {lacks}")
    target = _target(binding, call, {"uri": raw(binding.own)})
    reply = await ask(gateway, target, call, None, record)
    if isinstance(reply, Failure):
        return reply
    if reply.kind == INPUT_REQUIRED:
        raise BadReply(f"The server {binding.alias!r} asked for input, which nobody gives in {call.method}")
    if view.endpoint.kind == "server":
        return reply
    member = "skill" if call.method == _GET else "resources"
    members = read_object(reply.raw) or {}
    if member not in members:
        raise BadReply(f"The server {binding.alias!r} sent a result without {member!r}")
    if call.method == _GET:
        if not _shown(view, binding.alias, members[member]):
            raise unknown
        members[member] = rewrite.publish_skill(members[member], binding.alias)
    else:
        members[member] = _children(view, binding.alias, members[member])
    return Result(Raw(_encode(members)), reply.kind)


def _target(binding: Binding, call: Call, changed: dict[str, Raw]) -> Target:
    # No Mcp-Name: the extension names no parameter that it would mirror.
    request = Request(
        *(call.method, {**call.params, **changed}, call.meta, None, call.log_level),
        profile=call.profile,
        owner=call.principal,
    )
    return Target("resource", binding, request, None)


def _shown(view: TenantView, alias: str, skill: Raw) -> bool:
    """Whether a skill is seen here: all of its files have to be, for a host refuses one that lacks any."""
    return all(view.shows_resource(alias, uri) for uri in rewrite.skill_uris(skill))


def _children(view: TenantView, alias: str, children: Raw) -> Raw:
    try:
        found = _resources.decode(children)
    except msgspec.DecodeError:
        raise BadReply(f"The server {alias!r} sent a directory that is no list") from None
    seen = [child for child in found if view.shows_resource(alias, rewrite.resource_uri(child))]
    return Raw(_encode([rewrite.publish_resource(child, alias) for child in seen]))


# -- all of them


async def _list(gateway: "Gateway", view: TenantView, call: Call, record: Record) -> Reply:
    """One page of each server that has more; what failed is told beside the others' skills.

    Errors: the first server's, if all failed.
    """
    declared = view.extensions[SKILLS]
    cursors = _open(gateway, call)
    asked = [alias for alias in declared if cursors is None or alias in cursors]
    gateway.gate.enter(call, record, cost=max(1, len(asked)))
    if (written := gateway.gate.intent(record)) is not None:
        await written
    pages = await asyncio.gather(
        *(_page_of(gateway, view, call, alias, None if cursors is None else cursors[alias], record) for alias in asked)
    )
    troubles = view.troubles()
    troubles = {slice.server.alias: troubles[slice.server.alias] for slice in view.shown if slice.inventory is None}
    skills: list[bytes] = []
    left: dict[str, str] = {}
    lifetimes: list[float] = []
    public = view.shows_all
    for alias, page in zip(asked, pages, strict=True):
        if isinstance(page, _Page):
            skills += page.skills
            lifetimes.append(page.ttlMs or 0)
            public = public and page.cacheScope == "public"
            if page.nextCursor is not None:
                left[alias] = page.nextCursor
        else:
            told = str(page) if isinstance(page, CallError) else f"{page.message[:200]} ({page.code})"
            troubles[alias] = {"state": "failing", "error": told}
    if asked and not lifetimes:
        first = pages[0]
        if isinstance(first, CallError):
            raise first
        assert isinstance(first, Failure)
        return first
    told_meta: dict[str, Any] = {meta.SERVER_INFO: view.info or INFO}
    if troubles:
        told_meta[meta.SERVERS] = troubles
    result: dict[str, Any] = {
        "ttlMs": 0 if troubles else int(max(0, min(lifetimes, default=0))),
        "cacheScope": "public" if public and not troubles else "private",
        "resultType": "complete",
        "_meta": told_meta,
    }
    if left:
        result["nextCursor"] = gateway.seal.close(_encode(left), _context(call))
    return Result(Raw(b'{"skills":[%b],%b' % (b",".join(skills), _encode(result)[1:])), "complete")


async def _page_of(
    gateway: "Gateway", view: TenantView, call: Call, alias: str, cursor: str | None, record: Record
) -> _Page | Failure | CallError:
    """A server's page, as it is shown here, or why there is none."""
    part = record.branch(call, gateway.records.now())
    try:
        server = view.server(alias)
        assert server is not None
        wait_s = min(limits.SKILLS_WAIT_S, server.timeout_s)
        target = _target(Binding(server, ""), call, {} if cursor is None else {"cursor": raw(cursor)})
        patient = structs.replace(call, patience=Patience(wait_s))
        part.server = server.key
        reply = await ask(gateway, target, patient, None, part, is_admitted=True)
        part.replied(reply)
        if isinstance(reply, Failure):
            return reply
        page = _page.decode(reply.raw)
        if page.nextCursor is not None and len(page.nextCursor) > limits.SKILLS_CURSOR_CHARS_MAX:
            told = f"The server {alias!r} sent a cursor of more than {limits.SKILLS_CURSOR_CHARS_MAX} characters"
            raise BadReply(told)
        if page.nextCursor == cursor:
            page.nextCursor = None
        page.skills = [skill for skill in page.skills if _shown(view, alias, skill)]
        if view.endpoint.kind != "server":
            page.skills = [rewrite.publish_skill(skill, alias) for skill in page.skills]
        return page
    except msgspec.DecodeError as error:
        return BadReply(f"The server {alias!r} sent a malformed list of skills: {error}")
    except CallError as error:
        part.failed(error)
        return error
    finally:
        part.duration_s = gateway.records.now() - part.started_s


def _open(gateway: "Gateway", call: Call) -> dict[str, str] | None:
    """What is left of which server; None where a list begins. Errors: InvalidParams."""
    given = call.params.get("cursor")
    if given is None:
        return None
    cursor = read_string(given)
    if cursor is None:
        raise InvalidParams("The cursor must be a string")
    left = gateway.seal.open(cursor, _context(call), chars_max=limits.BODY_BYTES_MAX)
    if left is None:
        raise InvalidParams("The cursor is not valid here; begin the list again")
    return _cursors.decode(left)


def _context(call: Call) -> bytes:
    endpoint, principal = call.endpoint, call.principal
    return _encode(("cursor", SKILLS, endpoint.kind, endpoint.name, principal.tenant, principal.subject))
