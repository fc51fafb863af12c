"""Who is told what and when: once per firing, channel and step; until somebody acknowledges; not while silenced."""

from dataclasses import replace
from datetime import datetime, time
from time import perf_counter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.observe.alerts.kit import DOWN, Bench, alerting

from concento.model.alerting import Alerting, AlertRule, Maintenance, Route, Step, Threshold
from concento.observe.alerts import NoSuchAlert
from concento.observe.alerts.notify import INTERVAL_S, ITEMS_MAX, Delivery
from concento.observe.alerts.outbox import GIVE_UP_S, OUTBOX_MAX, Outbox
from concento.observe.alerts.silences import is_open

AT_ONCE = replace(DOWN, for_s=0.0)
STEPS = (Step(("ops",)), Step(("ops", "phone"), 900.0), Step(("boss",), 3600.0))


async def bench(*rules: AlertRule, **more: object) -> Bench:
    return await Bench(alerting(*(rules or (AT_ONCE,)), **more)).begin()  # type: ignore[arg-type]


# -- the one thing that matters


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_every_firing_is_told_once_per_channel_and_step_whatever_happens(data: st.DataObject) -> None:
    """Servers come and go, the hub restarts, the channel fails for a while: all that fired is told, each once."""
    steps = (Step(("ops",)), Step(("phone",), 300.0))
    made = await bench(steps=steps)
    fired: set[str] = set()
    for _ in range(data.draw(st.integers(3, 25), "moments")):
        what = data.draw(st.sampled_from(["down", "up", "restart", "fail", "work", "wait"]), "what")
        server = data.draw(st.sampled_from(["a", "b", "c"]), "server")
        if what in ("down", "up"):
            made.up[server] = float(what == "up")
        elif what == "restart":
            await made.restart()
        elif what in ("fail", "work"):
            made.received.failing = "it can't be reached" if what == "fail" else None
        await made.pass_s(data.draw(st.sampled_from([5.0, 20.0, 70.0, 400.0]), "seconds"), step_s=10.0)
        fired |= {alert.firing for alert in made.alerts.alerts.values() if alert.stage == "firing"}
    made.received.failing = None
    made.up = dict.fromkeys(made.up, 1.0)
    await made.pass_s(1200, step_s=10.0)
    told = [
        (item.firing, one.channel, one.what, one.step)
        for one in made.received.got
        for item in one.items
        if one.what == "firing"
    ]
    assert len(told) == len(set(told)), "told twice"
    assert {firing for firing, channel, *_ in told if channel == "ops"} == fired, "somebody was not told"
    over = [(item.firing, one.channel) for one in made.received.got for item in one.items if one.what == "over"]
    assert sorted(over) == sorted({(firing, channel) for firing, channel, *_ in told}), (
        "who was told hears the end once"
    )
    assert not made.alerts.alerts


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 23)), max_size=40))
async def test_what_comes_and_goes_never_fires_before_its_time(moments: list[tuple[bool, int]]) -> None:
    made, held_s = await bench(DOWN), 0.0
    for is_up, ticks in moments:
        made.up = {"time": float(is_up)}
        for _ in range(ticks):
            await made.pass_s(5)
            held_s = 0.0 if is_up else held_s + 5
            if held_s < 120:
                assert all(
                    alert.since_s + 120 <= alert.fired_s for alert in made.alerts.alerts.values() if alert.fired_s
                )
            if held_s > 130:
                assert made.stages() == {"time": "firing"}


async def test_what_is_gone_for_less_than_the_time_it_takes_to_be_over_is_one_alert() -> None:
    made = await bench()
    for is_up in (0, 1, 0, 1, 0, 1, 0):
        made.up = {"time": float(is_up)}
        await made.pass_s(40)
    assert made.received.told() == [("ops", "firing", 0, ["time"])]


# -- groups


async def test_fifty_servers_that_fail_are_one_message_with_the_worst_named() -> None:
    made = await bench()
    for number in range(50):
        made.up[f"s{number:02}"] = 0.0
        if number % 10 == 9:
            await made.pass_s(2, step_s=1)
    await made.pass_s(60)
    (one,) = made.received.got
    assert (len(one.items), one.more, one.open) == (ITEMS_MAX, 50 - ITEMS_MAX, 50)
    made.up = dict.fromkeys(made.up, 1.0)
    await made.pass_s(200)
    assert [(one.what, len(one.items) + one.more, one.open) for one in made.received.got[1:]] == [("over", 50, 0)]


async def test_a_thousand_alerts_hold_up_no_calls() -> None:
    """All servers of a large hub are down, with their breakers: a look at them takes a moment, and no more."""
    breaker = AlertRule("breaker_opened", Threshold("concento_server_breaker_open", above=0.0), behind=("server_down",))
    made = await bench(AT_ONCE, breaker)
    made.up = {f"s{number}": 0.0 for number in range(500)}
    made.more = [("concento_server_breaker_open", "", {"server": name}, 1.0) for name in made.up]
    await made.pass_s(60)
    began_s = perf_counter()
    await made.pass_s(50)
    assert (perf_counter() - began_s) / 10 < 0.25
    assert len(made.alerts.alerts) == 1000
    assert len(made.received.got) == 1


async def test_those_that_come_later_are_told_together_a_minute_later() -> None:
    made = await bench()
    made.up = {"a": 0.0}
    await made.pass_s(20)
    made.up |= {"b": 0.0}
    await made.pass_s(10)
    made.up |= {"c": 0.0}
    await made.pass_s(INTERVAL_S + 10)
    assert made.received.told() == [("ops", "firing", 0, ["a"]), ("ops", "firing", 0, ["b", "c"])]
    assert len({one.incident for one in made.received.got}) == 1


async def test_tenants_are_not_told_of_together() -> None:
    made = await bench()
    made.up = {"time": 0.0, "acme/time": 0.0}
    await made.pass_s(30)
    assert sorted(servers for *_, servers in made.received.told()) == [["acme/time"], ["time"]]


async def test_what_another_alert_explains_is_not_told() -> None:
    breaker = AlertRule("breaker_opened", Threshold("concento_server_breaker_open", above=0.0), behind=("server_down",))
    made = await bench(DOWN, breaker)
    made.up = {"time": 0.0}
    made.more = [("concento_server_breaker_open", "", {"server": name}, 1.0) for name in ("time", "docs")]
    await made.pass_s(200)
    told = [(item.rule, item.labels[0][1]) for one in made.received.got for item in one.items]
    assert sorted(told) == [("breaker_opened", "docs"), ("server_down", "time")]
    shown = {(one["rule"], one["labels"]["server"]): one["silenced_by"] for one in made.alerts.shown()}
    assert shown["breaker_opened", "time"] == "server_down explains it"


# -- escalation


async def test_step_after_step_is_told_until_somebody_acknowledges() -> None:
    made = await bench(steps=STEPS)
    made.up = {"time": 0.0}
    await made.pass_s(1000)
    assert [told[:3] for told in made.received.told()] == [
        ("ops", "firing", 0),
        ("ops", "firing", 1),
        ("phone", "firing", 1),
    ]
    (alert,) = await made.alerts.acknowledge("server_down", "alice", "I look at it")
    await made.restart()
    await made.pass_s(4000, step_s=20)
    assert len(made.received.got) == 3, "the boss sleeps"
    (shown,) = made.alerts.shown()
    assert (shown["state"], shown["acknowledged"]["by"], shown["acknowledged"]["note"]) == (
        *("acknowledged", "alice"),
        "I look at it",
    )
    made.up = {"time": 1.0}
    await made.pass_s(100)
    assert [told[:2] for told in made.received.told()[3:]] == [("ops", "over"), ("phone", "over")]
    made.up = {"time": 0.0}
    await made.pass_s(30)
    assert made.received.told()[-1][:3] == ("ops", "firing", 0), "an acknowledgement is of one firing"
    assert alert.id == made.alerts.find("server_down")[0].id


async def test_it_is_told_again_while_nobody_acknowledges() -> None:
    made = await bench(repeat_s=3600.0)
    made.up = {"time": 0.0}
    await made.pass_s(2 * 3600 + 100, step_s=20)
    assert [(one.what, one.again) for one in made.received.got] == [
        ("firing", False),
        ("firing", True),
        ("firing", True),
    ]
    assert len({one.id for one in made.received.got}) == 3
    await made.alerts.acknowledge("server_down", "alice")
    await made.pass_s(2 * 3600, step_s=20)
    assert len(made.received.got) == 3


# -- silences and maintenance


async def test_a_silence_keeps_the_message_back_and_not_the_alert() -> None:
    made = await bench(steps=STEPS)
    silence = await made.alerts.silence({"server": "ti*", "rule": "server_down"}, 600.0, "alice", "it is being moved")
    made.up = {"time": 0.0, "docs": 0.0}
    await made.restart()
    await made.pass_s(500)
    assert made.received.told() == [("ops", "firing", 0, ["docs"])]
    assert made.stages() == {"docs": "firing", "time": "silenced"}
    await made.pass_s(200)
    assert ("ops", "firing", 0, ["time"]) in made.received.told(), "the silence is over, and it still fires"
    assert silence.id not in made.alerts.silences
    await made.pass_s(700)
    steps = [(item.labels[0][1], one.step) for one in made.received.got for item in one.items if one.channel == "phone"]
    assert steps == [("docs", 1)], "steps of what was silenced count from when it was told"


async def test_a_silence_after_the_first_step_keeps_the_next_and_reminders_back() -> None:
    made = await bench(steps=STEPS, repeat_s=1200.0)
    made.up = {"time": 0.0}
    await made.pass_s(60)
    await made.alerts.silence({"server": "time"}, 3600.0, "alice", "it is being moved")
    await made.pass_s(3540)
    assert made.received.told() == [("ops", "firing", 0, ["time"])]
    await made.pass_s(960)
    assert [told[0] for told in made.received.told() if told[2] == 1] == ["ops", "phone"], "counted from its end"


async def test_what_ends_while_it_is_silenced_was_never_told() -> None:
    made = await bench()
    await made.alerts.silence({"server": "time"}, 3600.0, "alice", "")
    made.up = {"time": 0.0}
    await made.pass_s(100)
    made.up = {"time": 1.0}
    await made.pass_s(200)
    assert made.received.got == []
    assert [one["state"] for one in made.alerts.shown()] == ["over"]


async def test_who_was_told_hears_that_it_is_over_although_it_is_silenced_by_now() -> None:
    made = await bench()
    made.up = {"time": 0.0}
    await made.pass_s(30)
    await made.alerts.silence({"server": "time"}, 3600.0, "alice", "")
    made.up = {"time": 1.0}
    await made.pass_s(200)
    assert [told[1] for told in made.received.told()] == ["firing", "over"]


async def test_a_silence_that_is_ended_ends() -> None:
    made = await bench()
    silence = await made.alerts.silence({"rule": "*"}, 3600.0, "alice", "")
    made.up = {"time": 0.0}
    await made.pass_s(60)
    await made.alerts.unsilence(silence.id)
    await made.pass_s(60)
    assert made.received.told() == [("ops", "firing", 0, ["time"])]
    with pytest.raises(NoSuchAlert, match="there are: none"):
        await made.alerts.unsilence(silence.id)


@pytest.mark.parametrize(
    ("match", "for_s", "told"), [({}, 60.0, "has to say what it is about"), ({"rule": "x"}, 1e9, "up to 30 days")]
)
async def test_a_silence_of_everything_or_for_ever_is_refused(match: dict[str, str], for_s: float, told: str) -> None:
    made = await bench()
    with pytest.raises(ValueError, match=told):
        await made.alerts.silence(match, for_s, "alice", "")


NIGHT = Maintenance("night", time(23, 0), time(1, 0), (4,), ZoneInfo("Europe/Rome"))


@pytest.mark.parametrize(
    ("at", "open"),
    [
        ("2026-11-27T22:59", False),
        ("2026-11-27T23:00", True),
        ("2026-11-28T00:59", True),
        ("2026-11-28T01:00", False),
        ("2026-11-28T23:30", False),
        ("2026-11-26T23:30", False),
    ],
)
def test_a_maintenance_window_goes_over_midnight_by_its_own_clocks(at: str, open: bool) -> None:
    moment = datetime.fromisoformat(at).replace(tzinfo=ZoneInfo("Europe/Rome"))
    assert is_open(NIGHT, moment.timestamp()) is open


@pytest.mark.parametrize(("hours", "at"), [(2, "2026-03-29T00:30"), (4, "2026-10-25T00:30")])
def test_the_night_in_which_clocks_change_is_as_long_as_they_say(hours: int, at: str) -> None:
    """From 0 to 3: two hours in spring, four in autumn."""
    rome = ZoneInfo("Europe/Rome")
    window = Maintenance("n", time(0, 0), time(3, 0), zone=rome)
    midnight_s = datetime.fromisoformat(at[:10]).replace(tzinfo=rome).timestamp()
    assert sum(is_open(window, midnight_s + minute * 60) for minute in range(6 * 60)) == hours * 60


async def test_nobody_is_told_in_a_maintenance_window() -> None:
    always = Maintenance("all day", time(0, 0), time(23, 59), match={"server": "docs"})
    made = await bench(maintenance=(always,))
    made.up = {"time": 0.0, "docs": 0.0}
    await made.pass_s(60)
    assert made.received.told() == [("ops", "firing", 0, ["time"])]


# -- what can't be told


async def test_without_a_channel_alerts_are_shown_and_nothing_waits() -> None:
    made = await Bench(Alerting((AT_ONCE,))).begin()
    made.up = {"time": 0.0}
    await made.pass_s(60)
    assert made.stages() == {"time": "firing"}
    assert made.alerts.waiting() == []
    made.up = {"time": 1.0}
    await made.pass_s(70)
    assert made.stages() == {}


async def test_a_channel_that_fails_is_tried_for_a_day_and_then_given_up_aloud() -> None:
    made = await bench()
    made.received.failing = "it answered with the status 500"
    made.up = {"time": 0.0}
    await made.pass_s(3600, step_s=20)
    (shown,) = made.alerts.shown()
    assert shown["not_delivered"] == {"ops": "it answered with the status 500"}
    await made.pass_s(GIVE_UP_S, step_s=300)
    assert made.alerts.lost == 1
    assert made.notes == ["alerts: a message to 'ops' is given up: it answered with the status 500"]


def waiting(number: int, incident: str = "i", channel: str = "ops") -> Delivery:
    return Delivery(f"d{number}", channel, "firing", incident, 0, 0.0, ())


def test_the_outbox_is_bounded_and_says_what_it_drops() -> None:
    box = Outbox()
    dropped = box.add(waiting(number) for number in range(OUTBOX_MAX + 20))
    assert [one.id for one in dropped] == [f"d{number}" for number in range(20)]
    assert len(box.waiting) == OUTBOX_MAX


def test_the_messages_of_an_incident_keep_their_order_and_hold_up_no_other() -> None:
    box = Outbox()
    box.add([waiting(1), waiting(2), waiting(3, "other"), waiting(4, channel="mail")])
    assert [one.delivery.id for one in box.due(0.0, ())] == ["d1", "d4"]
    box.failed("d1", "it can't be reached", 0.0, 0.5)
    assert [one.delivery.id for one in box.due(0.0, {"mail"})] == ["d3"]
    assert [one.delivery.id for one in box.due(10.0, {"mail"})] == ["d1"]


@pytest.mark.parametrize(("pause_s", "low_s", "high_s"), [(0.0, 3.75, 6.25), (77.0, 77.0, 77.0), (1e9, 900.0, 900.0)])
def test_pauses_grow_and_a_receiver_may_ask_for_a_longer_one(pause_s: float, low_s: float, high_s: float) -> None:
    for draw in (0.0, 1.0):
        box = Outbox()
        box.add([waiting(1)])
        box.failed("d1", "", 0.0, draw, pause_s)
        assert low_s <= box.waiting["d1"].next_s <= high_s
    box = Outbox()
    box.add([waiting(1)])
    for _ in range(20):
        box.failed("d1", "", 0.0, 1.0)
    assert box.waiting["d1"].next_s == 900.0 * 1.25


async def test_an_alert_whose_rule_is_turned_off_is_over_and_said_to_be() -> None:
    made = await bench()
    made.up = {"time": 0.0}
    await made.pass_s(30)
    made.alerts.configure(alerting())
    await made.pass_s(100)
    assert [told[1] for told in made.received.told()] == ["firing", "over"]


async def test_a_clock_that_jumps_an_hour_changes_nothing() -> None:
    made = await bench(DOWN)
    made.up = {"time": 0.0}
    await made.pass_s(60)
    made.clock._wall_s += 3600
    await made.pass_s(30)
    assert made.stages() == {"time": "pending"}
    made.clock._wall_s -= 7200
    await made.pass_s(60)
    assert made.received.told() == [("ops", "firing", 0, ["time"])]


async def test_a_clock_that_was_set_back_while_nobody_ran_holds_up_nothing() -> None:
    made = await bench(steps=(Step(("ops",)), Step(("phone",), 300.0)))
    made.up = {"time": 0.0}
    made.received.failing = "it can't be reached"
    await made.pass_s(60)
    made.clock._wall_s -= 86_400
    made.received.failing = None
    await made.restart()
    made.up |= {"docs": 0.0}
    await made.pass_s(400)
    assert sorted(made.received.told()) == [
        ("ops", "firing", 0, ["docs"]),
        ("ops", "firing", 0, ["time"]),
        ("phone", "firing", 1, ["docs"]),
        ("phone", "firing", 1, ["time"]),
    ]


async def test_a_rule_of_the_operators_that_watches_nothing_is_told() -> None:
    made = await bench(AT_ONCE, AlertRule("mine", Threshold("concento_sessionss", above=1.0)))
    await made.pass_s(120)
    assert made.notes == [
        "alerts: the rule 'mine' watches concento_sessionss, of which there is nothing; /metrics of the admin listener "
        "has all gauges there are"
    ]


async def test_what_does_not_fire_yet_can_not_be_acknowledged() -> None:
    made = await bench(DOWN)
    made.up = {"time": 0.0}
    await made.tick()
    with pytest.raises(NoSuchAlert, match="no alert 'server_down' fires; there are: none"):
        await made.alerts.acknowledge("server_down", "alice")


async def test_a_store_that_fails_keeps_nobody_from_being_told() -> None:
    from concento.store.memory import MemoryStore

    class Full(MemoryStore):
        async def put(self, space: str, key: str, value: bytes) -> None:
            raise OSError(28, "No space left on device")

    made = await Bench(alerting(AT_ONCE), Full()).begin()
    made.up = {"time": 0.0}
    await made.pass_s(60)
    assert made.received.told() == [("ops", "firing", 0, ["time"])]
    assert any("could not be kept" in note for note in made.notes)


async def test_a_route_takes_what_fits_first() -> None:
    warning = replace(AT_ONCE, name="other", severity="warning")
    routes = (
        Route((Step(("pager",)),), ("critical",), {"server": "time"}, repeat_s=None),
        Route((Step(("mail",)),), ("critical", "warning"), repeat_s=None),
    )
    config = replace(alerting(AT_ONCE, warning, steps=(Step(("pager",)), Step(("mail",), 1.0))), routes=routes)
    made = await Bench(config).begin()
    made.up = {"time": 0.0, "docs": 0.0}
    await made.pass_s(30)
    told = {(one.channel, item.rule, item.labels[0][1]) for one in made.received.got for item in one.items}
    assert told == {
        ("pager", "server_down", "time"),
        ("mail", "server_down", "docs"),
        ("mail", "other", "time"),
        ("mail", "other", "docs"),
    }
