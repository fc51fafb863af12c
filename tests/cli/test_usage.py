"""`concento usage`: reports, invoices and exports, read from the file alone."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.observe.test_usage import ended
from tests.observe.usage_kit import BOOK, opened

from concento.cli.main import cli
from concento.model.prices import Book, Charge, Price, Tier
from concento.model.principal import Principal
from concento.testing.clock import ManualClock

ALICE = Principal("alice", tenant="acme")
HOSTILE = Principal("=cmd()\x1b[31m", tenant="acme")
WALL_S = 4_072_000_000.0
"""On 2099-01-13: a month that is not over for a while."""
MONTH = ("--month", "2099-01")


@pytest.fixture(autouse=True)
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What two tenants used in January of 2099: acme four calls in EUR, globex one in JPY."""
    (tmp_path / "concento.yaml").write_text("state: sqlite:///c.db\nservers: {}\n")
    monkeypatch.chdir(tmp_path)
    clock = ManualClock(wall_s=WALL_S)
    yen = Price("y@1970-01-01 * #3", "*", "JPY", (Charge("call", (Tier(2_500_000_000),)),))
    books = (BOOK, Book("y", 0, "JPY", (yen,), tenants=("globex",)))
    usage = await opened(tmp_path / "usage.db", clock=clock, books=books)
    for who, number, end in ((ALICE, 0, "ok"), (ALICE, 0, "ok"), (ALICE, 2, "tool_error"), (HOSTILE, 0, "ok")):
        usage(ended(number, clock, who=who, end=end))
    usage(ended(0, clock, who=Principal("gina", tenant="globex")))
    await usage.close()
    return tmp_path


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["usage", *args])


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


async def test_a_report_sums_by_what_is_asked_for() -> None:
    shown = run("report", *MONTH, "--by", "tenant,tool")
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert lines == [
        ["tenant", "tool", "calls", "errors", "seconds", "MB", "tokens", "EUR", "JPY"],
        ["acme", "t0", "3", "0", "0.0375", "0.001", "300", "0.00601221", "0"],
        ["acme", "t2", "1", "1", "0.0125", "0.000", "100", "0", "0"],
        ["globex", "t0", "1", "0", "0.0125", "0.000", "100", "0", "2.5"],
        ["total", "5", "1", "0.0625", "0.002", "500", "0.00601221", "2.5"],
    ]
    told = json.loads(run("report", *MONTH, "--by", "tenant", "--json").stdout)
    assert [(one["by"], one["calls"]) for one in told["sums"]] == [({"tenant": "acme"}, 4), ({"tenant": "globex"}, 1)]
    assert told["total"]["cost"] == {"EUR": "0.00601221", "JPY": "2.5"}
    alone = cells(run("report", *MONTH, "--by", "tenant", "--tenant", "globex", "--format", "csv").stdout)
    assert alone == [
        ["tenant", "calls", "attempts", "errors", "seconds", "bytes_in", "bytes_out", "tokens", "cost_JPY"],
        ["globex", "1", "1", "0", "0.0125", "7", "400", "100", "2.5"],
    ]


async def test_what_a_terminal_or_a_spreadsheet_would_obey_is_text() -> None:
    assert "\x1b" not in run("report", *MONTH, "--by", "subject").stdout
    for verb in (("report", "--by", "subject"), ("export",)):
        table = cells(run(*verb, *MONTH, "--format", "csv").stdout)
        assert not any(cell.startswith("=") for row in table for cell in row)
        assert any("=cmd()" in cell for row in table for cell in row)


async def test_an_invoice_adds_up_and_is_the_same_each_time(folder: Path) -> None:
    forms: dict[str, Any] = {}
    for form in ("table", "markdown", "csv", "json"):
        first, second = (run("invoice", "acme", *MONTH, "--format", form) for _ in range(2))
        assert first.exit_code == 0, first.output
        assert first.stdout == second.stdout
        forms[form] = first.stdout
    (told,) = json.loads(forms["json"])["invoices"]
    assert (told["total"], told["calls"], told["final"], told["exact"]) == ("0.01", 3, False, "0.00601221")
    assert told["told"] == told["exact"]
    assert sum(Decimal(line["amount"]) for line in told["lines"]) == Decimal(told["total"])
    assert [(line["unit"], line["quantity"], line["each"], line["amount"]) for line in told["lines"]] == [
        ("call", "3", "0.002", "0.01"),
        ("mb", "0.001221", "0.01", "0.00"),
    ]
    for form in ("table", "markdown"):
        assert told["digest"] in forms[form]
    assert [row[-1] for row in cells(forms["csv"])] == ["amount", "0.01", "0.00"]
    assert run("invoice", "acme", *MONTH, "-o", "a.md").exit_code == 0
    assert (folder / "a.md").read_text() == forms["markdown"]


async def test_halves_of_a_yen_go_to_the_even_one_and_a_month_that_is_not_over_is_said_so() -> None:
    shown = run("invoice", "globex", *MONTH)
    assert "in JPY" in shown.stdout
    assert shown.stdout.splitlines()[-2].split() == ["total", "2"]
    assert "2099-01 is not over" in shown.stderr


async def test_an_invoice_changes_with_its_records_and_only_with_them(folder: Path) -> None:
    before = run("invoice", "acme", *MONTH, "--json").stdout
    usage = await opened(folder / "usage.db", clock=ManualClock(wall_s=WALL_S), books=())
    usage(ended(0, ManualClock(wall_s=WALL_S), who=ALICE))  # costs nothing by now
    await usage.close()
    assert run("invoice", "acme", *MONTH, "--json").stdout == before
    usage = await opened(folder / "usage.db", clock=ManualClock(wall_s=WALL_S))
    usage(ended(0, ManualClock(wall_s=WALL_S), who=ALICE))
    await usage.close()
    assert run("invoice", "acme", *MONTH, "--json").stdout != before


async def test_every_record_is_exported(folder: Path) -> None:
    rows = [json.loads(line) for line in run("export", *MONTH).stdout.splitlines()]
    assert sum(row["calls"] for row in rows) == 5
    assert {(row["day"], row["currency"]) for row in rows if row["price"]} == {
        ("2099-01-13", "EUR"),
        ("2099-01-13", "JPY"),
    }
    assert run("export", *MONTH, "--tenant", "globex", "-o", "out.jsonl").exit_code == 0
    assert len((folder / "out.jsonl").read_text().splitlines()) == 1


async def test_what_can_not_be_told_is_said_with_what_can(folder: Path) -> None:
    for args, words in (
        (("report", "--month", "2027"), "expected a month such as 2026-11"),
        (("report", "--by", "colour"), "known: day, tenant"),
    ):
        refused = run(*args)
        assert refused.exit_code == 2
        assert words in refused.stderr
    nothing = run("invoice", "acme", "--month", "2026-01")
    assert nothing.exit_code == 1
    assert "nothing of 'acme' was charged in 2026-01" in nothing.stderr
    assert json.loads(run("invoice", "acme", "--month", "2026-01", "--json").stdout) == {"invoices": []}
    (folder / "usage.db").unlink()
    for verb in (("report",), ("invoice", "acme"), ("export",)):
        missing = run(*verb)
        assert missing.exit_code == 1
        assert "there is no usage file" in missing.stderr
    (folder / "concento.yaml").write_text("usage: off\nservers: {}\n")
    assert "nothing is metered" in run("report").stderr
