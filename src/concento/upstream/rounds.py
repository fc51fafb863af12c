"""One request to a legacy server that may ask back while it runs, and the rounds in which its callers wait for it.

A caller does not stay while it is asked. So a round ends with the server's questions; the request goes on at its
server, parked, and the next round, begun by whoever brings the answers, waits for the reply or for more questions.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from ..model import meta
from ..model.call import INPUT_REQUIRED, Answer, Failure, Notify, Reply, Request, Result
from ..model.errors import BadReply, CallError, Overloaded
from ..model.limits import QUESTIONS_MAX
from ..model.principal import Owner
from ..protocol.capabilities import needed_ability
from ..protocol.jsonrpc import Push, encode_error, encode_result, raw, read_object
from .link import Ear
from .parking import Parking, no_longer_awaited

_NOT_SUPPORTED: Final = -32601


class Rounds:
    """A request from sending it to its reply. Who carries it says how to `say` something to the server and how to
    `withdraw` the request."""

    __slots__ = ("_asked", "_early", "_loop", "_over", "_parking", "_questions", "ear", "owner", "profile", "turn")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, request: Request, notify: Notify | None, parking: Parking
    ) -> None:
        self.ear = Ear(request, notify)
        self.owner: Owner = request.owner.owner
        self.profile = request.profile
        self.turn: asyncio.Future[Reply | None] = loop.create_future()
        """What the present round waits for; None stands for questions."""
        self._loop = loop
        self._parking = parking
        self._over = False
        self._early: Reply | CallError | None = None
        self._questions: dict[str, Push] | None = None
        self._asked = 0

    def say(self, message: bytes) -> None:
        """Write a message to the server."""
        raise NotImplementedError

    def withdraw(self) -> None:
        """End the request at its server: nobody waits for it any more."""
        raise NotImplementedError

    # -- what comes from the server

    def settle(self, reply: Reply | CallError) -> bool:
        """The reply came, or what ended the request instead; False if it was over already."""
        if self._over:
            return False
        self._over = True
        if self.turn.done():
            self._early = reply  # it came while the caller was gathering answers
        else:
            _resolve(self.turn, reply)
        return True

    def ask(self, question: Push) -> None:
        """The server asks something. What this caller did not offer is refused, and ends the request."""
        asked = {} if self._questions is None else self._questions
        ability = needed_ability(question.method, question.params)
        if ability not in self.profile.abilities or len(asked) >= QUESTIONS_MAX:
            error = refused_ask(ability or question.method)
            self.say(encode_error(bytes(raw(question.id)), _NOT_SUPPORTED, error.message))
            self.settle(error)
            self.withdraw()
            return
        self._asked += 1
        asked[f"{question.method.partition('/')[0]}-{self._asked}"] = question
        self._questions = asked
        if not self.turn.done():
            self.turn.set_result(None)

    # -- what comes from the caller

    async def next(self) -> Reply:
        """Wait for the reply, or for questions: then the request is parked. Cancelling ends it at the server."""
        try:
            reply = await self.turn
        except asyncio.CancelledError:
            if not self._over:  # else the reply came in the same moment
                self.give_up()
            raise
        return self._park() if reply is None else reply

    async def resume(self, request: Request, notify: Notify | None) -> Reply:
        """Bring answers, and wait for the reply or for more questions; what was not answered is asked again."""
        return without_task(with_pages(await self._go_on(request, notify), request))

    async def _go_on(self, request: Request, notify: Notify | None) -> Reply:
        self.ear = Ear(request, notify)
        self.turn = self._loop.create_future()
        questions = self._questions or {}
        for key, answer in (request.answers or {}).items():
            question = questions.pop(key, None)
            if question is not None:
                self.say(_answer(question, answer))
        if self._early is not None:
            _resolve(self.turn, self._early)
        elif questions:
            self.turn.set_result(None)
        return await self.next()

    def give_up(self) -> None:
        """End the request, and refuse what was asked on its behalf."""
        for question in (self._questions or {}).values():
            self.say(_answer(question, Failure(_NOT_SUPPORTED, "The caller gave no answer")))
        self._questions = None
        self.withdraw()

    def _park(self) -> Reply:
        try:
            token = self._parking.park(self)
        except Overloaded:
            self.give_up()
            raise
        self.ear = _DEAF  # whoever listened has had an answer
        questions = {key: _as_input(question) for key, question in (self._questions or {}).items()}
        asked = {"resultType": INPUT_REQUIRED, "inputRequests": questions, "requestState": token}
        return Result(raw(asked), INPUT_REQUIRED)


_DEAF: Final = Ear(Request("", {}, {}), None)


class Unclaimed:
    """Questions that don't say which call they are for, as on stdio or on a stream of no request's.

    Where several calls are under way, those that were not asked are answered, and who is left is who was asked. As many
    questions as calls leave nobody to wait for, and a call that was given up may be the one that was asked: then all
    are refused. It can't happen again: a server that asks so is given such calls one at a time from then on.
    """

    def __init__(self, askable: Callable[[], Sequence[Rounds]], refuse: Callable[[Push], None]) -> None:
        self.seen = False
        """Whether there ever was one."""
        self._askable = askable
        self._refuse = refuse
        self._questions: list[Push] = []

    def take(self, question: Push) -> bool:
        """Take a question; False if nobody can be asked it."""
        if needed_ability(question.method, question.params) is None or not self._askable():
            return False
        self.seen = True
        self._questions.append(question)
        self.assign()
        return True

    def refuse_all(self) -> None:
        """A call was given up, and nobody can say any more whose the open questions are."""
        questions, self._questions = self._questions, []
        for question in questions:
            self._refuse(question)

    def assign(self) -> None:
        """Give the open questions to the one call they can be for. To be called whenever a call was answered, too."""
        if not self._questions:
            return
        askable = self._askable()
        if len(askable) == 1:
            questions, self._questions = self._questions, []
            for question in questions:
                askable[0].ask(question)
        elif len(self._questions) >= len(askable):
            self.refuse_all()


# -- what needs no open request

_AFTER_PAGES: Final = "after-pages"
"""The state of a call that is made anew once its caller has opened the pages that the server wanted opened."""

_WANTS_PAGES: Final = -32042


class _Pages(msgspec.Struct):
    elicitations: list[dict[str, Raw]] = []


def check_state(request: Request) -> None:
    """Errors: InvalidParams, for a request that goes on with a call that is not parked any more."""
    if request.state not in (None, _AFTER_PAGES):
        raise no_longer_awaited()


def with_pages(reply: Reply, request: Request) -> Reply:
    """A reply in the shape of the stateless era: an error that names pages to open first becomes a request for input.

    Errors: BadReply, if this caller can't be asked to open a page.
    """
    if not isinstance(reply, Failure) or reply.code != _WANTS_PAGES:
        return reply
    if "elicitation.url" not in request.profile.abilities:
        raise refused_ask("elicitation.url")
    try:
        pages = msgspec.json.decode(reply.data or b"{}", type=_Pages).elicitations
    except msgspec.DecodeError:
        return reply
    questions = {
        f"elicitation-{number}": _as_input(Push(None, "elicitation/create", raw({**page, "mode": "url"})))
        for number, page in enumerate(pages, start=1)
    }
    asked = {"resultType": INPUT_REQUIRED, "inputRequests": questions, "requestState": _AFTER_PAGES}
    return Result(raw(asked), INPUT_REQUIRED) if questions else reply


def without_task(reply: Reply) -> Reply:
    """A reply without the id of the server's task that it belongs to."""
    if not isinstance(reply, Result) or meta.RELATED_TASK.encode() not in bytes(reply.raw):
        return reply
    members = read_object(reply.raw) or {}
    about = read_object(members.get("_meta", Raw(b"{}"))) or {}
    about.pop(meta.RELATED_TASK, None)
    return Result(raw({**members, "_meta": about}), reply.kind, reply.failed)


def refused_ask(what: str) -> BadReply:
    """How a call ends whose server asked for something its caller never offered."""
    return BadReply(f"The server asked for {what!r}, which the caller did not declare", outcome="failed")


def _resolve(turn: "asyncio.Future[Reply | None]", reply: Reply | CallError) -> None:
    if isinstance(reply, CallError):
        turn.set_exception(reply)
    else:
        turn.set_result(reply)


def _as_input(question: Push) -> dict[str, Any]:
    """A server's request as the stateless era puts it. What belongs to the session era alone is left out."""
    params = read_object(question.params) or {}
    params.pop("elicitationId", None)  # the retry itself says when the page was done with
    params.pop("task", None)
    kept = read_object(params.pop("_meta", Raw(b"{}"))) or {}
    for name in (meta.PROGRESS_TOKEN, meta.RELATED_TASK):
        kept.pop(name, None)
    return {"method": question.method, "params": {**params, **({"_meta": kept} if kept else {})}}


def _answer(question: Push, answer: Answer) -> bytes:
    raw_id = bytes(raw(question.id))
    if isinstance(answer, Failure):
        return encode_error(raw_id, answer.code, answer.message, answer.data)
    return encode_result(raw_id, answer)
