"""Whether a rule holds: over metrics, over calls, and how long nothing can be said."""

import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.observe.alerts.kit import Bench, alerting, closed

from concento.model.alert_rules import DEFAULTS
from concento.model.alerting import Absence, AlertRule, Burn, Condition, Happened, Increase, Ratio, Slow, Threshold
from concento.model.limits import LABELS_MAX
from concento.observe.alerts.counts import Counts
from concento.observe.alerts.evaluate import fits, span
from concento.observe.alerts.samples import SERIES_MAX, STEP_S, Ring, Samples


async def bench(condition: Condition, **more: object) -> Bench:
    rule = AlertRule("watched", condition, **more)  # type: ignore[arg-type]
    made = await Bench(alerting(rule)).begin()
    await made.tick()
    return made


@given(st.lists(st.tuples(st.floats(1, 200), st.integers(0, 5)), max_size=60), st.sampled_from([60.0, 300.0, 900.0]))
def test_a_ring_says_what_was_added_within_a_time_and_a_step_more(
    added: list[tuple[float, int]], within_s: float
) -> None:
    now_s, total, ring = 1000.0, 0, Ring(1000.0, 900.0, 0.0)
    log: list[tuple[float, int]] = []
    for pause_s, more in added:
        now_s += pause_s
        total += more
        ring.add(now_s, total)
        log.append((now_s, more))
    low = sum(more for at_s, more in log if at_s > now_s - within_s)
    high = sum(more for at_s, more in log if at_s >= now_s - within_s - STEP_S)
    assert low <= ring.within(now_s, within_s) <= high


def test_a_number_that_begins_anew_is_no_loss() -> None:
    ring = Ring(0.0, 600.0, 100.0)
    for at_s, value in ((5.0, 110.0), (10.0, 3.0), (15.0, 5.0)):
        ring.add(at_s, value)
    assert ring.within(15.0, 600.0) == 15.0


async def test_a_threshold_is_watched_for_each_label() -> None:
    made = await bench(Threshold("concento_server_up", below=1.0))
    made.up = {"time": 0.0, "docs": 1.0}
    await made.tick()
    assert made.stages() == {"time": "firing"}
    (shown,) = made.alerts.shown()
    assert shown["reason"] == "concento_server_up is 0, below 1"


async def test_two_failures_of_two_calls_are_no_ratio() -> None:
    made = await bench(Ratio(0.1, calls_min=20))
    made.called("error", 2)
    await made.pass_s(60)
    assert made.stages() == {}
    made.called("ok", 16)
    made.called("error", 2)
    await made.tick()
    (shown,) = made.alerts.shown()
    assert shown["reason"] == "4 of 20 calls failed within 5 min: 20.0%, more than 10.0%"


@pytest.mark.parametrize("end", ["refused", "cancelled", "tool_error"])
async def test_what_is_not_the_servers_fault_is_no_error(end: str) -> None:
    made = await bench(Ratio(0.1, calls_min=5))
    made.called(end, 100)  # type: ignore[arg-type]
    await made.pass_s(60)
    assert made.stages() == {}


async def test_refused_calls_are_a_part_of_those_that_ran_and_theirs() -> None:
    made = await bench(Ratio(0.5, of=("refused",), calls_min=10))
    made.called("refused", 11)
    made.called("ok", 10)
    await made.tick()
    assert made.stages() == {"time": "firing"}


async def test_a_burn_needs_both_times() -> None:
    """An hour with errors that are over fires nothing any more; five bad minutes of a good hour don't, either."""
    made = await bench(Burn(0.99, 14.4, 300.0, 3600.0))
    made.called("error", 100)
    made.called("ok", 100)
    await made.tick()
    assert made.stages() == {"time": "firing"}
    await made.pass_s(300 + STEP_S + 70, step_s=30)
    assert made.stages() == {}, "within the last five minutes nothing failed"
    made.called("ok", 5000)
    await made.pass_s(60)
    made.called("error", 100)
    await made.pass_s(60)
    assert made.stages() == {}, "of the hour that is 4 %, and 14.4 % are needed"


async def test_slow_calls_are_a_percentile() -> None:
    made = await bench(Slow(5.0, 0.05, 600.0, calls_min=50))
    made.called("ok", 95)
    made.called("ok", 5, seconds=6.0)
    await made.tick()
    assert made.stages() == {}, "five of a hundred are the 95th percentile, not above it"
    made.called("ok", 1, seconds=6.0)
    await made.tick()
    assert made.stages() == {"time": "firing"}


async def test_what_was_there_before_anybody_looked_is_no_increase() -> None:
    made = await Bench(alerting(AlertRule("watched", Increase("concento_audit_dropped_total", 0.0, 600.0)))).begin()
    made.more = [("concento_audit_dropped_total", "", {}, 7.0)]
    await made.pass_s(60)
    assert made.stages() == {}
    made.more = [("concento_audit_dropped_total", "", {}, 8.0)]
    await made.pass_s(60)
    assert made.stages() == {"": "firing"}
    await made.pass_s(900)
    assert made.stages() == {}


async def test_a_server_that_nobody_calls_is_missed_after_a_while() -> None:
    made = await bench(Absence(server="time", within_s=600.0))
    await made.pass_s(590)
    assert made.stages() == {}, "the hub has not run for so long itself"
    await made.pass_s(20)
    assert made.stages() == {"time": "firing"}
    made.called("ok")
    await made.pass_s(70)
    assert made.stages() == {}


async def test_a_metric_that_is_not_there_is_missed() -> None:
    made = await bench(Absence(metric="concento_shared_up"))
    await made.tick()
    assert made.stages() == {"": "firing"}


async def test_an_event_fires_at_once_and_is_over_by_itself() -> None:
    made = await bench(Happened("budget_passed", 900.0))
    made.alerts.happened("budget_passed", {"budget": "team", "tenant": "acme"}, 1.02, "102 % of 50 EUR are used")
    await made.tick()
    (shown,) = made.alerts.shown()
    assert (shown["labels"], shown["reason"]) == ({"budget": "team", "tenant": "acme"}, "102 % of 50 EUR are used")
    await made.pass_s(900 + 70)
    assert made.stages() == {}


async def test_calls_are_counted_by_tenant_and_tool_where_a_rule_says_so() -> None:
    made = await bench(Ratio(0.1, by="tenant", calls_min=5))
    made.called("error", 5, tenant="acme")
    made.called("ok", 50)
    await made.tick()
    assert [one["labels"] for one in made.alerts.shown()] == [{"tenant": "acme"}]


async def test_of_many_series_those_with_the_most_calls_stay() -> None:
    made = await bench(Ratio(0.5, calls_min=1))
    for number in range(SERIES_MAX):
        made.called("ok", 2, server=f"s{number}")
    await made.tick()
    made.called("error", 1, server="small")
    made.called("error", 5, server="large")
    await made.tick()
    await made.pass_s(5)
    made.called("error", 5, server="large")
    await made.tick()
    assert made.stages() == {"large": "firing"}


def test_tools_beyond_the_bound_count_as_others() -> None:
    counts = Counts()
    for number in range(3 * LABELS_MAX):
        record = closed("ok", "time", 0.1)
        record.tool = f"t{number}"
        counts(record)
    assert len(counts.cells) <= LABELS_MAX + 1
    assert sum(map(sum, counts.cells.values())) == 3 * LABELS_MAX


def test_a_tenants_server_is_matched_by_its_tenant() -> None:
    labels = (("server", "acme/search"),)
    assert fits({"tenant": "acme"}, labels)
    assert not fits({"tenant": "default"}, labels)
    assert fits({"server": "*/search"}, labels)
    assert not fits({"tool": "x"}, labels)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 min"), (10, "10 s"), (90, "90 s"), (300, "5 min"), (3600, "1 h"), (5400, "1 h 30 min")]
)
def test_times_are_said_as_people_do(seconds: float, text: str) -> None:
    assert span(seconds) == text


async def test_the_hubs_own_rules_are_quiet_while_all_is_well() -> None:
    made = await Bench(alerting(*DEFAULTS)).begin()
    made.up = {"time": 1.0}
    made.more = [("concento_audit_failing", "", {}, 0.0), ("concento_tools_held", "", {"server": "time"}, 0.0)]
    for _ in range(60):
        made.called("ok", 30)
        made.called("tool_error", 5)
        await made.pass_s(30, step_s=30)
    assert made.stages() == {}
    assert made.received.got == []


def test_a_call_costs_less_than_a_microsecond() -> None:
    counts = Counts()
    counts.bound((20.0,))
    record = closed("ok", "time", 0.01)
    best_s = min(timeit.repeat(lambda: counts(record), number=10_000, repeat=7)) / 10_000
    assert best_s < 1e-6


def test_a_look_at_everything_takes_little_where_there_is_much() -> None:
    """500 servers under all of the hub's own rules: a look holds up calls for that long."""
    from concento.observe.alerts.evaluate import evaluate

    samples, counts = Samples(0.0), Counts()
    samples.configure(DEFAULTS, 0.0)
    counts.bound((20.0,))
    for number in range(SERIES_MAX):
        counts(closed("ok", f"s{number}", 0.1))
    readings = [("concento_server_up", "", {"server": f"s{number}"}, 1.0) for number in range(SERIES_MAX)]

    def look() -> None:
        samples.take(5.0, readings, counts.cells, counts.bounds)
        for rule in DEFAULTS:
            evaluate(rule, samples, 5.0)

    look()
    assert min(timeit.repeat(look, number=1, repeat=5)) < 0.05
