"""The report, the charts and the README's figures are what the recorded rounds say."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from benchmarks.process import HERE
from benchmarks.report import BEGIN, END, document, figures, pictures, with_figures, write
from benchmarks.results import Results, summarize

ROOT = HERE.parent


def recorded() -> Results:
    results = Results({
        "date": "2026-01-02", "command": "make bench", "rounds": 3, "seconds": 2, "whole": True,
        "machine": {"cpu": "A CPU", "cores": 2, "memory_gib": 8, "kernel": "Linux 6.1", "python": "3.11.7",
                    "load_before": 0.1, "load_after": 1.5},
        "candidates": {"nginx": {"version": "1.2", "about": "the reference", "configuration": [("command", "nginx")]},
                       "contextforge": {"about": "another", "missing": "no such <package>"}},
    })  # fmt: skip
    base = [{"cpu_us": cpu} for cpu in (10.0, 20.0, 40.0)]
    ours = [{"cpu_us": cpu, "p50_ms": 0.5} for cpu in (30.0, 40.0, 160.0)]
    case = "modern, 4 connections"
    results.add("calls", case, "nginx", figures=summarize(base, base), rounds=base)
    results.add("calls", case, "concento", figures=summarize(ours, base), rounds=ours)
    results.add("calls", case, "mcp-proxy", missing="it goes from stdio to HTTP")
    return results


def test_a_ratio_is_within_one_round() -> None:
    ratio = recorded().figure("calls", "modern, 4 connections", "concento", "ratio")
    assert ratio == {"median": 3.0, "min": 2.0, "max": 4.0}


def test_the_report_has_every_figure_and_every_reason_why_there_is_none() -> None:
    text = document(recorded())
    assert "| concento | 40 (30–160) | 3 (2–4) | 0.5 |" in text
    assert "- mcp-proxy: it goes from stdio to HTTP" in text
    assert r"Not measured: no such \<package\>" in text
    assert "A CPU, 2 cores, 8 GiB, Linux 6.1, Python 3.11.7; load average 0.1 before, 1.5 after" in text


def test_charts_are_drawn_to_scale() -> None:
    drawn = pictures(recorded())
    assert set(drawn) == {"calls.svg", "overview.svg"}
    picture = ElementTree.fromstring(drawn["overview.svg"])
    bars = {bar.get("class"): float(bar.get("width", "0")) for bar in picture.iter("{http://www.w3.org/2000/svg}rect")}
    lines = sorted({float(line.get("x1", "0")) for line in picture.iter("{http://www.w3.org/2000/svg}line")
                    if line.get("class") == "grid"})  # fmt: skip
    decade = lines[1] - lines[0]
    assert bars["ours"] - bars["bar"] == pytest.approx(decade * 0.30103, abs=0.2)  # twice as much


def test_the_readmes_figures_are_replaced_and_nothing_else() -> None:
    before = f"# A\n\n{BEGIN}old\n{END}\n\nrest\n"
    after = with_figures(before, recorded())
    assert after == before.replace("old\n", figures(recorded()))
    assert "| modern agent → modern server, HTTP | 20 µs | 40 µs | 3.0 | – | – | – |" in after
    with pytest.raises(ValueError, match="no place"):
        with_figures("# A\n", recorded())


def test_what_is_published_is_what_was_recorded(tmp_path: Path) -> None:
    """After a change of the report: make bench ARGS=--report."""
    results = Results.read(HERE / "results.json")
    (tmp_path / "README.md").write_text((ROOT / "README.md").read_text())
    write(results, tmp_path / ".", readme=tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text() == (ROOT / "README.md").read_text()
    assert (tmp_path / "RESULTS.md").read_text() == (HERE / "RESULTS.md").read_text()
    for chart in (tmp_path / "charts").iterdir():
        assert chart.read_text() == (HERE / "charts" / chart.name).read_text()
