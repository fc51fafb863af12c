"""One call to several servers at once: as many branches as a logical tool has tools, and one result of all.

Each branch is asked as if the caller had named its tool, under a record of its own: policy, limits, arguments and
intents hold for each. No branch can ask its caller anything or go on as a task. Source: hardening R10.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import structs

from ..catalog.logical import Choice, Logical
from ..catalog.view import TenantView, chosen
from ..model import meta
from ..model.call import NO_ABILITIES, Call, Failure, Reply, Result
from ..model.errors import BadReply, CallError, InvalidParams, TimedOut
from ..model.logical import Fanout
from ..observe.record import Record
from ..routing.merge import merged
from .ask import ask
from .resolve import Target, tool_target

if TYPE_CHECKING:
    from .call import Gateway

_SHOWN_CHARS = 256


class _Branch:
    """One server's part: its record, and how it ended."""

    def __init__(self, choice: Choice, record: Record) -> None:
        self.choice = choice
        self.record = record
        self.reply: Reply | None = None
        self.error: CallError | None = None
        self.ended_s: float | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it has a result that its tool does not call an error."""
        return isinstance(self.reply, Result) and not self.reply.failed

    def close(self, now_s: float) -> None:
        """Have its record say how it ended."""
        self.record.duration_s = (now_s if self.ended_s is None else self.ended_s) - self.record.started_s
        if self.error is not None:
            self.record.failed(self.error)
        elif self.reply is not None:
            self.record.replied(self.reply)
        else:
            self.record.cancelled()

    def told(self, now_s: float) -> dict[str, Any]:
        """How it ended, for the caller."""
        outcome = "ok" if self.succeeded else "cancelled" if self.ended_s is None else "error"
        told: dict[str, Any] = {"server": self.choice.server.alias, "tool": self.choice.bound.own, "outcome": outcome}
        told["ms"] = int(((now_s if self.ended_s is None else self.ended_s) - self.record.started_s) * 1000)
        if self.error is not None:
            told |= {"code": self.error.code, "message": self.error.message[:_SHOWN_CHARS]}
        elif isinstance(self.reply, Failure):
            told |= {"code": self.reply.code, "message": self.reply.message[:_SHOWN_CHARS]}
        elif isinstance(self.reply, Result) and self.reply.failed:
            told["outcome"] = "tool_error"
        return told


async def all_of(gateway: "Gateway", view: TenantView, target: Target, call: Call, record: Record) -> Reply:
    """The merged result of the branches that succeeded, each told of in its `_meta`.

    Errors: InvalidParams, for a call that goes on after a question; BadReply or the only branch's own, if not enough
    branches succeeded.
    """
    logical = target.binding.logical
    assert logical is not None
    if call.state is not None:
        raise InvalidParams("A tool that asks several servers at once asks its caller nothing; leave out the state")
    call = structs.replace(call, profile=NO_ABILITIES)
    clock, fanout = gateway.deadlines, logical.tool.fanout
    branches = [_Branch(choice, record.branch(call, clock.now())) for choice in logical.choices]
    running = [
        asyncio.create_task(_ask(gateway, view, logical, one, call))  # noqa: TID251 - all end below
        for one in branches
    ]
    try:
        waiting = set(running)
        while waiting and _is_open(branches, fanout):
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        record.attempts = sum(branch.record.attempts for branch in branches)
        record.server = ",".join(sorted({branch.choice.server.key for branch in branches if branch.record.attempts}))
        record.tool = logical.tool.name
        record.branches = [branch.record for branch in branches]
        for branch in branches:
            branch.close(clock.now())
            record.intent = branch.record.intent or record.intent
            record.intents += branch.record.intents
            record.rule = record.rule or branch.record.rule
            for notice in branch.record.notices or ():
                record.notice(notice)
            for act in branch.record.guards or ():
                record.guarded(act.guard, act.did, act.where, act.found)
            if branch.record.lease is not None:
                branch.record.lease.leave()
    return _answer(branches, fanout, clock.now())


def _is_open(branches: list[_Branch], fanout: Fanout) -> bool:
    """Whether what is still out can change the answer."""
    succeeded = sum(branch.succeeded for branch in branches)
    failed = sum(branch.ended_s is not None for branch in branches) - succeeded
    if fanout.enough is None:
        return fanout.fail == "open" or not failed
    return succeeded < fanout.enough and len(branches) - failed >= fanout.enough


def _answer(branches: list[_Branch], fanout: Fanout, now_s: float) -> Reply:
    good = [(one.choice.server.alias, one.reply) for one in branches if isinstance(one.reply, Result) and one.succeeded]
    needed = fanout.enough or (len(branches) if fanout.fail == "closed" else 1)
    about = {meta.BRANCHES: [branch.told(now_s) for branch in branches]}
    if len(good) >= needed:
        return merged(good, fanout.merge, about)
    failed = [branch for branch in branches if branch.ended_s is not None and not branch.succeeded]
    errors = [branch.error for branch in branches if branch.error is not None]
    if len(errors) == len(branches) and (len(errors) == 1 or all(error.outcome == "not_sent" for error in errors)):
        raise errors[0]  # what is in the way says it best, and when to come back
    if len(branches) == 1 and branches[0].reply is not None:
        return branches[0].reply
    told = ", ".join(branch.choice.server.alias for branch in failed)
    raise BadReply(
        f"{needed} of {len(branches)} servers have to answer, and these failed: {told}",
        outcome="failed",
        data={"branches": about[meta.BRANCHES]},
    )


async def _ask(gateway: "Gateway", view: TenantView, logical: Logical, branch: _Branch, call: Call) -> None:
    choice, branch_s = branch.choice, logical.tool.fanout.branch_s
    if branch_s is None:
        branch_s = branch.choice.server.timeout_s
    try:
        async with asyncio.timeout(branch_s):
            target = tool_target(view, call, chosen(logical, choice))
            branch.reply = await ask(gateway, target, call, None, branch.record)
    except TimeoutError:
        branch.error = TimedOut(f"The server {choice.server.alias!r} did not answer within {branch_s:g} s")
    except CallError as error:
        branch.error = error
    branch.ended_s = gateway.deadlines.now()
