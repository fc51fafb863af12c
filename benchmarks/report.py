"""The report of a run: tables, charts, and the figures that the README shows, all made from the JSON alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .charts import Bar, Group, chart, human
from .results import Entry, Results, Spread

OURS, REFERENCE = "concento", "nginx"
US = ((1.0, "µs"), (1e3, "ms"), (1e6, "s"))
MS = ((1.0, "ms"), (1e3, "s"))
KIB = ((1.0, "KiB"), (1024.0, "MiB"))
BEGIN, END = "<!-- figures: written by `make bench`, not by hand -->\n", "<!-- /figures -->"
HEADERS = {
    "cpu_us": "CPU µs",
    "ratio": "× nginx",
    "calls_per_s": "calls/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "max_ms": "max ms",
    "server_us": "server's CPU µs",
    "rss_mib": "RSS MiB",
    "pages": "pages",
    "kb": "kB",
    "answer_ms": "first answer ms",
    "listen_ms": "listens ms",
    "cpu_ms": "CPU ms",
    "kib_each": "KiB each",
    "mib_each": "MiB each",
    "streams": "streams",
}
RANGED = {"cpu_us", "ratio", "answer_ms", "kib_each", "mib_each"}
"""Figures told with their minimum and maximum, where there was more than one round."""


@dataclass(frozen=True)
class Part:
    """How one scenario is told. `bars`: the figure its chart shows, in which units; `cases`: of which of its cases."""

    title: str
    text: str
    bars: str = ""
    units: Sequence[tuple[float, str]] = US
    subtitle: str = ""
    cases: str = ".*"


PARTS = {
    "calls": Part(
        "A call over HTTP",
        "`tools/call` with a small answer. Agent and server speak the same era: *modern* is revision 2026-07-28, "
        "*legacy* 2025-11-25 with sessions.",
        "cpu_us",
        subtitle="CPU of the gateway per tools/call over HTTP, 4 connections; median, line: minimum to maximum",
        cases=".*, 4 connections",
    ),
    "stdio": Part(
        "A call to a child process",
        "The same with the server as a child of the gateway, over stdio. nginx can't do that: it forwards to the "
        "server over HTTP here too, as the reference.",
        "cpu_us",
        subtitle="CPU of the gateway per tools/call to a child process; nginx forwards HTTP, as the reference",
        cases=".*, 4 connections",
    ),
    "events": Part(
        "A call with 100 events",
        "The server sends 100 progress notifications, each as an event on its own, and then the result.",
        "cpu_us",
        subtitle="CPU of the gateway per tools/call with 100 progress events",
    ),
    "large": Part(
        "A result of 1 MB",
        "A call whose result is a text of 1 MB.",
        "cpu_us",
        subtitle="CPU of the gateway per tools/call that returns 1 MB",
    ),
    "lists": Part(
        "A list over 20 servers",
        "One whole `tools/list`, all pages, about 430 bytes a tool; each gateway in the newest era it speaks. nginx "
        "forwards the list of one server that has as many tools.",
        "cpu_us",
        subtitle="CPU of the gateway per whole tools/list; nginx forwards one server's list of as many tools",
    ),
    "start": Part(
        "A cold start",
        "From the start of the process to the first right answer of a tool, with nothing kept from before. "
        "ContextForge knows its server from its database, since servers reach it through its API only.",
        "answer_ms",
        MS,
        "From the start of the process to the first right answer",
        "one server",
    ),
    "memory": Part(
        "Memory",
        "What an idle stream takes on which an agent waits for changes (modern: `subscriptions/listen`, legacy: the "
        "session's own stream, sessions on), beyond the first hundred. For the hub also the peak of replies that wait "
        "for slow readers.",
        "kib_each",
        KIB,
        "Resident memory per idle stream",
        ".* idle streams",
    ),
    "growth": Part(
        "Growth",
        "The cost of a call with more servers, more tools, more connections. nginx forwards to one server throughout.",
        "cpu_us",
        subtitle="CPU of the gateway per tools/call as one thing grows; 4 connections unless it says otherwise",
    ),
    "routing": Part(
        "One tool, many servers",
        "A call of a logical tool, beside the same call of a server's own tool; no audit record. *At once*: ten "
        "servers are asked, and their contents put together.",
        "cpu_us",
        subtitle="CPU of the hub per call of a tool that stands for those of several servers",
    ),
    "neighbour": Part(
        "Beside a server that hangs",
        "Calls of one server, while another has all the calls that it may have (256) and answers none of them.",
        "cpu_us",
        subtitle="CPU of the hub per call of a server, alone and beside one that hangs",
    ),
    "observing": Part(
        "Watching calls",
        "*nothing*: no traces, usage, alerts, audit record. *Traces not kept*: each call is timed as a trace, and none "
        "is kept. *All*: usage and alerts too, as by default, with traces of no call or of every call. *Beside admin "
        "requests*: while an admin listener is asked ten times a second for what a console and a scraper ask for: "
        "another hub's, or that of the hub itself.",
        "cpu_us",
        subtitle="CPU of the hub per call, watched and not",
        cases="a call.*",
    ),
    "access": Part(
        "Who may call what",
        "*nothing*: no identity, policy, limits or audit record. *concento*: as by default, with the audit record "
        "and the check of arguments. *all*: a token or an API key, a policy of 50 rules, of which one looks at the "
        "arguments of each call, three limits and one cap, checked arguments, and the audit record, `batched` or "
        "`strict`. A list is filtered by what the policy lets its caller see. *New rights*: each time "
        "somebody for whom other rules count than for anybody before.",
        "cpu_us",
        subtitle="CPU of the hub per call and per list, with all that decides who may call what, and with none of it",
    ),
}


def write(results: Results, folder: Path, readme: Path | None = None) -> None:
    """RESULTS.md and the charts into a folder; the README's figures, where the run was whole."""
    (folder / "RESULTS.md").write_text(document(results))
    (folder / "charts").mkdir(exist_ok=True)
    for name, picture in pictures(results).items():
        (folder / "charts" / name).write_text(picture)
    if readme is not None:
        readme.write_text(with_figures(readme.read_text(), results))


# ---- tables


def document(results: Results) -> str:
    """The whole report."""
    about, machine = results.about, results.about["machine"]
    told = [
        "# Results",
        "Written by `make bench`, not by hand; every round is in [results.json](results.json). What the figures mean "
        "and how they are measured: [the benchmark](README.md).",
        f"- **Machine:** {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['kernel']}, "
        f"Python {machine['python']}; load average {machine['load_before']} before"
        + (f", {machine['load_after']} after" if "load_after" in machine else ""),
        f"- **Run:** `{about['command']}` on {about['date']}; {about['rounds']} round{_s(about['rounds'])} of "
        f"{about['seconds']} s each, at least twice that for what takes milliseconds a call",
        "- **Figures:** medians of the rounds, with minimum and maximum in brackets; `× nginx` is within one round",
    ]
    told = [told[0], told[1], "\n".join(told[2:])]
    drawn = pictures(results)
    for scenario, part in PARTS.items():
        if results.of(scenario):
            told += [f"## {part.title}", part.text]
            if f"{scenario}.svg" in drawn:
                told.append(f"![{part.subtitle}](charts/{scenario}.svg)")
            told += [block for case in results.cases(scenario) for block in _case(results, scenario, case)]
    return "\n\n".join([*told, *_candidates(results)]) + "\n"


def _case(results: Results, scenario: str, case: str) -> list[str]:
    entries = results.of(scenario, case)
    measured = [entry for entry in entries if "figures" in entry]
    names = list(dict.fromkeys(name for entry in measured for name in entry["figures"]))
    if "ratio" in names:
        names = ["cpu_us", "ratio", *(name for name in names if name not in ("cpu_us", "ratio"))]
    rows = [[entry["candidate"], *(_cell(entry, name) for name in names)] for entry in measured]
    told = [f"### {_capital(case)}"]
    if rows:
        told.append(table(["", *(HEADERS[name] for name in names)], rows))
    if missing := [f"- {entry['candidate']}: {_plain(entry['missing'])}" for entry in entries if "missing" in entry]:
        told.append("Not measured:\n\n" + "\n".join(missing))
    return told


def _cell(entry: Entry, name: str) -> str:
    found: Spread | None = entry["figures"].get(name)
    if found is None:
        return "–"
    middle = _number(found["median"])
    if name in RANGED and found["min"] != found["max"]:
        return f"{middle} ({_number(found['min'])}–{_number(found['max'])})"
    return middle


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _plain(text: str) -> str:
    """One line that Markdown takes for text."""
    return re.sub(r"([<>|*_`\[\]])", r"\\\1", " ".join(text.split()))[:400]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first to the right."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def _candidates(results: Results) -> list[str]:
    told = ["## Who was measured, and how it was set up"]
    for name, known in results.about["candidates"].items():
        told.append(f"**{name}** {known.get('version', '')}: {known['about']}.".replace(" :", ":"))
        if "missing" in known:
            told.append(f"Not measured: {_plain(known['missing'])}")
        for title, text in known.get("configuration", []):
            told.append(f"<details><summary>{title}</summary>\n\n```\n{text.strip()}\n```\n\n</details>")
    return told


def _s(count: int) -> str:
    return "s" if count > 1 else ""


# ---- charts


PATHS = (
    ("modern agent → modern server, HTTP", "calls", "modern, 4 connections"),
    ("legacy agent → legacy server, HTTP", "calls", "legacy, 4 connections"),
    ("modern agent → child process", "stdio", "modern, 4 connections"),
    ("legacy agent → child process", "stdio", "legacy, 4 connections"),
)
OVERVIEW = Part(
    "What a tools/call costs",
    "",
    "cpu_us",
    subtitle="CPU of the gateway per call, 4 connections; logarithmic; thin line: minimum to maximum",
)


def pictures(results: Results) -> dict[str, str]:
    """The charts by their file names: one a scenario, and the overview that the README shows."""
    drawn = {}
    for scenario, part in PARTS.items():
        shown = [case for case in results.cases(scenario) if re.fullmatch(part.cases, case)]
        groups = [_group(results, scenario, case, _capital(case), part) for case in shown]
        if any(group.bars for group in groups):
            drawn[f"{scenario}.svg"] = _draw(part, groups)
    groups = [_group(results, scenario, case, title, OVERVIEW) for title, scenario, case in PATHS]
    if any(group.bars for group in groups):
        drawn["overview.svg"] = _draw(OVERVIEW, groups)
    return drawn


def _draw(part: Part, groups: Sequence[Group]) -> str:
    return chart(part.title, part.subtitle, [group for group in groups if group.bars], part.units)


def _group(results: Results, scenario: str, case: str, title: str, part: Part) -> Group:
    return Group(title, _bars(results.of(scenario, case), part))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _bars(entries: Sequence[Entry], part: Part) -> list[Bar]:
    bars = []
    for entry in entries:
        found: Spread | None = entry.get("figures", {}).get(part.bars)
        if found is not None and found["min"] > 0:
            ratio: Spread | None = entry["figures"].get("ratio")
            more = f"{_number(ratio['median'])} × nginx" if ratio and entry["candidate"] != REFERENCE else ""
            ours = entry["candidate"] == OURS
            text = human(found["median"], part.units)
            bars.append(Bar(entry["candidate"], found["median"], found["min"], found["max"], text, more, ours))
    return bars


# ---- the README's figures

OTHERS = ("fastmcp", "mcp-proxy", "contextforge")


def figures(results: Results) -> str:
    """The table for the README: CPU a call of each path, and ours as a multiple of nginx."""
    rows = []
    for title, scenario, case in PATHS:
        ratio = results.figure(scenario, case, OURS, "ratio")
        cells = [_cpu(results, scenario, case, name) for name in (REFERENCE, OURS)]
        others = [_cpu(results, scenario, case, name) for name in OTHERS]
        rows.append([title, *cells, "–" if ratio is None else f"{ratio['median']:.1f}", *others])
    machine = results.about["machine"]
    head = ["CPU per `tools/call`", REFERENCE, OURS, "× nginx", *OTHERS]
    return (
        f"{table(head, rows)}\n\n"
        f"4 connections, {machine['cores']} cores of an {machine['cpu']}, Python {machine['python']}, median of "
        f"{results.about['rounds']} round{_s(results.about['rounds'])}, {results.about['date']}. {_more(results)}\n"
    )


def _cpu(results: Results, scenario: str, case: str, name: str) -> str:
    found = results.figure(scenario, case, name, "cpu_us")
    return "–" if found is None else human(found["median"], US)


def _more(results: Results) -> str:
    """What else a reader wants to know at once, as far as it was measured."""
    told = []
    for sentence, scenario, case, name, units in (
        ("An idle listen stream takes {}.", "memory", r"\d+ idle streams", "kib_each", KIB),
        ("A `tools/list` of 1,000 tools from 20 servers costs {}.", "lists", r"20 servers × 50 tools", "cpu_us", US),
        ("From a cold start to the first answer it takes {}.", "start", "one server", "answer_ms", MS),
    ):
        for known in results.cases(scenario):
            found = results.figure(scenario, known, OURS, name) if re.fullmatch(case, known) else None
            if found is not None:
                told.append(sentence.format(human(found["median"], units)))
    return " ".join(told)


def with_figures(text: str, results: Results) -> str:
    """A document with its figures replaced by those of a run. Errors: ValueError, if it has no place for them."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no place for figures: {BEGIN.strip()} … {END}")
    return f"{before}{begin}{figures(results)}{end}{after}"
