"""Recorded calls held against a configuration: who would answer each, or what would refuse it. Nothing is called.

It asks the very policy, limits and order that calls are put to. What no record has it can't know: the roles of those
whose credential is not in the state store, arguments where only their digest was kept, and how servers were that day.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from msgspec import Raw

from ..catalog.logical import Logical
from ..catalog.view import chosen
from ..front.identity.keys import KeyRecord
from ..gateway.promotions import Promotions
from ..gateway.resolve import RESOLVE, Target, tool_target
from ..model.call import ALL, NO_ABILITIES, Call, Endpoint
from ..model.config import owned
from ..model.errors import CallError, Forbidden, InvalidParams, NeedsScope, OverBudget, RateLimited
from ..model.principal import Principal, Proof
from ..model.search import META_TOOLS
from ..model.tenant import DEFAULT_TENANT
from ..policy.decide import Facts
from ..policy.limits import Lease, Limits
from ..protocol.jsonrpc import raw
from ..routing.order import only, order, share_of
from ..snapshot import Snapshot
from ..store.memory import MemoryStore

SHOWN_MAX: Final = 5
CHANGES_MAX: Final = 1000
_NAMED: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_REFUSALS: Final[dict[type[CallError], str]] = {
    Forbidden: "forbidden",
    NeedsScope: "needs_scope",
    RateLimited: "rate_limited",
    OverBudget: "over_budget",
}

Kind = Literal["refused", "allowed", "routed", "shaped"]
"""What differs: a call that was let through is refused, or the other way round; another server answers; its server gets
other arguments than its caller gave."""


@dataclass
class Change:
    """Calls that would fare alike, and otherwise than they did."""

    kind: Kind
    name: str
    was: str
    now: str
    calls: int = 0
    subjects: dict[str, None] = field(default_factory=dict)
    trace: str = ""
    """Of one of them."""


@dataclass
class Replayed:
    """What came of a record."""

    read: int = 0
    same: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    """Entries that can't be replayed, by the reason."""
    unsure: dict[str, int] = field(default_factory=dict)
    """Calls that were replayed with less than there was, by what was missing."""
    changes: dict[tuple[str, str, str, str], Change] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """`{read, same, skipped, unsure, changes: [{kind, name, was, now, calls, subjects, trace}]}`."""
        most = sorted(self.changes.values(), key=lambda one: -one.calls)
        rows = [{**vars(one), "subjects": list(one.subjects)} for one in most]
        return {"read": self.read, "same": self.same, "skipped": self.skipped, "unsure": self.unsure, "changes": rows}


class _At:
    """The time of the call that is replayed: limits count by it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return self.now_s


def replay(
    snapshot: Snapshot,
    keys: Iterable[KeyRecord],
    entries: Iterable[Mapping[str, Any]],
    promotions: Promotions | None = None,
) -> Replayed:
    """Hold recorded calls, in the order of their times, against a snapshot."""
    at = _At()
    limits = Limits(at, MemoryStore(), snapshot.roles_of)
    config = snapshot.config
    limits.configure({"": config.limits, **{tenant.name: tenant.limits for tenant in config.tenants.values()}})
    by_id = {key.id: key for key in keys}
    made = Replayed()
    running: list[tuple[float, int, Lease]] = []
    for entry in sorted(entries, key=lambda entry: float(entry.get("time") or 0.0)):
        made.read += 1
        call = _call(entry, snapshot, by_id, made)
        if call is None:
            continue
        at.now_s = max(at.now_s, float(entry["time"]))
        while running and running[0][0] <= at.now_s:
            heapq.heappop(running)[2].leave()
        try:
            targets = _targets(snapshot, call, entry, promotions)
            if targets is None:
                _skip(made, "copies of calls")
                continue
            target, lease = _first_admitted(snapshot, limits, call, targets, at.now_s)
            heapq.heappush(running, (at.now_s + float(entry.get("ms") or 0.0) / 1000, made.read, lease))
            _hold(made, entry, call, target)
        except CallError as error:
            _hold_refusal(made, entry, call, snapshot, error)
    return made


# -- one call


def _call(entry: Mapping[str, Any], snapshot: Snapshot, keys: Mapping[str, KeyRecord], made: Replayed) -> Call | None:
    """The call that an entry is of; None, and why in `made`, if it can't be made again."""
    if entry.get("kind", "call") != "call":
        _skip(made, "entries that are of no call that ended")
        return None
    method = str(entry.get("method") or "")
    if method not in _NAMED:
        _skip(made, "methods that no server is chosen for")
        return None
    kind, _, name = str(entry.get("endpoint") or "all").partition(":")
    if kind not in ("all", "view", "server"):
        _skip(made, "endpoints that are none")
        return None
    endpoint = ALL if kind == "all" else Endpoint(kind, name)  # type: ignore[arg-type]
    principal = _principal(entry, keys, made)
    asked = entry.get("name")
    if not asked or asked in META_TOOLS:  # of the hub's own tools, what counts is whom they called
        asked = _public(entry, snapshot, endpoint, principal)
    if not isinstance(asked, str):
        _skip(made, "calls whose record does not say what was asked for")
        return None
    params = {_NAMED[method]: raw(asked)}
    arguments = entry.get("arguments_full")
    if isinstance(arguments, dict):
        params["arguments"] = raw(arguments)
    elif entry.get("arguments") or "kind" not in entry:
        _doubt(made, "arguments were not recorded")
    address = str(entry.get("address") or "")
    return Call(method, params, {}, asked, endpoint, principal, NO_ABILITIES, address=address)


def _skip(made: Replayed, why: str) -> None:
    made.skipped[why] = made.skipped.get(why, 0) + 1


def _doubt(made: Replayed, why: str) -> None:
    made.unsure[why] = made.unsure.get(why, 0) + 1


def _principal(entry: Mapping[str, Any], keys: Mapping[str, KeyRecord], made: Replayed) -> Principal:
    proof: Proof = entry["proof"] if entry.get("proof") in get_args(Proof) else "loopback"
    key = keys.get(str(entry.get("credential") or ""))
    if key is None and proof not in ("loopback", "local"):
        _doubt(made, "roles of the credential are not known here")
    return Principal(
        str(entry.get("subject") or "anonymous"),
        entry.get("agent") or None,
        str(entry.get("tenant") or DEFAULT_TENANT),
        proof,
        frozenset() if key is None else frozenset(key.roles),
        frozenset() if key is None else frozenset(key.scopes),
        tuple(entry.get("chain") or ()),
    )


def _public(entry: Mapping[str, Any], snapshot: Snapshot, endpoint: Endpoint, principal: Principal) -> str | None:
    """The name that the access log's server and tool have at an endpoint."""
    alias, own = str(entry.get("server") or "").rpartition("/")[2], entry.get("tool")
    if not alias or not isinstance(own, str):
        return None
    whole = snapshot.whole(endpoint, principal.tenant)
    binding = whole.tool_of(alias, own)
    return None if binding is None or binding.entry is None else whole.name(binding.entry)


def _targets(
    snapshot: Snapshot, call: Call, entry: Mapping[str, Any], promotions: Promotions | None
) -> Iterator[Target] | None:
    """What servers would be asked, in order, if all of them were well; None for a copy, that nobody waited for.

    Where whose turn it was is not recorded, the one that answered comes first, if it could have.
    Errors: any `CallError` of resolving.
    """
    view = snapshot.view(call.endpoint, call.principal)
    if view is None:
        raise InvalidParams("There is no such endpoint")
    target = RESOLVE[call.method](view, call)
    logical = target.binding.logical
    if logical is None:
        return iter((target,))
    tool = logical.tool
    key = owned(tool.tenant, tool.name)
    promoted = None if promotions is None else promotions.place(key, logical)
    answered = _answered(logical, entry)
    if tool.strategy == "shadow":
        first = promoted or 0
        if answered is not None and answered != first:
            return None
        return iter((tool_target(view, call, chosen(logical, logical.choices[first])),))
    leading = [place for group in logical.groups[:1] for place in group]
    is_open = tool.strategy in ("balance", "fanout") or (tool.strategy == "split" and tool.sticky == "session")
    weights = logical.weights if promoted is None or tool.strategy != "split" else only(promoted, logical.weights)
    whose = call.principal.tenant if tool.sticky == "tenant" else call.principal.owner_key
    share = share_of(key, whose) if tool.strategy == "split" else 0.0
    places = list(order(logical.groups, weights, lambda place: True, tool.strategy, 0, share))
    if is_open and promoted is None and answered in leading:
        places = [answered, *(place for place in places if place != answered)]
    return (tool_target(view, call, chosen(logical, logical.choices[place])) for place in places)


def _answered(logical: Logical, entry: Mapping[str, Any]) -> int | None:
    """The place of the bound tool that answered, of several the first, if it is bound still."""
    server, tool = str(entry.get("server") or "").partition(",")[0], entry.get("tool")
    for place, choice in enumerate(logical.choices):
        if choice.server.key == server and (choice.bound.own == tool or "," in str(entry.get("server"))):
            return place
    return None


def _first_admitted(
    snapshot: Snapshot, limits: Limits, call: Call, targets: Iterator[Target], now_s: float
) -> tuple[Target, Lease]:
    """The first that policy and limits let through. Errors: the last one's refusal."""
    refused: CallError | None = None
    reach = snapshot.reach(call.principal)
    for target in targets:
        arguments = target.request.params.get("arguments")
        given = arguments if isinstance(arguments, Raw) else None
        facts = Facts(given, now_s, call.address or None, {}, call.principal)
        try:
            if not reach.open and target.binding.own:
                reach.admit(snapshot.item(target.kind, target.binding), facts)
            server = target.binding.server.key
            return target, limits.enter(call.principal, server, target.binding.own or None)
        except CallError as error:
            refused = error
    assert refused is not None
    raise refused


# -- what differs


def _hold(made: Replayed, entry: Mapping[str, Any], call: Call, target: Target) -> None:
    now = _where(target.binding.server.key, target.label)
    is_several = "," in str(entry.get("server") or "")  # of a fan-out, whom the first of them was asked
    if not _was_let_through(entry):
        _note(made, "allowed", entry, call, _refusal_of(entry), now)
    elif not is_several and entry.get("server") and (was := _where(str(entry["server"]), entry.get("tool"))) != now:
        _note(made, "routed", entry, call, was, now)
    elif (given := call.params.get("arguments")) != (got := target.request.params.get("arguments", given)):
        _note(made, "shaped", entry, call, _cut(given), _cut(got))
    else:
        made.same += 1


def _hold_refusal(made: Replayed, entry: Mapping[str, Any], call: Call, snapshot: Snapshot, error: CallError) -> None:
    now = _REFUSALS.get(type(error), "unknown")
    if now == "unknown" and (rule := _hidden(snapshot, call)) is not None:
        now = f"hidden by {rule}"
    elif now != "unknown":
        rule = error.limit if isinstance(error, RateLimited) else getattr(error, "rule", None)
        now = f"{now} by {rule}" if rule else now
    was_refused = not _was_let_through(entry)
    if was_refused and str(entry.get("decision") or now).partition(" ")[0] == now.partition(" ")[0]:
        made.same += 1
    else:
        was = _refusal_of(entry) if was_refused else _where(str(entry.get("server") or ""), entry.get("tool"))
        _note(made, "refused", entry, call, was, now)


def _hidden(snapshot: Snapshot, call: Call) -> str | None:
    try:
        return snapshot.hidden(call)
    except CallError:
        return None


def _was_let_through(entry: Mapping[str, Any]) -> bool:
    if "decision" in entry:
        return entry["decision"] in ("allow", "invalid")
    return entry.get("end") != "refused" and entry.get("server") is not None


def _refusal_of(entry: Mapping[str, Any]) -> str:
    rule = f" by {entry['rule']}" if entry.get("rule") else ""
    return f"{entry.get('decision') or 'refused'}{rule}"


def _where(server: str, tool: Any) -> str:
    return f"{server}.{tool}" if tool else server


def _cut(arguments: Any) -> str:
    text = bytes(arguments).decode(errors="replace")
    return text if len(text) <= 200 else text[:199] + "…"


def _note(made: Replayed, kind: Kind, entry: Mapping[str, Any], call: Call, was: str, now: str) -> None:
    key = (kind, call.name or "", was, now)
    change = made.changes.get(key)
    if change is None:
        if len(made.changes) >= CHANGES_MAX:
            _skip(made, f"changes beyond {CHANGES_MAX} kinds of them")
            return
        change = made.changes[key] = Change(*key, trace=str(entry.get("trace") or ""))
    change.calls += 1
    if len(change.subjects) < SHOWN_MAX:
        change.subjects[call.principal.subject] = None
