"""The guards that hold for one call, and what they do to it, in the order of the data path.

Before a server is asked: the user confirms, arguments are searched, webhooks agree. Afterwards: the result is measured,
searched, and webhooks agree. What a guard changed is judged by the policy and the tool's schema again. Whatever a guard
can't read or can't ask about does not pass. Source: hardening T34; docs/guards.md.
"""

import asyncio
import random
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET, Raw, structs

from ..catalog.clean import clean_text
from ..model.call import INPUT_REQUIRED, Call, Failure, Notify, Reply, Result
from ..model.errors import Forbidden, Unguarded, Withheld
from ..model.guards import Side, Webhook
from ..model.limits import REASON_CHARS_MAX
from ..observe.record import Record
from ..policy.guards import CompiledGuard
from ..policy.hints import may_destroy
from ..policy.item import Item
from ..policy.redaction import Unreadable
from ..policy.results import objection
from . import guard_content as content
from .admit import facts_of
from .inputs import state_of
from .own_questions import may_be_asked, question
from .resolve import Target, with_params
from .webhooks import NotAsked, Verdict

if TYPE_CHECKING:
    from .call import Gateway

_CONFIRMED: Final = "confirm"
"""What a user has answered who agreed to a call."""
_RAN: Final = {"tool": "The tool ran", "prompt": "The server answered", "resource": "The server answered"}
AT_ONCE_BYTES: Final = 64 * 1024
"""What is searched without leaving the event loop."""
_NOTHING: Final[Mapping[str, int]] = {}


def guarding(gateway: "Gateway", target: Target, call: Call, record: Record) -> "Guarded | None":
    """The guards that hold for a call; None if there is none. Errors: CallError, if what they look at can't be read."""
    snapshot = gateway.current.snapshot
    guards = snapshot.guards.get(call.principal.tenant)
    if guards is None or not guards.reaches(target.alias):
        return None
    item = snapshot.item(target.kind, target.binding)
    if not guards.about(item):
        return None
    held = guards.holding(item, facts_of(target, call, record))
    return Guarded(gateway, held, item, target, call, record) if held else None


class Guarded:
    """One call, and the guards that hold for it, in the order in which they are written."""

    def __init__(
        self,
        gateway: "Gateway",
        held: tuple[CompiledGuard, ...],
        item: Item,
        target: Target,
        call: Call,
        record: Record,
    ) -> None:
        self._gateway = gateway
        self._held = held
        self._item = item
        self._target = target
        self._call = call
        self._record = record

    # -- before a server is asked

    async def before(self, answered: Iterable[str]) -> Target | Result:
        """What the server is asked; or what is answered in its place: a question to the user, or what is wrong with
        arguments that were changed.

        Errors: Forbidden; Unguarded.
        """
        asked = self._unconfirmed(tuple(answered))
        if asked is not None:
            return asked
        target = await self._agreed(await self._searched(self._target))
        if target is self._target:
            return target
        return self._gateway.gate.judge_again(target, self._call, self._record) or target

    def _unconfirmed(self, answered: tuple[str, ...]) -> Result | None:
        """The question to the user whether the call is meant; None if none is to be asked, or it was answered."""
        call, target = self._call, self._target
        guard = next(filter(self._asks_user, self._held), None)
        # A state that is here is the server's own: it was asked, so that the user has agreed.
        if guard is None or call.method != "tools/call" or call.state is not None:
            return None
        if _CONFIRMED in answered:
            self._record.guarded(guard.name, "confirmed")
            return None
        tool = f"{clean_text(target.binding.own)[:128]!r} of {target.alias!r}"
        if not may_be_asked(call):
            told = (
                f"The guard {guard.name!r} wants the user's word before {tool} is called, and this client did not say"
            )
            raise self._refused(guard, Forbidden(f"{told} that it can ask (elicitation); use one that can"), "call")
        self._record.guarded(guard.name, "asked")
        message = f"Call {tool}, which may change or delete something? It gets "
        message += content.shown(target.request.params.get("arguments"))
        return question(call, target.alias, _CONFIRMED, message, answered, self._gateway.seal, self._gateway.wall())

    def _asks_user(self, guard: CompiledGuard) -> bool:
        if guard.guard.confirm == "destructive":
            return may_destroy(self._item.annotations)
        return guard.guard.confirm == "always"

    async def _searched(self, target: Target) -> Target:
        """The same without what guards take out of arguments, and of answers to questions."""
        for guard in self._searching("arguments"):
            request = target.request
            params = dict(request.params)
            for name, value in request.params.items():
                if name in content.SENT and isinstance(value, Raw):
                    params[name] = await self._taken_out(guard, value, "arguments")
            if content.changed(request.params, params):
                target = with_params(target, params)
            answers = dict(request.answers or {})
            for key, answer in (request.answers or {}).items():
                if not isinstance(answer, Failure):
                    answers[key] = await self._taken_out(guard, answer, "arguments")
            if request.answers and content.changed(request.answers, answers):
                target = structs.replace(target, request=structs.replace(target.request, answers=answers))
        return target

    async def _agreed(self, target: Target) -> Target:
        """The same, as webhooks let it pass."""
        for guard, webhook in self._webhooks():
            said = content.sent(target.request)
            if not webhook.before or (not said and self._call.method in content.ABOUT_TASKS):
                continue
            verdict = await self._verdict(guard, webhook, "before", said)
            if verdict is None or verdict.action == "allow":
                continue
            if verdict.action == "deny":
                told = f"The guard {guard.name!r} does not allow this call: {_reason(verdict)}"
                raise self._refused(guard, Forbidden(told), "arguments")
            if "arguments" not in said or verdict.arguments is UNSET:
                raise self._unasked(guard, "it answered with arguments, and there are none to replace", "before")
            target = with_params(target, {**target.request.params, "arguments": verdict.arguments})
            self._did(guard, "replaced", "arguments")
        return target

    # -- what comes from the server

    def hearing(self, notify: Notify | None) -> Notify | None:
        """Takes what the server says meanwhile, and hands on what may pass.

        A message can't wait for a webhook: where one judges results, progress goes on without a text, and no other
        message does.
        """
        searching = tuple(self._searching("result"))
        is_mute = any(webhook.after for _, webhook in self._webhooks())
        if notify is None or not (searching or is_mute):
            return notify
        hand_on = notify

        def heard(method: str, params: Raw) -> None:
            passed: Raw | None = params
            if method:
                try:
                    for guard in searching:
                        params = self._taken_out_now(guard, params, "messages")
                    passed = content.without_text(method, params) if is_mute else params
                except Forbidden:
                    passed = content.without_text(method, params)
            if passed is not None:
                hand_on(method, passed)

        return heard

    async def after(self, reply: Reply) -> Reply:
        """The reply as it may pass. Errors: Withheld."""
        try:
            self._measure(reply)
            kept = reply
            for guard in self._searching("result"):
                kept = await self._reply_searched(guard, kept)
            for guard, webhook in self._webhooks():
                if webhook.after:
                    kept = await self._reply_agreed(guard, webhook, kept)
            return kept
        except Withheld:
            if isinstance(reply, Result) and reply.kind == INPUT_REQUIRED:
                state, parking = state_of(reply), self._gateway.upstreams.parking
                if state is not None and state in parking:
                    parking.abandon(state)  # nobody will answer a question that nobody is told
            raise

    def _measure(self, reply: Reply) -> None:
        """Errors: Withheld, for a result that is larger than it may be, or of another type."""
        found = content.measured(reply, self._call.method)
        for guard in self._held:
            if guard.guard.result is not None and found is not None:
                wrong = objection(guard.guard.result, found[1], found[0])
                if wrong is not None:
                    raise self._withheld(guard, wrong)

    async def _reply_searched(self, guard: CompiledGuard, reply: Reply) -> Reply:
        if isinstance(reply, Result):
            kept = await self._taken_out(guard, reply.raw, "result")
            return reply if kept is reply.raw else structs.replace(reply, raw=kept)
        assert guard.search is not None
        message, found = guard.search.text(reply.message)
        self._found(guard, found, "result")
        data = None if reply.data is None else await self._taken_out(guard, reply.data, "result")
        return Failure(reply.code, message if self._takes_out(guard) else reply.message, data)

    async def _reply_agreed(self, guard: CompiledGuard, webhook: Webhook, reply: Reply) -> Reply:
        """The reply as a webhook lets it pass: it sees all of it that its server has written."""
        said = content.answered(reply, self._call.method)
        if not content.is_whole(reply, self._call.method):
            reply = content.without_status(reply)
        verdict = None if said is None else await self._verdict(guard, webhook, "after", said)
        if verdict is None or verdict.action == "allow":
            return reply
        if verdict.action == "deny":
            raise self._withheld(guard, f"must not leave: {_reason(verdict)}")
        if verdict.result is UNSET or not content.is_whole(reply, self._call.method):
            raise self._unasked(guard, "it answered with a result in place of what is none", "after")
        self._did(guard, "replaced", "result")
        return content.replaced(reply, verdict.result)

    # -- what both have in common

    def _searching(self, side: Side) -> Iterable[CompiledGuard]:
        return (one for one in self._held if one.guard.redaction is not None and side in one.guard.redaction.on)

    def _webhooks(self) -> Iterable[tuple[CompiledGuard, Webhook]]:
        return ((one, one.guard.webhook) for one in self._held if one.guard.webhook is not None)

    @staticmethod
    def _takes_out(guard: CompiledGuard) -> bool:
        return guard.guard.redaction is not None and guard.guard.redaction.action == "redact"

    async def _taken_out(self, guard: CompiledGuard, value: Raw, where: str) -> Raw:
        """JSON without what a guard finds in it, if that is what it is for. Errors: Forbidden, Withheld."""
        if memoryview(value).nbytes <= AT_ONCE_BYTES:
            return self._taken_out_now(guard, value, where)
        return await asyncio.to_thread(self._taken_out_now, guard, value, where)

    def _taken_out_now(self, guard: CompiledGuard, value: Raw, where: str) -> Raw:
        assert guard.search is not None
        try:
            kept, found = guard.search.redacted(value, is_result=where == "result")
        except Unreadable as error:
            raise self._over(guard, f"can't be searched: {error}", where) from None
        self._found(guard, found, where)
        return kept if self._takes_out(guard) else value

    def _found(self, guard: CompiledGuard, found: Mapping[str, int], where: str) -> None:
        """Note what was found. Errors: Forbidden, Withheld, if that ends the call."""
        if found and guard.guard.redaction is not None:
            if guard.guard.redaction.action == "refuse":
                raise self._over(guard, f"has what may not pass: {', '.join(sorted(found))}", where, found)
            self._did(guard, "redacted" if self._takes_out(guard) else "noted", where, found)

    def _over(self, guard: CompiledGuard, why: str, where: str, found: Mapping[str, int] = _NOTHING) -> Forbidden:
        if where == "result":
            return self._withheld(guard, why, found)
        told = f"The guard {guard.name!r} does not let this call pass, and nothing was sent: what it says {why}"
        return self._refused(guard, Forbidden(told), where, found)

    def _did(self, guard: CompiledGuard, did: Any, where: str, found: Mapping[str, int] = _NOTHING) -> None:
        self._record.guarded(guard.name, did, where, found)
        if where != "messages":
            names = f": {', '.join(sorted(found))}" if found else ""
            verb = "found something in" if did == "noted" else did
            told = f"The guard {guard.name!r} {verb} the {where}{names}"
            if told not in (self._record.notices or ()):
                self._record.notice(told)

    async def _verdict(
        self, guard: CompiledGuard, webhook: Webhook, phase: str, said: Mapping[str, Any]
    ) -> Verdict | None:
        """What a webhook says; None if it can't be asked, and the call is to pass then. Errors: Unguarded, Withheld."""
        principal, binding = self._call.principal, self._target.binding
        about = {
            "id": f"{random.getrandbits(128):032x}",
            "trace": self._record.trace_id,
            "phase": phase,
            "guard": guard.name,
            "method": self._call.method,
            "kind": self._target.kind,
            "server": binding.alias,
            "name": binding.own,
            "principal": {"subject": principal.subject, "agent": principal.agent, "tenant": principal.tenant},
        }
        try:
            return await self._gateway.webhooks.ask(webhook, {**about, **said})
        except NotAsked as error:
            if webhook.on_failure == "refuse":
                raise self._unasked(guard, str(error), phase) from None
            self._record.guarded(guard.name, "failed", phase)
            return None

    # -- how a call ends

    def _unasked(self, guard: CompiledGuard, why: str, phase: str) -> Forbidden:
        self._record.guarded(guard.name, "failed", phase)
        if phase == "after":
            return self._withheld(guard, f"could not be judged ({why})")
        told = f"The guard {guard.name!r} could not be asked ({why}), so that nothing was sent"
        return self._refused(guard, Unguarded(told, retry_after_s=1.0), "arguments")

    def _withheld(self, guard: CompiledGuard, why: str, found: Mapping[str, int] = _NOTHING) -> Forbidden:
        ran = _RAN[self._target.kind]
        error = Withheld(f"{ran}, but the guard {guard.name!r} keeps back its result: it {why}")
        self._record.guarded(guard.name, "withheld", "result", found)
        error.rule = guard.name
        return error

    def _refused(
        self, guard: CompiledGuard, error: Forbidden, where: str, found: Mapping[str, int] = _NOTHING
    ) -> Forbidden:
        self._record.guarded(guard.name, "refused", where, found)
        error.rule = guard.name
        return error


def _reason(verdict: Verdict) -> str:
    """What a webhook gives as its reason, fit to be told."""
    text = "".join(one if one.isprintable() else " " for one in clean_text(verdict.reason))
    return text[:REASON_CHARS_MAX] or "it gives no reason"
