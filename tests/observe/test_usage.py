"""Usage: what is counted where, at which price, and what is kept of it. Source: issue "Usage and billing"."""

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw, structs
from tests.observe.audit_kit import WHO, call
from tests.observe.usage_kit import BOOK, FLAT, TIERED, calls, opened, rows

from concento.model.call import Failure, Result
from concento.model.errors import Forbidden, OverBudget, StartError, TimedOut, Unavailable, Withheld
from concento.model.prices import PARTS, Book, Budget, text_of
from concento.model.principal import Principal
from concento.model.usage import OTHER
from concento.observe.record import Record
from concento.observe.usage import meter
from concento.observe.usage.report import dimensions, month, month_invoices, report, this_month
from concento.testing.clock import ManualClock

DAY_S = 86_400
CLOCK_S = 1_800_000_000.0  # 2027-01-15 08:00 UTC


def ended(number: int = 0, clock: ManualClock | None = None, **options: Any) -> Record:
    """A call of `s.t<number>` that succeeded in 12.5 ms with 400 bytes."""
    made = {"attempts": 1, "duration_s": 0.0125, "reply_bytes": 400, **options}
    if clock is not None:
        made.setdefault("wall_s", clock.wall())
    return call(number, **made)


async def test_what_is_used_is_kept_by_day_and_key(tmp_path: Path) -> None:
    clock = ManualClock()
    usage = await opened(tmp_path / "usage.db", clock=clock)
    for _ in range(3):
        usage(ended(clock=clock))
    usage(ended(1, clock, end="tool_error", attempts=2))
    clock.advance(DAY_S)
    usage(ended(clock=clock))
    await usage.close()
    found = {(row.key.day, row.key.tool, row.key.outcome): row for row in rows(tmp_path / "usage.db")}
    today = int(CLOCK_S // DAY_S)
    assert set(found) == {(today, "t0", "ok"), (today, "t1", "tool_error"), (today + 1, "t0", "ok")}
    first = found[today, "t0", "ok"]
    assert (first.key.tenant, first.key.subject, first.key.server, first.key.method) == (
        *("acme", "alice", "s", "tools/call"),
    )
    assert first[1:7] == (3, 3, 37_500, 21, 1200, 300)
    assert text_of(first.cost) == "0.00601221"  # three calls at 0.002, and 1,221 bytes at 0.01 a million
    assert found[today, "t1", "tool_error"].attempts == 2
    assert found[today, "t1", "tool_error"].cost == 0


async def test_a_call_belongs_to_the_day_on_which_it_ends(tmp_path: Path) -> None:
    usage = await opened(tmp_path / "usage.db")
    midnight = 20_000 * DAY_S
    usage(ended(wall_s=midnight - 1.0, duration_s=2.0))
    usage(ended(wall_s=midnight - 1.0, duration_s=0.5))
    await usage.close()
    assert [(row.key.day, row.calls) for row in rows(tmp_path / "usage.db")] == [(19_999, 1), (20_000, 1)]


FREE: list[tuple[dict[str, Any], int]] = [
    ({"end": "tool_error"}, 0),
    ({"end": "error"}, 0),
    ({"part": "copy", "arm": ("web", "s.t0")}, 0),
    ({"part": "asked"}, 0),
    ({"part": "unsent", "end": "error"}, 0),
    ({"server": None, "tool": None}, 0),
]


@pytest.mark.parametrize(("how", "cost"), FREE, ids=[str(how) for how, _ in FREE])
async def test_what_did_not_succeed_or_was_not_for_its_caller_counts_and_costs_nothing(
    tmp_path: Path, how: dict[str, Any], cost: int
) -> None:
    usage = await opened(tmp_path / "usage.db")
    record = ended(**how)
    usage(record)
    await usage.close()
    (row,) = rows(tmp_path / "usage.db")
    assert (row.calls, row.cost, row.key.price, record.price) == (1, cost, "", None)


async def test_a_call_whose_result_a_guard_keeps_ran_and_counts_as_an_error(tmp_path: Path) -> None:
    usage = await opened(tmp_path / "usage.db", books=(Book("b", 0, "EUR", (FLAT,), "all"),))
    record = ended()
    record.failed(Withheld("too large"))
    usage(record)
    await usage.close()
    (row,) = rows(tmp_path / "usage.db")
    assert (row.calls, bool(row.cost)) == (1, True)
    assert report(tmp_path / "usage.db", month(this_month(record.wall_s)), ()).total.errors == 1


UNCOUNTED: list[dict[str, Any]] = [{"end": "refused"}, {"part": "kept"}]


@pytest.mark.parametrize("how", UNCOUNTED, ids=str)
async def test_refused_calls_and_replies_that_were_kept_do_not_count(tmp_path: Path, how: dict[str, Any]) -> None:
    usage = await opened(tmp_path / "usage.db")
    usage(ended(**how))
    await usage.close()
    assert rows(tmp_path / "usage.db") == []


async def test_with_charge_all_every_call_that_a_server_saw_costs(tmp_path: Path) -> None:
    usage = await opened(tmp_path / "usage.db", books=(Book("b", 0, "EUR", (FLAT,), "all"),))
    for end, part in (("tool_error", ""), ("error", ""), ("cancelled", ""), ("error", "unsent")):
        usage(ended(end=end, part=part))
    await usage.close()
    assert sorted((row.key.outcome, row.key.part, bool(row.cost)) for row in rows(tmp_path / "usage.db")) == [
        *(("cancelled", "", True), ("error", "", True), ("error", "unsent", False), ("tool_error", "", True)),
    ]


async def test_each_branch_of_a_call_to_several_servers_counts_at_its_own_price(tmp_path: Path) -> None:
    usage = await opened(tmp_path / "usage.db")
    whole = ended(server="s,x", tool="web")
    whole.branches = [ended(0), ended(1), ended(2, end="error"), ended(3, end="refused"), ended(4, server="x")]
    usage(whole)
    await usage.close()
    found = [(row.key.server, row.key.tool, row.calls) for row in rows(tmp_path / "usage.db")]
    assert sorted(found) == [("s", "t0", 1), ("s", "t1", 1), ("s", "t2", 1), ("x", "t4", 1)]
    assert whole.cost == sum(row.cost for row in rows(tmp_path / "usage.db")) > 0
    assert whole.metered == 1


async def test_a_cost_that_is_told_before_the_end_is_counted_once(tmp_path: Path) -> None:
    usage = await opened(tmp_path / "usage.db")
    record = ended()
    told = usage.cost(record)
    usage(record)
    await usage.close()
    assert told == {"amount": "0.00200407", "currency": "EUR", "price": FLAT.id}
    (row,) = rows(tmp_path / "usage.db")
    assert (row.calls, text_of(row.cost)) == (1, told["amount"])


async def test_what_costs_nothing_says_so(tmp_path: Path) -> None:
    usage = await opened(tmp_path / "usage.db")
    assert usage.cost(ended(server="free")) == {"amount": "0"}
    await usage.close()


async def test_ten_thousand_calls_add_up_over_restarts_and_price_changes(tmp_path: Path) -> None:
    path, told = tmp_path / "usage.db", 0
    for books in ((BOOK,), (), (Book("c", 0, "EUR", (TIERED,)),), (BOOK,)):
        usage = await opened(path, books=books)
        for number in range(2500):
            record = ended(number % 3)
            usage(record)
            told += record.cost
        await usage.close()
    found = rows(path)
    assert sum(row.calls for row in found) == 10_000
    assert sum(row.us for row in found) == 10_000 * 12_500
    assert sum(row.cost for row in found) == told
    days = month(this_month(ended().wall_s))
    (invoice,) = month_invoices(path, "acme", days, 0.0)
    assert invoice.exact == invoice.told == text_of(told)
    assert invoice == month_invoices(path, "acme", days, 0.0)[0]
    assert sum(Decimal(line.amount) for line in invoice.lines) == Decimal(invoice.total)
    assert not invoice.final
    assert month_invoices(path, "acme", days, (days.last + 1) * DAY_S)[0].final
    assert month_invoices(path, "globex", days, 0.0) == ()


async def test_tiers_go_on_where_they_were_after_a_restart_and_a_change_of_other_prices(tmp_path: Path) -> None:
    costs = []
    for books in ((BOOK,), (Book("b", 0, "EUR", (TIERED,)),)):
        usage = await opened(tmp_path / "usage.db", books=books)
        for _ in range(4):
            record = ended(1)
            usage(record)
            costs.append(text_of(record.cost))
        await usage.close()
    assert costs == ["0", "0", "0.030000001", "0.030000001", "0.030000001", *["0.010000001"] * 3]


async def test_beyond_the_bound_keys_are_counted_as_other_at_their_own_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "KEYS_MAX", 5)
    path, told = tmp_path / "usage.db", 0
    for _ in range(2):
        usage = await opened(path)
        for number in range(40):
            record = ended(number % 4, who=Principal(f"u{number}", tenant="acme"))
            usage(record)
            told += record.cost
        usage(ended(who=Principal("gina", tenant="globex")))
        await usage.close()
    found = rows(path)
    own = [row for row in found if row.key.tenant == "acme"]
    assert sum(row.calls for row in own) == 80
    assert sum(row.cost for row in own) == told
    assert {row.key.subject for row in own} == {*(f"u{number}" for number in range(5)), OTHER}
    assert [row.key.subject for row in found if row.key.tenant == "globex"] == ["gina"]
    assert {row.key.price for row in own} == {FLAT.id, TIERED.id}


async def test_very_many_tools_become_one_and_cost_what_they_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "KEYS_MAX", 2)
    usage = await opened(tmp_path / "usage.db")
    records = [ended(number) for number in range(20)]
    for record in records:
        usage(record)
    await usage.close()
    found = rows(tmp_path / "usage.db")
    assert len(found) < 8
    assert sum(row.calls for row in found) == 20
    assert sum(row.cost for row in found) == sum(record.cost for record in records)
    assert any(row.key.tool == OTHER for row in found)


async def test_while_the_disk_takes_nothing_sums_wait_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = await opened(tmp_path / "usage.db")

    def full(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(usage._ledger, "add", full)
        for _ in range(3):
            usage(ended())
            await usage.flush()
        assert usage.problem == "database or disk is full"
        readings = {name: value for name, _, _, value in usage.readings()}
        assert readings["concento_usage_failing"] == 1.0
        assert readings["concento_usage_waiting"] == 2  # the batch that failed, and one line for all the rest
    await usage.close()
    assert calls(tmp_path / "usage.db") == 3


async def test_a_batch_that_is_there_already_changes_nothing(tmp_path: Path) -> None:
    usage = await opened(tmp_path / "usage.db")
    usage(ended())
    await usage.flush()
    (row,) = rows(tmp_path / "usage.db")
    usage._ledger.add([row], 1)
    await usage.close()
    assert calls(tmp_path / "usage.db") == 1


async def test_days_that_are_too_old_go_and_others_stay(tmp_path: Path) -> None:
    clock = ManualClock()
    usage = await opened(tmp_path / "usage.db", clock=clock, keep_days=62)
    usage(ended(clock=clock))
    clock.advance(62 * DAY_S)
    usage(ended(clock=clock))
    await usage.flush()
    assert calls(tmp_path / "usage.db") == 2
    clock.advance(DAY_S)
    usage(ended(clock=clock))
    await usage.close()
    assert calls(tmp_path / "usage.db") == 2


async def test_a_file_of_a_newer_version_or_none_at_all_is_not_touched(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "usage.db")) as database:
        database.execute("PRAGMA user_version = 99")
    (tmp_path / "text.db").write_bytes(b"not a database, for a long time, and for all of its length" * 40)
    for name in ("usage.db", "text.db"):
        with pytest.raises(StartError, match="usage: off"):
            await opened(tmp_path / name)


# -- what a record says of itself


def test_a_record_knows_whether_a_server_saw_its_call() -> None:
    def part(error: Exception) -> str:
        record = ended()
        record.failed(error)  # type: ignore[arg-type]
        return record.part

    assert part(Unavailable("down")) == "unsent"
    assert part(TimedOut("slow")) == ""
    assert part(Forbidden("no")) == "unsent"
    record = ended(attempts=0)
    record.cancelled()
    assert record.part == "unsent"
    record = ended()
    record.replied(Result(Raw(b"{}"), "input_required"))
    assert record.part == "asked"
    record = ended(part="copy")
    record.replied(Failure(1, "no"))
    assert (record.part, record.end) == ("copy", "error")


# -- budgets


async def test_a_budget_tells_refuses_and_begins_anew(tmp_path: Path) -> None:
    clock = ManualClock()
    budget = Budget("each day", 10 * PARTS // 1000, "EUR", "tenant", "day", 0.5)
    usage = await opened(tmp_path / "usage.db", clock=clock, budgets=(budget,), books=(Book("b", 0, "EUR", (FLAT,)),))
    for number in range(6):
        told = usage.budgets.check(WHO, "s", "t0") if number < 5 else None
        assert (told is None) == (number in (0, 1, 2, 5)), number
        usage(ended(clock=clock))
    with pytest.raises(OverBudget) as refused:
        usage.budgets.check(WHO, "s", "t0")
    assert refused.value.code == -31003
    assert refused.value.data == {"budget": "each day", "period": "day", "resetsAt": "2027-01-16T00:00:00Z"}
    assert refused.value.retry_after_s == 16 * 3600
    assert usage.budgets.check(WHO, "free", "t0") is not None  # what costs nothing passes, and is told
    assert usage.budgets.check(Principal("gina", tenant="globex"), "s", "t0") is None
    assert [crossing.kind for crossing in usage.budgets.crossings] == ["soft", "hard"]
    await usage.close()
    usage = await opened(tmp_path / "usage.db", clock=clock, budgets=(budget,), books=(Book("b", 0, "EUR", (FLAT,)),))
    with pytest.raises(OverBudget):
        usage.budgets.check(WHO, "s", "t0")  # a restart gives nothing back
    assert usage.budgets.crossings == []  # and tells nothing twice
    clock.advance(16 * 3600)
    assert usage.budgets.check(WHO, "s", "t0") is None
    await usage.close()


async def test_budgets_of_users_and_of_all_count_apart_and_a_soft_one_refuses_nobody(tmp_path: Path) -> None:
    each = Budget("user", 3 * PARTS // 1000, "EUR", "user")
    everybody = Budget("all", PARTS // 1000, "EUR", "global", hard=False)
    usage = await opened(tmp_path / "usage.db", budgets=(each, everybody))
    bob = structs.replace(WHO, subject="bob")
    for _ in range(2):
        usage(ended())
    with pytest.raises(OverBudget):
        usage.budgets.check(WHO, "s", "t0")
    told = usage.budgets.check(bob, "s", "t0")
    assert told is not None
    assert "budget 'all'" in told
    assert "'user'" not in told
    await usage.configure(usage._settings, (BOOK,), (each, everybody))
    with pytest.raises(OverBudget):
        usage.budgets.check(WHO, "s", "t0")  # what is not on disk yet is not forgotten by a reload
    await usage.close()


# -- reading


async def test_reports_sum_by_what_is_asked_for(tmp_path: Path) -> None:
    clock = ManualClock()
    usage = await opened(tmp_path / "usage.db", clock=clock)
    for number in range(6):
        usage(ended(number % 2, clock, end="ok" if number else "error"))
    usage(ended(clock=clock, who=Principal("gina", tenant="globex")))
    await usage.close()
    found = report(tmp_path / "usage.db", month("2027-01"), ("tenant", "tool"))
    assert [(one.by, one.calls, one.errors) for one in found.sums] == [
        ({"tenant": "acme", "tool": "t0"}, 3, 1),
        ({"tenant": "acme", "tool": "t1"}, 3, 0),
        ({"tenant": "globex", "tool": "t0"}, 1, 0),
    ]
    assert (found.total.calls, found.total.errors, found.total.seconds) == (7, 1, "0.0875")
    assert found.sums[1].cost == {"EUR": "0.030000001"}
    alone = report(tmp_path / "usage.db", month("2027-01"), (), tenant="globex")
    assert alone.total.calls == 1
    assert report(tmp_path / "usage.db", month("2027-02"), ("day",)).sums == ()


def test_months_and_words_are_read_with_care() -> None:
    assert (month("2027-12").first, month("2027-12").last) == (21_153, 21_183)
    assert month("2028-02").last - month("2028-02").first == 28
    for wrong in ("2027", "2027-13", "2027-1", "now"):
        with pytest.raises(ValueError, match="2026-11"):
            month(wrong)
    assert dimensions("tool, tenant,tool") == ("tool", "tenant")
    with pytest.raises(ValueError, match="known: day, tenant"):
        dimensions("color")
