"""Who is told of which changes, and what servers are asked to watch for it. Source: protocol A8; hardening R11."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import Raw

from concento.gateway.listen import Listening, Stream
from concento.model.call import ALL, Endpoint
from concento.model.errors import InvalidParams
from concento.model.inventory import KINDS, Kind
from concento.model.limits import SUBSCRIPTION_URIS_MAX
from concento.model.principal import ANONYMOUS, Principal
from concento.snapshot import Current

VIEW = Endpoint("view", "small")


class Bound:
    def __init__(self, alias: str, own: str) -> None:
        self.alias = alias
        self.own = own
        self.server = SimpleNamespace(key=alias)


class FakeView:
    """What an endpoint shows: items by kind, and resources `alias:own`."""

    def __init__(self, items: dict[str, tuple[str, ...]], resources: set[str] | None = None) -> None:
        self._items = items
        self._resources = resources
        self.asked = 0

    def items(self, kind: Kind) -> tuple[str, ...]:
        self.asked += 1
        return self._items.get(kind, ())

    def resource(self, uri: str) -> Bound | None:
        alias, _, own = uri.partition(":")
        if not own or (self._resources is not None and uri not in self._resources):
            return None
        return Bound(alias, own)


class FakeSnapshot:
    def __init__(self, views: dict[Endpoint, FakeView]) -> None:
        self.views = views

    def view(self, endpoint: Endpoint, principal: Principal) -> FakeView | None:
        return self.views.get(endpoint)

    def may_use(self, kind: str, binding: Bound, principal: Principal, now_s: float, address: str) -> bool:
        return True


class FakeUpstreams:
    """Remembers what each server is to watch."""

    def __init__(self) -> None:
        self.watched: dict[str, frozenset[str]] = {}
        self.asked = 0
        self.tell: Any = None

    def on_updated(self, callback: Any) -> None:
        self.tell = callback

    async def subscribe(self, alias: str, uris: frozenset[str]) -> None:
        self.asked += 1
        self.watched[alias] = uris


class House:
    def __init__(self) -> None:
        self.current = Current(cast(Any, FakeSnapshot({ALL: FakeView({}), VIEW: FakeView({})})))
        self.upstreams = FakeUpstreams()
        self.listening = Listening(self.current, cast(Any, self.upstreams))
        self.told: dict[str, list[str]] = {}

    def open(self, name: str, *kinds: Kind, endpoint: Endpoint = ALL) -> Stream:
        told = self.told[name] = []

        def push(method: str, params: Raw) -> None:
            text = bytes(params).decode()
            told.append(method.removeprefix("notifications/") + ("" if text == "{}" else f" {text}"))

        return self.listening.open(endpoint, ANONYMOUS, kinds, push)

    def publish(self, **items: tuple[str, ...]) -> FakeSnapshot:
        """A snapshot in which the whole catalog shows these items; the view stays as it is."""
        views = {**cast(FakeSnapshot, self.current.snapshot).views, ALL: FakeView(items)}
        snapshot = FakeSnapshot(views)
        self.current.publish(cast(Any, snapshot))
        return snapshot


@pytest.fixture
def house() -> House:
    return House()


def test_a_change_is_told_to_those_who_asked_for_its_kind(house: House) -> None:
    house.open("tools", "tools")
    house.open("prompts", "prompts")
    house.open("all", *KINDS)
    house.publish(tools=("a",))
    house.publish(tools=("a",), prompts=("p",))
    assert house.told == {
        "tools": ["tools/list_changed"],
        "prompts": ["prompts/list_changed"],
        "all": ["tools/list_changed", "prompts/list_changed"],
    }


def test_what_is_published_unchanged_is_told_to_nobody(house: House) -> None:
    house.open("all", *KINDS)
    house.publish()
    house.publish(tools=("a",))
    house.publish(tools=("a",))
    assert house.told["all"] == ["tools/list_changed"]


def test_resources_and_templates_are_one_notice(house: House) -> None:
    house.open("resources", "resources")
    house.publish(resources=("r",), templates=("t",))
    assert house.told["resources"] == ["resources/list_changed"]
    house.publish(resources=("r",), templates=("u",))
    assert house.told["resources"] == ["resources/list_changed"] * 2
    house.open("all", *KINDS)
    house.publish(resources=("s",), templates=("v",))
    assert house.told["all"] == ["resources/list_changed"]


def test_an_endpoint_that_shows_no_change_is_told_nothing(house: House) -> None:
    house.open("view", *KINDS, endpoint=VIEW)
    house.publish(tools=("a",))
    assert house.told["view"] == []


def test_an_endpoint_is_compared_once_however_many_listen(house: House) -> None:
    for number in range(100):
        house.open(str(number), "tools")
    view = house.publish(tools=("a",)).views[ALL]
    assert view.asked == len(KINDS)
    assert all(told == ["tools/list_changed"] for told in house.told.values())


def test_an_endpoint_that_goes_away_is_told_nothing(house: House) -> None:
    house.open("view", *KINDS, endpoint=VIEW)
    house.current.publish(cast(Any, FakeSnapshot({ALL: FakeView({})})))
    assert house.told["view"] == []


async def test_a_closed_stream_is_told_nothing(house: House) -> None:
    stream = house.open("a", "tools")
    await house.listening.close(stream)
    house.publish(tools=("a",))
    assert house.told["a"] == []
    assert len(house.listening) == 0


async def test_a_stream_may_close_while_it_is_told(house: House) -> None:
    first = house.open("a", "tools")
    house.open("b", "tools")
    first.push = lambda method, params: house.listening._streams.discard(first)
    house.publish(tools=("a",))
    assert house.told["b"] == ["tools/list_changed"]


# ---- resources


async def test_a_subscribed_resource_is_told_to_its_streams_under_their_names(house: House) -> None:
    one, two = house.open("one"), house.open("two")
    assert await house.listening.subscribe(one, ["s:1", "s:2"]) == ["s:1", "s:2"]
    assert await house.listening.subscribe(two, ["s:2", "t:1"]) == ["s:2", "t:1"]
    assert house.upstreams.watched == {"s": frozenset({"1", "2"}), "t": frozenset({"1"})}
    house.upstreams.tell("s", "2")
    house.upstreams.tell("t", "1")
    house.upstreams.tell("s", "unknown")
    assert house.told["one"] == ['resources/updated {"uri":"s:2"}']
    assert house.told["two"] == ['resources/updated {"uri":"s:2"}', 'resources/updated {"uri":"t:1"}']


async def test_an_update_below_a_subscribed_resource_is_told(house: House) -> None:
    """A server may tell of a part of what was subscribed (specification, resources: subscriptions)."""
    one = house.open("one")
    await house.listening.subscribe(one, ["s:file:///a", "s:x"])
    for own in ("file:///a/b", "file:///ab", "xy", "x#part"):
        house.upstreams.tell("s", own)
    assert house.told["one"] == [
        'resources/updated {"uri":"file://s!/a/b"}',
        'resources/updated {"uri":"concento://s!/x%23part"}',
    ]


async def test_a_resource_is_watched_as_long_as_one_stream_wants_it(house: House) -> None:
    one, two = house.open("one"), house.open("two")
    await house.listening.subscribe(one, ["s:1"])
    asked = house.upstreams.asked
    await house.listening.subscribe(two, ["s:1"])
    assert house.upstreams.asked == asked, "the server knows already"
    await house.listening.close(one)
    assert house.upstreams.watched == {"s": frozenset({"1"})}
    assert house.upstreams.asked == asked
    await house.listening.close(two)
    assert house.upstreams.watched == {"s": frozenset()}
    assert not house.listening._wanted


async def test_a_subscription_replaces_the_one_before(house: House) -> None:
    stream = house.open("a")
    await house.listening.subscribe(stream, ["s:1", "s:2"])
    await house.listening.subscribe(stream, ["s:2", "s:3"])
    assert house.upstreams.watched == {"s": frozenset({"2", "3"})}
    house.upstreams.tell("s", "1")
    assert house.told["a"] == []
    await house.listening.subscribe(stream, [])
    assert house.upstreams.watched == {"s": frozenset()}
    assert not house.listening._wanted


async def test_what_the_caller_may_not_see_is_not_watched(house: House) -> None:
    house.current.publish(cast(Any, FakeSnapshot({ALL: FakeView({}, {"s:1"})})))
    stream = house.open("a")
    assert await house.listening.subscribe(stream, ["s:1", "s:hidden", "nonsense"]) == ["s:1"]
    assert house.upstreams.watched == {"s": frozenset({"1"})}
    gone = house.open("b", endpoint=VIEW)
    assert await house.listening.subscribe(gone, ["s:1"]) == []


async def test_there_is_a_limit_to_subscriptions_and_beyond_it_nothing_changes(house: House) -> None:
    stream = house.open("a")
    await house.listening.subscribe(stream, ["s:0"])
    with pytest.raises(InvalidParams):
        await house.listening.subscribe(stream, [f"s:{number}" for number in range(SUBSCRIPTION_URIS_MAX + 1)])
    assert house.upstreams.watched == {"s": frozenset({"0"})}
    wanted = [f"s:{number}" for number in range(SUBSCRIPTION_URIS_MAX)]
    assert await house.listening.subscribe(stream, wanted) == wanted


async def test_all_streams_are_asked_to_end(house: House) -> None:
    streams = [house.open(str(number)) for number in range(3)]
    house.listening.end_all()
    assert all(stream.ended.is_set() for stream in streams)
