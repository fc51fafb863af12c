"""How a call would be routed now, and why: the order that routing itself says, over readings taken at this moment."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from msgspec import Raw

from ..catalog.logical import Choice, Logical
from ..catalog.view import Binding, chosen
from ..model.config import owned
from ..model.errors import CallError
from ..model.principal import Principal
from ..policy.decide import Reach
from ..protocol.jsonrpc import EMPTY_OBJECT, read_once
from ..routing.adapt import adapted
from ..routing.order import only, order, share_of, whose_share, whose_turn
from ..snapshot import Current
from ..upstream.circuit import standing
from ..upstream.pool import Upstreams
from ..upstream.server import Upstream
from .promotions import Promotions

_BALANCED: Final = {
    "round_robin": "in turn",
    "weighted": "in turn, as often as each one's weight says",
    "least_busy": "to the less loaded of two",
    "hash": "always to the same one for what `hash_by` says",
}


class Routed(Protocol):
    """What routing reads while it runs: a gateway, and the hub that has it."""

    @property
    def current(self) -> Current:
        """The snapshot."""
        ...

    @property
    def upstreams(self) -> Upstreams:
        """The servers."""
        ...

    @property
    def promotions(self) -> Promotions:
        """What the operator decided of experiments."""
        ...

    @property
    def turns(self) -> Mapping[str, int]:
        """How often each logical tool was called, by its key."""
        ...


def candidates_of(
    hub: Routed,
    binding: Binding,
    reach: Reach,
    principal: Principal,
    arguments: Raw | None,
    whose: str | None = None,
) -> list[dict[str, Any]]:
    """The tools of servers that would answer a call: one, or those that a logical tool is bound to.

    `whose`: whose calls keep to one arm; None: the principal's, or their tenant's.
    """
    logical = binding.logical
    if logical is None:
        live = _live(hub, binding.server.key)
        return [
            {"tool": f"{binding.alias}.{binding.own}", "visible": True, **_state(live), "order": 1, "why": _only(live)}
        ]
    found: list[dict[str, Any]] = []
    for choice in logical.choices:
        item = hub.current.snapshot.item("tool", chosen(logical, choice))
        found.append(
            {
                "tool": f"{choice.bound.alias}.{choice.bound.own}",
                "visible": reach.decide(item).verdict != "hidden",
                **_state(_live(hub, choice.server.key)),
                "weight": choice.bound.weight,
                "priority": choice.bound.priority,
                "order": None,
                "why": "",
                **_given(choice, arguments),
            }
        )
    if whose is None:
        whose = principal.tenant if logical.tool.sticky == "tenant" else principal.owner_key
    _ordered(hub, logical, found, whose)
    return found


def _ordered(hub: Routed, logical: Logical, found: list[dict[str, Any]], whose: str) -> None:
    """Note of each candidate when it would be asked, and why then."""
    tool = logical.tool
    key = owned(tool.tenant, tool.name)
    shown = [place for place, one in enumerate(found) if one["visible"]]
    promoted = hub.promotions.place(key, logical)
    first, why, weights = shown[0] if shown else 0, "it stands first", logical.weights
    groups = [[place for place in group if place in shown] for group in logical.groups]
    groups = [group for group in groups if group]
    turn, share = hub.turns.get(key, -1) + 1, 0.0
    leading = groups[0] if groups else []
    match tool.strategy:
        case "fanout":
            for place in shown:
                found[place].update(order=1, why="all are asked at once")
            return
        case "shadow":
            first = promoted if promoted in shown else first
            for place in shown:
                found[place].update(order=1 if place == first else None, why="it answers; the others get copies")
                if place != first:
                    found[place]["why"] = "it gets a copy, whose result is compared and thrown away"
            return
        case "balance":
            first = leading[whose_turn([weights[place] for place in leading], turn)] if leading else 0
            why = f"it is its turn: {turn + 1} calls so far, this one counted"
        case "split":
            if promoted is not None:
                weights = only(promoted, weights)
            share = share_of(key, whose)
            first = leading[whose_share([weights[place] for place in leading], share)] if leading else 0
            why = f"this caller's share, {share:.3f} of 1, falls to it"
            if promoted is not None:
                why = "an operator promoted it"
    places = list(order(groups, weights, lambda place: bool(found[place]["well"]), tool.strategy, turn, share))
    for number, place in enumerate(places, start=1):
        found[place]["order"] = number
    for place, one in enumerate(found):
        if not one["visible"]:
            one["why"] = "this caller may not use it"
        elif not one["well"]:
            one["why"] = f"its server is not well ({_unwell(one)}), so that the others go first"
        elif place == first:
            one["why"] = why
        elif one["priority"] > min(found[other]["priority"] for other in shown):
            one["why"] = f"it stands by, with priority {one['priority']}"
        else:
            one["why"] = "it stands in if those before it can't answer"


def _unwell(one: dict[str, Any]) -> str:
    open_s = [replica["open_s"] for replica in one["replicas"] if replica["circuit"] == "open"]
    return f"its breaker is open for {min(open_s):.0f} s more" if open_s else str(one["state"])


def _only(live: Upstream | None) -> str:
    if live is None or len(live.replicas) == 1:
        return "it is the only one"
    return f"its {len(live.replicas)} replicas get calls {_BALANCED[live.server.balance]}"


def _live(hub: Routed, key: str) -> Upstream | None:
    return next((one for one in hub.upstreams if one.server.key == key), None)


def _state(live: Upstream | None) -> dict[str, Any]:
    """How a server is: its state, its load, and the same of each replica with its breaker."""
    if live is None:
        return {"well": False, "state": "removed", "in_flight": 0, "replicas": []}
    now_s = live.clock.monotonic()
    replicas = []
    for replica in live.replicas:
        circuit = standing(replica.circuit, now_s)
        replicas.append(
            {
                "state": replica.state,
                "circuit": circuit,
                "failures": replica.circuit.failures,
                "open_s": round(max(0.0, replica.circuit.until_s - now_s), 1) if circuit == "open" else 0.0,
                "in_flight": replica.in_flight,
                "latency_ms": round(replica.latency.at(now_s) * 1000, 3),
            }
        )
    return {"well": live.is_well, "state": live.health().state, "in_flight": live.in_flight, "replicas": replicas}


def _given(choice: Choice, arguments: Raw | None) -> dict[str, Any]:
    """The arguments that a bound tool would get, where something is done to them."""
    if arguments is None or choice.bound.adapter is None:
        return {}
    try:
        made = adapted(read_once(arguments) or read_once(EMPTY_OBJECT) or {}, choice.bound.adapter)
    except CallError as error:
        return {"arguments": error.message}
    return {"arguments": bytes(made).decode()}
