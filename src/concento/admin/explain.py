"""Whether somebody sees a tool and may call it: by which rule, under which limits and guards. Nothing is called.

It asks the very policy, limits and guards that calls are put to, so that it can't say anything else.
"""

import json
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..catalog.view import Binding, chosen
from ..front.identity.keys import KeyRecord
from ..gateway.planned import candidates_of
from ..model.call import ALL
from ..model.errors import CallError
from ..model.principal import Principal
from ..model.tenant import DEFAULT_TENANT
from ..policy.decide import Facts, Item
from .describe import Hub

ARGUMENTS_CHARS_MAX = 65_536


class Unanswerable(Exception):
    """A question that has no answer; the message says why."""


class Question(Struct, frozen=True):
    """Who would call what, and how."""

    tool: str
    subject: str
    agent: str | None = None
    tenant: str = DEFAULT_TENANT
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    arguments: str | None = None
    """JSON."""
    address: str | None = None

    def parameters(self) -> list[tuple[str, str]]:
        """As the query of a URL."""
        single = [("tool", self.tool), ("subject", self.subject), ("agent", self.agent), ("tenant", self.tenant)]
        single += [("args", self.arguments), ("address", self.address)]
        several = [*(("role", role) for role in self.roles), *(("scope", scope) for scope in self.scopes)]
        return [(name, value) for name, value in single if value is not None] + several


def answer(hub: Hub, question: Question, *, within: bool = False) -> dict[str, Any]:
    """`{principal, known_by, tool, visible, callable, reason, rules, strategy, promoted, candidates, limits,
    guards}`.

    `candidates`: the servers' tools that would answer, with how their servers are, when each would be asked now, why,
    and with which arguments. `within`: say nothing of what the tenant's catalog has not. Errors: Unanswerable.
    """
    snapshot = hub.current.snapshot
    if not snapshot.knows(question.tenant):
        known = [DEFAULT_TENANT, *snapshot.config.tenants]
        raise Unanswerable(f"there is no tenant {question.tenant!r}; known: {', '.join(known)}")
    principal, known_by = _principal(hub, question)
    binding, seen = _binding(hub, question.tool, principal, within)
    reach = snapshot.reach(principal)
    arguments = _arguments(question.arguments)
    candidates = candidates_of(hub, binding, reach, principal, arguments)
    if (logical := binding.logical) is not None:  # what holds for the first that they may use holds for the tool
        place = next((place for place, one in enumerate(candidates) if one["visible"]), 0)
        binding = chosen(logical, logical.choices[place])
    item = snapshot.item("tool", binding)
    facts = Facts(arguments, hub.wall(), question.address, {}, principal)
    decision = reach.decide(item)
    visible, callable, reason = seen and decision.verdict != "hidden", False, f"hidden by {decision.rule}"
    if not seen and decision.verdict != "hidden":
        reason = "its server is not theirs, nor shared with their tenant"
    elif visible:
        try:
            reason = f"allowed by {reach.admit(item, facts).rule}" if not reach.open else "nothing restricts it"
            callable = True
        except CallError as error:
            reason = error.message
    return {
        "principal": {
            "subject": principal.subject,
            "agent": principal.agent,
            "tenant": principal.tenant,
            "roles": sorted(snapshot.roles_of(principal)),
            "scopes": sorted(principal.scopes),
        },
        "known_by": known_by,
        "tool": f"{binding.alias}.{binding.own}" if logical is None else logical.tool.name,
        "visible": visible,
        "callable": callable,
        "reason": reason,
        "rules": [] if reach.open else reach.explain(item, facts),
        "strategy": None if logical is None else logical.tool.strategy,
        "candidates": candidates,
        "limits": hub.limits.describe(principal, binding.server.key, binding.own),
        "guards": _guards(hub, item, facts),
    }


def _guards(hub: Hub, item: Item, facts: Facts) -> list[str]:
    """What guards do to such a call, a line each."""
    guards = hub.current.snapshot.guards.get(facts.principal.tenant)
    try:
        return [] if guards is None else guards.told(item, facts)
    except CallError as error:
        return [f"the call is refused: {error.message}"]


def _principal(hub: Hub, question: Question) -> tuple[Principal, str]:
    """Who that is: with the roles and scopes that were named, else with those of their newest key."""
    roles, scopes, known_by = frozenset(question.roles), frozenset(question.scopes), ""
    key = _key(hub, question) if not roles and not scopes else None
    if key is not None:
        roles, scopes, known_by = frozenset(key.roles), frozenset(key.scopes), f"as the holder of the API key {key.id}"
    return Principal(question.subject, question.agent, question.tenant, "key", roles, scopes), known_by


def _key(hub: Hub, question: Question) -> KeyRecord | None:
    now_s = hub.wall()
    held = [
        key
        for key in hub.keys.records
        if (key.subject, key.tenant) == (question.subject, question.tenant)
        and key.problem(now_s) is None
        and (question.agent is None or key.agent == question.agent)
    ]
    return held[-1] if held else None


def _binding(hub: Hub, name: str, principal: Principal, within: bool) -> tuple[Binding, bool]:
    """The tool of a public name, or of `server.tool`, and whether the tenant's catalog has it. Errors: Unanswerable."""
    whole = hub.current.snapshot.whole(ALL, principal.tenant)
    binding = whole.tool(name) or whole.tool_of(*name.partition(".")[::2])
    if binding is not None:
        return binding, True
    for slice in () if within else hub.current.snapshot.slices.values():
        for entry in slice.tools:
            if name in (entry.public, f"{entry.alias}.{entry.own}"):
                return Binding(slice.server, entry.own, entry), False
    if name in whole.meta_tools:
        raise Unanswerable(f"{name!r} is the hub's own: whoever is let in may call it; ask about what it calls")
    nearest = whole.nearest("tools", name)
    hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
    raise Unanswerable(f"there is no tool {name[:128]!r}{hint}")


def _arguments(text: str | None) -> Raw | None:
    if text is None:
        return None
    if len(text) > ARGUMENTS_CHARS_MAX:
        raise Unanswerable(f"the arguments have more than {ARGUMENTS_CHARS_MAX} characters")
    try:
        if not isinstance(json.loads(text), dict):
            raise Unanswerable("the arguments must be a JSON object")
    except (ValueError, RecursionError) as error:
        raise Unanswerable(f"the arguments are not JSON: {error}") from None
    return msgspec.json.Decoder(Raw).decode(text)
