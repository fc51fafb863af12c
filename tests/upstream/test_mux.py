"""Many requests over one stream, as a dialogue: what the hub says, what a server answers, who hears it.

Source: hardening R4, R14, R33, R34; protocol, stdio.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from msgspec import Raw

from concento.model.call import Failure, Profile, Reply, Request, Result
from concento.model.errors import BadReply, CallError, TimedOut, Unavailable
from concento.model.principal import Principal
from concento.protocol import legacy, modern
from concento.testing.waiting import until
from concento.upstream.mux import Mux, Writer
from concento.upstream.parking import Parking

LEGACY = legacy.Writer("2025-06-18")
MODERN = modern.Writer("2026-07-28", {"name": "hub", "version": "1"})


class Heard:
    """A `Listener` that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def changed(self, kind: str) -> None:
        self.said.append(kind)

    def updated(self, uri: str) -> None:
        self.said.append(uri)


class Dialogue:
    """A mux whose server is the test."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.sent: list[dict[str, Any]] = []
        self.mux = Mux(lambda text: self.sent.append(json.loads(text)), self.heard, Parking(lambda: 0.0))
        self.calls: list[asyncio.Task[Reply]] = []
        self.told: dict[str, list[tuple[str, Any]]] = {}

    async def call(
        self,
        name: str,
        *,
        token: object = None,
        level: str | None = None,
        writer: Writer = LEGACY,
        listen: asyncio.Event | None = None,
    ) -> "asyncio.Task[Reply]":
        """Begin a call; returns once its request was sent."""
        meta = {} if token is None else {"progressToken": Raw(json.dumps(token).encode())}
        told = self.told[name] = []

        def notify(method: str, params: Raw) -> None:
            told.append((method, json.loads(bytes(params))))

        request = Request("tools/call", {"name": name}, meta, name, level)
        before = len(self.sent)
        call = asyncio.ensure_future(  # noqa: TID251 - ended by the fixture
            self.mux.request(writer, request, notify, acknowledged=listen)
        )
        self.calls.append(call)
        await until(lambda: len(self.sent) > before or call.done(), "it was sent")
        return call

    def says(self, **message: Any) -> None:
        """The server writes a message."""
        self.mux.feed(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def progresses(self, token: object, progress: float = 1) -> None:
        self.says(method="notifications/progress", params={"progressToken": token, "progress": progress})

    def logs(self, data: str, level: str = "error") -> None:
        self.says(method="notifications/message", params={"level": level, "data": data})

    @property
    def last(self) -> dict[str, Any]:
        return self.sent[-1]


@pytest.fixture
async def dialogue() -> AsyncIterator[Dialogue]:
    dialogue = Dialogue()
    yield dialogue
    for call in dialogue.calls:
        call.cancel()
        with suppress(asyncio.CancelledError, CallError):
            await call
    assert not dialogue.mux._waiting


# ---- replies


async def test_replies_find_their_request_in_any_order(dialogue: Dialogue) -> None:
    calls = [await dialogue.call(name) for name in "abc"]
    ids = [sent["id"] for sent in dialogue.sent]
    assert len(set(ids)) == 3
    for id in reversed(ids):
        dialogue.says(id=id, result={"is": id})
    assert [await call for call in calls] == [Result(Raw(json.dumps({"is": id}).encode()), links=False) for id in ids]


async def test_an_error_is_a_reply_to_relay(dialogue: Dialogue) -> None:
    call = await dialogue.call("a")
    dialogue.says(id=dialogue.last["id"], error={"code": -32002, "message": "no", "data": {"uri": "x"}})
    assert await call == Failure(-32002, "no", Raw(b'{"uri": "x"}'))


@pytest.mark.parametrize("id", [0, -1, 999, "1", "", None, "a"])
async def test_a_reply_under_another_id_is_dropped_and_counted(dialogue: Dialogue, id: object) -> None:
    call = await dialogue.call("a")
    dialogue.says(id=id, result={})
    dialogue.says(id=id, error={"code": -1, "message": "no"})
    assert dialogue.mux.dropped == 2
    assert not call.done()


async def test_a_second_reply_is_dropped_and_counted(dialogue: Dialogue) -> None:
    call = await dialogue.call("a")
    other = await dialogue.call("b")
    id = dialogue.sent[0]["id"]
    dialogue.says(id=id, result={"n": 1})
    dialogue.says(id=id, result={"n": 2})
    assert await call == Result(Raw(b'{"n": 1}'), links=False)
    dialogue.says(id=id, result={"n": 3})
    assert dialogue.mux.dropped == 2
    assert not other.done()


@pytest.mark.parametrize(
    "text", [b"", b"<html>", b"{}", b"[]", b'{"id":1}', b'{"id":1,"result":[]}', b'{"id":1,"result":{"a":"\xff"}}']
)
async def test_what_is_no_message_is_dropped_and_counted(dialogue: Dialogue, text: bytes) -> None:
    await dialogue.call("a")
    dialogue.mux.feed(text)
    assert dialogue.mux.dropped == 1


# ---- cancellation


@pytest.mark.parametrize("writer", [LEGACY, MODERN], ids=["legacy", "modern"])
async def test_a_cancelled_call_is_cancelled_at_the_server_and_its_late_reply_dropped(
    dialogue: Dialogue, writer: Writer
) -> None:
    call = await dialogue.call("a", writer=writer, token="mine")
    other = await dialogue.call("b", writer=writer)
    id = dialogue.sent[0]["id"]
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert dialogue.last["method"] == "notifications/cancelled"
    assert dialogue.last["params"]["requestId"] == id
    assert "id" not in dialogue.last
    dialogue.progresses(id)
    dialogue.says(id=id, result={})
    assert dialogue.mux.dropped == 1
    assert dialogue.told["a"] == []
    assert not other.done()


async def test_a_reply_that_came_first_leaves_nothing_to_cancel(dialogue: Dialogue) -> None:
    call = await dialogue.call("a")
    dialogue.says(id=dialogue.last["id"], result={})
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(dialogue.sent) == 1


async def test_nothing_is_cancelled_at_a_server_that_is_gone(dialogue: Dialogue) -> None:
    call = await dialogue.call("a")
    dialogue.mux.fail(Unavailable("gone"))
    with pytest.raises(BadReply):
        await call
    assert len(dialogue.sent) == 1


# ---- notifications of a call


@pytest.mark.parametrize("token", ["mine", 7, "1", ""])
async def test_progress_is_told_under_the_callers_own_token(dialogue: Dialogue, token: object) -> None:
    await dialogue.call("a", token=token)
    await dialogue.call("b", token=token)
    ids = [sent["id"] for sent in dialogue.sent]
    assert [sent["params"]["_meta"]["progressToken"] for sent in dialogue.sent] == ids
    for step in (1, 2):
        dialogue.progresses(ids[0], step)
    dialogue.progresses(ids[1], 9)
    told = [("notifications/progress", {"progressToken": token, "progress": step}) for step in (1, 2)]
    assert dialogue.told["a"] == told
    assert dialogue.told["b"] == [("notifications/progress", {"progressToken": token, "progress": 9})]


@pytest.mark.parametrize("token", ["mine", 0, -1, 99, "1", 1.0, True, None, [1], {"a": 1}, "9" * 100, 10**30])
async def test_progress_under_a_token_that_is_not_ours_reaches_nobody(dialogue: Dialogue, token: object) -> None:
    await dialogue.call("a", token="mine")
    dialogue.progresses(token)
    assert dialogue.told["a"] == []


async def test_progress_that_nobody_asked_for_reaches_nobody(dialogue: Dialogue) -> None:
    await dialogue.call("a")
    dialogue.progresses(dialogue.last["id"])
    assert dialogue.told["a"] == []


async def test_a_message_belongs_to_the_only_call(dialogue: Dialogue) -> None:
    call = await dialogue.call("a", level="warning")
    dialogue.logs("one")
    other = await dialogue.call("b", level="warning")
    dialogue.logs("whose?")
    dialogue.says(id=dialogue.sent[0]["id"], result={})
    await call
    dialogue.logs("two")
    assert [params["data"] for _, params in dialogue.told["a"]] == ["one"]
    assert [params["data"] for _, params in dialogue.told["b"]] == ["two"]
    assert not other.done()


async def test_an_open_listen_request_takes_no_messages(dialogue: Dialogue) -> None:
    await dialogue.call("listen", writer=MODERN, listen=asyncio.Event(), level="debug")
    await dialogue.call("a", writer=MODERN, level="debug")
    dialogue.logs("mine")
    assert dialogue.told["listen"] == []
    assert len(dialogue.told["a"]) == 1


@pytest.mark.parametrize(
    ("wanted", "level", "heard"),
    [
        (None, "emergency", False),
        ("warning", "warning", True),
        ("warning", "notice", False),
        ("debug", "debug", True),
        ("debug", "loud", False),
        ("emergency", "alert", False),
    ],
)
async def test_only_messages_of_the_wanted_level_are_handed_on(
    dialogue: Dialogue, wanted: str | None, level: str, heard: bool
) -> None:
    await dialogue.call("a", level=wanted)
    dialogue.logs("x", level)
    assert bool(dialogue.told["a"]) is heard


# ---- what belongs to no call


async def test_changes_are_told_to_the_listener(dialogue: Dialogue) -> None:
    await dialogue.call("a", token=1, level="debug")
    for kind in ("tools", "prompts", "resources"):
        dialogue.says(method=f"notifications/{kind}/list_changed")
    dialogue.says(method="notifications/resources/updated", params={"uri": "a://b"})
    for params in ({}, {"uri": 7}, {"uri": None}):
        dialogue.says(method="notifications/resources/updated", params=params)
    dialogue.says(method="notifications/unknown", params={})
    assert dialogue.heard.said == ["tools", "prompts", "resources", "a://b"]
    assert dialogue.told["a"] == []


async def test_an_acknowledged_subscription_is_known(dialogue: Dialogue) -> None:
    live, other = asyncio.Event(), asyncio.Event()
    await dialogue.call("listen", writer=MODERN, listen=live)
    await dialogue.call("listen too", writer=MODERN, listen=other)
    method = "notifications/subscriptions/acknowledged"
    for subscription in (None, "x", 99):
        meta = {"io.modelcontextprotocol/subscriptionId": subscription}
        dialogue.says(method=method, params={"notifications": {}, "_meta": meta})
    dialogue.says(method=method, params={"notifications": {}})
    assert not live.is_set()
    meta = {"io.modelcontextprotocol/subscriptionId": dialogue.sent[0]["id"]}
    dialogue.says(method=method, params={"notifications": {}, "_meta": meta})
    assert (live.is_set(), other.is_set()) == (True, False)


# ---- requests of the server


@pytest.mark.parametrize("id", [1, "a", 0, ""])
async def test_a_ping_is_answered(dialogue: Dialogue, id: object) -> None:
    dialogue.says(id=id, method="ping")
    assert dialogue.last == {"jsonrpc": "2.0", "id": id, "result": {}}


@pytest.mark.parametrize("method", ["sampling/createMessage", "elicitation/create", "roots/list"])
async def test_an_ask_is_refused_and_the_only_call_ends(dialogue: Dialogue, method: str) -> None:
    call = await dialogue.call("a")
    dialogue.says(id="s1", method=method, params={"messages": []})
    refusal, cancellation = dialogue.sent[-2:]
    assert (refusal["id"], refusal["error"]["code"]) == ("s1", -32601)
    assert cancellation["params"]["requestId"] == dialogue.sent[0]["id"]
    with pytest.raises(BadReply) as error:
        await call
    assert (error.value.code, error.value.outcome) == (-31006, "failed")
    assert method.partition("/")[0] in error.value.message
    assert dialogue.told["a"] == []


async def test_an_ask_ends_no_call_where_it_may_be_anothers(dialogue: Dialogue) -> None:
    calls = [await dialogue.call(name) for name in "ab"]
    dialogue.says(id="s1", method="sampling/createMessage", params={})
    assert dialogue.last["error"]["code"] == -32601
    assert not any(call.done() for call in calls)


async def test_an_unknown_request_is_refused_and_ends_nothing(dialogue: Dialogue) -> None:
    call = await dialogue.call("a")
    dialogue.says(id=7, method="x/y", params={})
    assert (dialogue.last["id"], dialogue.last["error"]["code"]) == (7, -32601)
    await asyncio.sleep(0)
    assert not call.done()


async def test_an_ask_without_any_call_is_refused(dialogue: Dialogue) -> None:
    dialogue.says(id=7, method="roots/list")
    assert dialogue.last["error"]["code"] == -32601


# ---- the end


async def test_a_lost_server_ends_what_waits_and_takes_nothing_new(dialogue: Dialogue) -> None:
    """R1: what was sent may have run; what was not, has not."""
    calls = [await dialogue.call(name) for name in "abc"]
    dialogue.says(id=dialogue.sent[0]["id"], result={})
    dialogue.mux.fail(Unavailable("The server went away"))
    assert await calls[0] == Result(Raw(b"{}"), links=False)
    for call in calls[1:]:
        with pytest.raises(BadReply) as lost:
            await call
        assert (lost.value.outcome, lost.value.message) == ("unknown", "The server went away")
    sent = len(dialogue.sent)
    for _ in range(2):
        with pytest.raises(Unavailable) as refused:
            await dialogue.mux.request(LEGACY, Request("tools/call", {}, {}))
        assert refused.value.outcome == "not_sent"
    assert len(dialogue.sent) == sent
    dialogue.says(id=dialogue.sent[1]["id"], result={})
    assert dialogue.mux.dropped == 1


async def test_a_request_that_can_not_be_sent_leaves_nothing_behind() -> None:
    def send(text: bytes) -> None:
        raise TimedOut("full", outcome="not_sent")

    mux = Mux(send, Heard(), Parking(lambda: 0.0))
    with pytest.raises(TimedOut):
        await mux.request(LEGACY, Request("tools/call", {}, {}))
    assert not mux._waiting


# ---- questions


ASKABLE = Profile(Raw(b'{"elicitation":{}}'), frozenset({"elicitation"}))


def askable(dialogue: Dialogue, owner: str) -> "asyncio.Task[Reply]":
    request = Request("tools/call", {"name": owner}, {}, profile=ASKABLE, owner=Principal(owner))
    return asyncio.ensure_future(dialogue.mux.request(LEGACY, request))  # noqa: TID251 - awaited by the test


async def test_a_question_for_a_call_that_was_given_up_is_asked_of_nobody(dialogue: Dialogue) -> None:
    """T6: who is left need not be who was asked."""
    a, b = askable(dialogue, "a"), askable(dialogue, "b")
    await asyncio.sleep(0)
    dialogue.says(id="q", method="elicitation/create", params={"message": "secret of a"})
    a.cancel()
    await asyncio.wait([a])
    assert not b.done()
    refusals = [sent for sent in dialogue.sent if sent.get("id") == "q"]
    assert [sent["error"]["code"] for sent in refusals] == [-32601]
    dialogue.says(id=dialogue.sent[1]["id"], result={})
    assert await b == Result(Raw(b"{}"), links=False)


async def test_a_question_and_a_cancellation_at_once_leave_nothing(dialogue: Dialogue) -> None:
    a = askable(dialogue, "a")
    await asyncio.sleep(0)
    dialogue.says(id="q", method="elicitation/create", params={"message": "?"})
    a.cancel()
    await asyncio.wait([a])
    assert not dialogue.mux.is_busy
    assert [sent.get("method") for sent in dialogue.sent if "id" not in sent] == ["notifications/cancelled"]
