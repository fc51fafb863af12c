"""The hub's own tools: find others by what is needed, have the one that fits called, say whether it was of use, connect
accounts.

What they call is called as if its caller had named it: policy, limits, arguments and the audit record look at it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from ..catalog.fits import misfit
from ..catalog.meta_tools import (
    BUDGET_DEFAULT,
    BUDGET_MAX,
    BYTES_PER_TOKEN,
    QUERY_CHARS_MAX,
    TOOLS_DEFAULT,
    TOOLS_MAX,
)
from ..catalog.slices import Entry
from ..catalog.view import Binding, TenantView, chosen
from ..model import meta
from ..model.call import Call, Notify, Reply, Result
from ..model.config import Server
from ..model.errors import CallError, Forbidden, InvalidParams, NeedsAccount
from ..model.search import CONNECT_ACCOUNT, DISCONNECT_ACCOUNT, FEEDBACK, FIND_TOOLS, USE_CAPABILITY
from ..observe.record import Record
from ..protocol.jsonrpc import EMPTY_OBJECT, raw, read_object, read_once, read_string
from .accounts import opened, to_connect
from .meant import call_of, chosen_before, with_choice
from .own_questions import with_answers
from .resolve import tool_target
from .search import Finding
from .told import with_meta

if TYPE_CHECKING:
    from .call import Gateway

_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode
_NEAREST: Final = 5
_CANDIDATES: Final = 5
_CONSIDERED: Final = 10
_SHORT_CHARS: Final = 120
_KEPT_OUT: Final = ("_meta", "icons", "outputSchema", "execution")
"""Of a definition: what helps nobody to call the tool."""

_Query = Annotated[str, Meta(min_length=1, max_length=QUERY_CHARS_MAX)]


_values = msgspec.json.Decoder(float_hook=float).decode
"""Numbers may be beyond what a float holds: they are looked at, and passed on as they came."""


class _Find(Struct, forbid_unknown_fields=True):
    query: _Query
    limit: Annotated[int, Meta(ge=1, le=TOOLS_MAX)] = TOOLS_DEFAULT
    max_tokens: Annotated[int, Meta(ge=100, le=BUDGET_MAX)] = BUDGET_DEFAULT


class _Use(Struct, forbid_unknown_fields=True):
    capability: _Query | None = None
    arguments: Raw = EMPTY_OBJECT
    tool: str | None = None


class _Verdict(Struct, forbid_unknown_fields=True):
    tool: str
    useful: bool


class _Account(Struct, forbid_unknown_fields=True):
    server: str


class _Wrong(Exception):
    """What is wrong with arguments, for the agent that gave them."""


async def answer(gateway: "Gateway", view: TenantView, call: Call, notify: Notify | None, record: Record) -> Reply:
    """The reply of one of the hub's own tools. Errors: any `CallError`."""
    try:
        return await _ANSWER[call.name or ""](gateway, view, call, notify, record)
    except _Wrong as wrong:
        if record.lease is None:
            gateway.gate.enter(call, record)
        record.decision = "invalid"
        return _said({"message": str(wrong)}, failed=True)


# -- find_tools


async def _find(gateway: "Gateway", view: TenantView, call: Call, notify: Notify | None, record: Record) -> Reply:
    asked = _read(call, _Find)
    gateway.gate.enter(call, record)
    view = await _fresh(gateway, view, call)
    finding = await gateway.finder.find(view, asked.query)
    order = [one.place for one in finding.ranking.order]
    likely = finding.ranking.likelihood(order)
    if likely < gateway.finder.settings.fits:
        return _nothing(gateway, view, finding, order)
    tools, left = [], asked.max_tokens * BYTES_PER_TOKEN
    for place in order[: asked.limit]:
        tool = _shown(view, finding.entries[place])
        if len(_encode(tool)) > left:
            tool = _short(view, finding.entries[place])
            if len(_encode(tool)) > left:
                break
        tools.append(tool)
        left -= len(_encode(tool))
    omitted = min(asked.limit, len(order)) - len(tools)
    message = f"{len(tools)} of {len(finding.entries)} tools, best first.{_missing(view)}"
    told = {"fits": True, "message": message, "tools": tools, "omitted": omitted}
    scores = [round(one.score, 3) for one in finding.ranking.order[: len(tools)]]
    about = {"likely": round(likely, 3), "scores": scores, "tokensOfAll": view.tokens_of_all}
    return _said(told, {meta.SEARCH: about})


def _nothing(gateway: "Gateway", view: TenantView, finding: Finding, order: Sequence[int]) -> Reply:
    nearest = [_short(view, finding.entries[place]) for place in order[:_NEAREST]]
    message = "Nothing fits." + (" These are the nearest." if nearest else "") + _missing(view)
    about = {"likely": round(finding.ranking.likelihood(order), 3), "tokensOfAll": view.tokens_of_all}
    return _said({"fits": False, "message": message, "tools": nearest}, {meta.SEARCH: about})


def _missing(view: TenantView) -> str:
    unknown = [slice.server.alias for slice in view.shown if slice.inventory is None]
    return f" Not searched, since not listed yet: {', '.join(unknown[:10])}." if unknown else ""


def _shown(view: TenantView, entry: Entry) -> dict[str, Raw]:
    """A tool as an agent needs it to call it."""
    members = read_object(view.raw(entry)) or {}
    return {name: value for name, value in members.items() if name not in _KEPT_OUT}


def _short(view: TenantView, entry: Entry) -> dict[str, Any]:
    """A tool by its name and the beginning of what it says."""
    description = read_string((read_object(view.raw(entry)) or {}).get("description")) or ""
    cut = description if len(description) <= _SHORT_CHARS else description[: _SHORT_CHARS - 1] + "…"
    return {"name": view.name(entry), "description": cut}


# -- use_capability


async def _use(gateway: "Gateway", view: TenantView, call: Call, notify: Notify | None, record: Record) -> Reply:
    asked = _read(call, _Use)
    arguments = read_once(asked.arguments)
    if arguments is None:
        raise _Wrong("`arguments` must be an object")
    if call.state is not None:
        before = chosen_before(call, gateway.seal)
        reply = await gateway.asked(view, before, notify, record)
        return with_choice(reply, call, before.name or "", gateway.seal)
    if asked.tool is not None:
        reply = await gateway.asked(view, call_of(call, asked.tool, asked.arguments), notify, record)
        return with_choice(reply, call, asked.tool, gateway.seal)
    if asked.capability is None:
        raise _Wrong("say what you need as `capability`, or name a `tool`")
    gateway.gate.enter(call, record)  # a search counts, beside the call that may follow
    view = await _fresh(gateway, view, call)
    finding = await gateway.finder.find(view, asked.capability)
    order = [one.place for one in finding.ranking.order]
    try:
        values = {name: _values(value) for name, value in arguments.items()}
    except (msgspec.DecodeError, RecursionError) as error:
        raise _Wrong(f"`arguments` can't be read: {error}") from None
    problems: dict[int, str | None] = {}
    for place in order[:_CONSIDERED]:
        entry = finding.entries[place]
        problems[place] = _problem(gateway, view, entry, call_of(call, view.name(entry), asked.arguments), values)
    pool = [place for place, problem in problems.items() if problem is None]
    likely = finding.ranking.likelihood(pool)
    about = {
        "likely": round(likely, 3),
        "candidates": [
            {"tool": view.name(finding.entries[place]), "score": round(one.score, 3), "problem": problems[place]}
            for one in finding.ranking.order[:_CANDIDATES]
            if (place := one.place) in problems
        ],
    }
    settings = gateway.finder.settings
    is_clear = likely >= settings.sure and finding.ranking.is_ahead(pool)
    if is_clear and _only_reads(gateway, view, finding.entries[pool[0]]):
        name = view.name(finding.entries[pool[0]])
        reply = await gateway.asked(view, call_of(call, name, asked.arguments), notify, record)
        reply = with_choice(reply, call, name, gateway.seal)
        return with_meta(reply, meta.CAPABILITY, {"tool": name, **about})
    if finding.ranking.likelihood(order) < settings.fits:
        reply = _nothing(gateway, view, finding, order)
    else:
        reply = _said(_choices(view, finding, pool, problems, is_clear))
    return with_meta(reply, meta.CAPABILITY, {"tool": None, **about})


def _choices(
    view: TenantView, finding: Finding, pool: Sequence[int], problems: Mapping[int, str | None], is_clear: bool
) -> dict[str, Any]:
    """What an agent chooses from: what can be called as it stands, then what could if something changed."""
    if not pool:
        why = "none of the tools that fit can be called so"
    elif not is_clear:
        why = "no tool is clearly the one that is meant"
    else:
        why = "the tool that fits best may change something, or nobody has vouched that it does not"
    rest = [place for place, problem in problems.items() if problem is not None]
    tools = []
    for place in [*pool, *rest][:_CANDIDATES]:
        problem = problems[place]
        tools.append(_shown(view, finding.entries[place]) | ({} if problem is None else {"problem": raw(problem)}))
    message = f"Nothing was called: {why}. Choose one, and call {USE_CAPABILITY} with its name as `tool`."
    return {"called": False, "message": message, "candidates": tools}


def _problem(
    gateway: "Gateway", view: TenantView, entry: Entry, call: Call, arguments: Mapping[str, Any]
) -> str | None:
    """Why a tool can't be called as it stands; None if it can."""
    binding = view.tool(view.name(entry))
    if binding is None:
        return "it is not there any more"
    told = misfit(view.raw(entry), arguments)
    if told is not None:
        return told
    bindings = _bindings(binding)
    if not any(_may_call(gateway, view, one, call) for one in bindings):
        return "you may see it, but not call it so"
    return None if any(gateway.upstreams.is_well(one.server.key) for one in bindings) else "its server is not well"


def _may_call(gateway: "Gateway", view: TenantView, binding: Binding, call: Call) -> bool:
    """Whether the policy lets a call of a tool pass, with these arguments as it would get them."""
    try:
        gateway.gate.check(tool_target(view, call, binding), call, Record(call, 0.0, gateway.wall()))
    except CallError:
        return False
    return True


def _bindings(binding: Binding) -> list[Binding]:
    logical = binding.logical
    return [binding] if logical is None else [chosen(logical, choice) for choice in logical.choices]


def _only_reads(gateway: "Gateway", view: TenantView, entry: Entry) -> bool:
    """Whether a tool changes nothing, by what counts of what it says: its server has to be trusted."""
    binding = view.tool(view.name(entry))
    snapshot = gateway.current.snapshot
    return binding is not None and all(
        snapshot.item("tool", one).annotations.get("readOnlyHint") is True for one in _bindings(binding)
    )


# -- feedback


async def _feedback(gateway: "Gateway", view: TenantView, call: Call, notify: Notify | None, record: Record) -> Reply:
    said = _read(call, _Verdict)
    gateway.gate.enter(call, record)
    arm = gateway.last_arms.pop((call.principal.owner_key, said.tool), None)
    if arm is None:
        raise _Wrong(f"there is no result of {said.tool[:128]!r} to judge: it is on no trial, or was judged already")
    gateway.judged(arm, said.useful)
    return _said({"message": "Noted."})


# -- accounts


async def _connect(gateway: "Gateway", view: TenantView, call: Call, notify: Notify | None, record: Record) -> Reply:
    said = _read(call, _Account)
    server = _with_accounts(view, said.server)
    call, answered = with_answers(call, server.alias, gateway.seal, gateway.wall())
    if not answered:
        gateway.gate.enter(call, record)
    if call.state is not None:
        raise InvalidParams("The requestState is not one that was given to this caller for this request")
    await opened(gateway, server, call, answered)
    token = gateway.connecting.accounts.token(server.key, server.alias, call.principal)
    try:
        await token.field()
        if token.challenge is not None:
            raise NeedsAccount(f"The server {server.alias!r} wants more than you have granted", token.challenge.scopes)
    except NeedsAccount as needed:
        return to_connect(gateway, server, call, answered, needed)
    account = token.account
    assert account is not None
    scopes = f", with {' '.join(account.scopes)}" if account.scopes else ""
    return _said({"connected": True, "message": f"Your account at {server.alias} is connected{scopes}."})


async def _disconnect(gateway: "Gateway", view: TenantView, call: Call, notify: Notify | None, record: Record) -> Reply:
    said = _read(call, _Account)
    server = _with_accounts(view, said.server)
    gateway.gate.enter(call, record)
    if call.principal.narrowed:
        raise Forbidden("A delegated key can't disconnect accounts; whoever gave it can", outcome="not_sent")
    token = gateway.connecting.accounts.token(server.key, server.alias, call.principal)
    was = await gateway.connecting.accounts.disconnect(token)
    told = "is disconnected, and what it granted was forgotten" if was else "was not connected"
    return _said({"connected": False, "message": f"Your account at {server.alias} {told}."})


def _with_accounts(view: TenantView, alias: str) -> Server:
    """A server of a view whose users have accounts."""
    servers = {server.alias: server for server in view.with_accounts}
    if alias not in servers:
        raise _Wrong(f"`server` is one of {', '.join(servers)}")
    return servers[alias]


# -- what they have in common


def _read(call: Call, kind: type[_T]) -> _T:
    arguments = call.params.get("arguments", EMPTY_OBJECT)
    read_once(arguments)
    try:
        return msgspec.json.decode(arguments, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _Wrong(f"{call.name}: {error}") from None


async def _fresh(gateway: "Gateway", view: TenantView, call: Call) -> TenantView:
    """The view with lists that are up to date, as far as that takes no long wait."""
    await gateway.freshness.refresh(view, "tools", call.principal)
    return gateway.current.snapshot.view(call.endpoint, call.principal) or view


def _said(value: dict[str, Any], about: dict[str, Any] | None = None, *, failed: bool = False) -> Result:
    """A result for those that read structured content, and for those that read text, with its `_meta`."""
    text = _encode(value).decode()
    result: dict[str, Any] = {"resultType": "complete", "content": [{"type": "text", "text": text}]}
    result |= {"isError": True} if failed else {"structuredContent": value}
    result |= {} if about is None else {"_meta": about}
    return Result(Raw(_encode(result)), "complete", failed)


_Answer = Callable[["Gateway", TenantView, Call, Notify | None, Record], Awaitable[Reply]]
_ANSWER: Final[Mapping[str, _Answer]] = {
    FIND_TOOLS: _find,
    USE_CAPABILITY: _use,
    FEEDBACK: _feedback,
    CONNECT_ACCOUNT: _connect,
    DISCONNECT_ACCOUNT: _disconnect,
}
