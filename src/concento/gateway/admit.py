"""What stands between a resolved call and its server: policy, limits, the tool's own schema, and the audit record.

One decision point for all methods. It looks at values and never waits; only a strict audit record has to be awaited.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec import Raw

from ..catalog.view import Binding
from ..model import meta
from ..model.call import Call, Result
from ..model.config import Validate
from ..model.errors import Overloaded
from ..model.limits import HOPS_MAX
from ..observe.record import Record
from ..policy.arguments import Validators
from ..policy.budgets import Budgets
from ..policy.decide import Facts
from ..policy.limits import Limits
from ..protocol.hops import hops
from ..snapshot import Current
from .resolve import Target

_encode = msgspec.json.Encoder().encode
_NO_ARGUMENTS: Final = Raw(b"{}")

Intent = Callable[[Record], Awaitable[None] | None]
"""Has it on disk that a call will be made; None where nobody has to wait for that."""


class Gate:
    """What every call passes once it is known what it is about."""

    def __init__(self, current: Current, limits: Limits, intent: Intent, budgets: Budgets | None = None) -> None:
        self.intent = intent
        self._budgets = budgets
        self._current = current
        self._limits = limits
        self._validators = Validators()

    def enter(self, call: Call, record: Record, cost: int = 1) -> None:
        """Count a call that is about no server against its caller's limits. Errors: RateLimited."""
        if record.lease is not None:
            record.lease.leave()
        record.lease = lease = self._limits.enter(call.principal, None, None, cost)
        if lease.told is not None:
            record.notice(lease.told)

    def admit(self, target: Target, call: Call, record: Record) -> Result | None:
        """Let a call pass, or say why not: None, or the result that says what is wrong with a tool's arguments.

        Errors: Forbidden, NeedsScope, RateLimited, OverBudget.
        """
        binding, snapshot = target.binding, self._current.snapshot
        record.server, record.tool = binding.server.key, target.label
        reach = snapshot.reach(call.principal)
        is_ruled = not reach.open and bool(binding.own)
        mode = binding.server.validate or snapshot.config.validate
        is_checked = mode != "off" and binding.entry is not None and call.method == "tools/call"
        facts = facts_of(target, call, record) if is_ruled or is_checked else None
        if facts is not None and is_ruled:
            record.rule = reach.admit(snapshot.item(target.kind, binding), facts).rule
        if self._budgets is not None and self._budgets.is_on and call.method == "tools/call":
            told = self._budgets.check(call.principal, binding.server.key, binding.own)
            if told is not None:
                record.notice(told)
        if record.lease is not None:
            record.lease.leave()  # of a server that was asked before, and did not answer
        record.lease = lease = self._limits.enter(call.principal, binding.server.key, binding.own or None)
        if lease.told is not None:
            record.notice(lease.told)
        return self._objection(binding, facts, mode, record) if facts is not None and is_checked else None

    def check(self, target: Target, call: Call, record: Record) -> None:
        """What the policy alone says of a call that is answered from what is kept. Errors: Forbidden, NeedsScope."""
        snapshot = self._current.snapshot
        reach = snapshot.reach(call.principal)
        if not reach.open and target.binding.own:
            item = snapshot.item(target.kind, target.binding)
            record.rule = reach.admit(item, facts_of(target, call, record)).rule

    def judge_again(self, target: Target, call: Call, record: Record) -> Result | None:
        """What policy and schema say of arguments that were changed on the way; nothing is counted twice.

        Errors: Forbidden, NeedsScope.
        """
        self.check(target, call, record)
        mode = target.binding.server.validate or self._current.snapshot.config.validate
        if mode == "off" or target.binding.entry is None or call.method != "tools/call":
            return None
        return self._objection(target.binding, facts_of(target, call, record), mode, record)

    def _objection(self, binding: Binding, facts: Facts, mode: Validate, record: Record) -> Result | None:
        assert binding.entry is not None
        problem = self._validators.problem(binding.entry.own_raw, facts)
        if problem is None:
            return None
        if mode == "warn":
            record.notice(problem)
            return None
        record.decision = "invalid"
        content = [{"type": "text", "text": problem}]
        return Result(Raw(_encode({"content": content, "isError": True})), failed=True)

    def note_hidden(self, call: Call, record: Record) -> None:
        """Tell the record, and it alone, whether what was not found is there for others."""
        found = self._current.snapshot.hidden(call)
        record.decision = "unknown" if found is None else "hidden"
        record.rule = found


def facts_of(target: Target, call: Call, record: Record) -> Facts:
    """What a call brings, read once for all who look at it: its arguments as its server will get them."""
    arguments = target.request.params.get("arguments")
    raw_arguments = arguments if isinstance(arguments, Raw) else None
    return Facts(raw_arguments, record.wall_s, call.address or None, call.meta, call.principal)


def check_hops(call: Call) -> None:
    """Errors: Overloaded, for a call that goes in a circle."""
    if hops(call.meta[meta.HOPS]) > HOPS_MAX:
        raise Overloaded(f"The call has been through {HOPS_MAX} hubs already; do they call each other in a circle?")
