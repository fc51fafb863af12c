"""Write the reference pages of the documentation from the code, so that the two can't disagree.

    .venv/bin/python scripts/reference.py            # writes docs/reference/
    .venv/bin/python scripts/reference.py --check    # names the pages that are not up to date, exit 1

What a page says of a key, verb, error, metric or limit is written where that is defined. Only what holds a page
together is written here.
"""

import ast
import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click
from msgspec import Raw
from prometheus_client.parser import text_string_to_metric_families

from concento.app import Hub
from concento.cli.main import cli
from concento.control.config import keys, references
from concento.control.config.kinds import Choice, Entries, Items, Key, Keys, OrOff, WithPlace
from concento.front.identity import Hosts
from concento.front.parser import Refusal
from concento.model import errors, limits, meta
from concento.model.call import ALL, ANONYMOUS, Call
from concento.model.config import Address, ChildReplica, Config, Server
from concento.observe import access_log
from concento.observe.metrics import LABELS
from concento.protocol.modern import STATUS

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "docs" / "reference"
SOURCE: Final = ROOT / "src" / "concento"
NOTICE: Final = "<!-- Written by scripts/reference.py from the code. Change the code, then run `make docs`. -->"


def main() -> int:
    """Write the pages, or say which are out of date."""
    stale = [name for name, text in pages().items() if not (FOLDER / name).exists() or read(name) != text]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"docs/reference/{name} is not what the code says; run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name in stale:
        (FOLDER / name).write_text(pages()[name])
        print(f"  docs/reference/{name}", file=sys.stderr)
    return 0


def read(name: str) -> str:
    """A page as it is."""
    return (FOLDER / name).read_text()


def pages() -> dict[str, str]:
    """Every page by name."""
    return {name: f"{NOTICE}\n\n{make()}" for name, make in PAGES.items()}


# -- configuration.md


def configuration() -> str:
    """Every key, by its place in the file."""
    parts = [
        "# Configuration",
        "One file, `concento.yaml`: YAML, or the same as JSON. `concento check` tells what is wrong with it, "
        "`concento schema` prints its JSON Schema for an editor.",
        "## References",
        sentences(references.__doc__),
    ]
    for path, table in tables():
        parts.append(f"## {heading(path, table.what)}")
        own = {name: key for name, key in table.keys.items() if not is_inherited(path, key)}
        parts += [entry(path, key) for key in own.values()]
        if inherited := [name for name in table.keys if name not in own]:
            linked = [f"[`{name}`](#{slug(f'servers.ALIAS.{name}')})" for name in inherited]
            parts.append(f"As in the server itself: {', '.join(linked)}.")
        if table.later:
            words = ", ".join(f"`{word}`" for word in table.later)
            parts += ["### Keys of later versions", f"Refused by name, since to ignore them could be unsafe: {words}."]
    return "\n\n".join(parts) + "\n"


def tables(path: str = "", table: Keys = keys.ROOT) -> Iterator[tuple[str, Keys]]:
    """Every mapping with fixed keys, with its place in the file."""
    yield path, table
    for key in table.keys.values():
        if not is_inherited(path, key):
            step, inner = opened(key)
            if inner is not None:
                yield from tables(join(path, step), inner)


def opened(key: Key[Any]) -> tuple[str, Keys | None]:
    """The path below a key at which its keys stand, and those keys."""
    step, kind = key.name, key.kind
    while True:
        match kind:
            case Keys():
                return step, kind
            case OrOff() | WithPlace():
                kind = kind.kind
            case Items():
                step, kind = f"{step}[]", kind.kind
            case Entries():
                step, kind = f"{step}.{kind.what.split()[-1].upper()}", kind.kind
            case _:
                return step, None


def is_inherited(path: str, key: Key[Any]) -> bool:
    """Whether a key of a replica is one that its server has, too."""
    return path.endswith("replicas[]") and key in keys.SERVER.keys.values()


def entry(path: str, key: Key[Any]) -> str:
    """One key."""
    place = join(path, key.name)
    facts = [f"*Accepts* {plain(key.kind.accepts())}."]
    if path.startswith("servers.") and key in keys.DEFAULTS.kind.keys.values():  # type: ignore[attr-defined]
        facts.append(f"*Default* what [`defaults.{key.name}`](#{slug(f'defaults.{key.name}')}) says.")
    elif key.default is not None:
        facts.append(f"*Default* `{written(key.default)}`.")
    if key.required:
        facts.append("*Required.*")
    if isinstance(key.kind, Choice) and key.kind.later:
        facts.append(f"*In a later version* {', '.join(f'`{word}`' for word in key.kind.later)}.")
    step, inner = opened(key)
    if inner is not None:
        facts.append(f"*Its keys* [below](#{slug(heading(join(path, step), inner.what))}).")
    example = f"```yaml\n{example_of(path, key)}```"
    return "\n\n".join((f"### `{place}`", plain(key.doc), " ".join(facts), example))


def example_of(path: str, key: Key[Any]) -> str:
    """A configuration that shows the key, or the part of one that it needs."""
    own = [f"{key.name}: {key.example}"]
    if path.startswith("servers."):
        steps = path.split(".")[2:]  # below the alias
        needed = [
            {"url": "https://docs.example.com/mcp"},
            {"command": "[uvx, mcp-server-time]"},
        ][key not in (*keys.ONLY_WITH_URL, keys.BEARER)]
        if steps == ["replicas[]"]:
            own = [f"replicas: [{{url: http://10.0.0.1:9000/mcp, {own[0]}}}, {{url: http://10.0.0.2:9000/mcp}}]"]
            needed = {}
        elif steps:
            inner = own[0] if steps[0] == "credentials" else f"get_current_time: {{{own[0]}}}"
            own = [f"{steps[0]}: {{{inner}}}"]
        if key in (keys.COMMAND, keys.URL, keys.REPLICAS):
            needed = {}
        if key is keys.BALANCE:
            needed = {"replicas": keys.REPLICAS.example}
        lines = [f"{name}: {value}" for name, value in needed.items()] + own
        return "".join(("servers:\n  example:\n", *(f"    {line}\n" for line in lines)))
    if path.startswith("views."):
        own = [f"{path.split('.')[0]}: {{clock: {{{own[0]}}}}}"]
    elif path:
        own = [f"{path}: {{{own[0]}}}"]
    if path.startswith("views") or key is keys.VIEWS:
        own.append(f"servers: {keys.SERVERS.example}")
    return "".join(f"{line}\n" for line in own)


def heading(path: str, what: str) -> str:
    """The title of a table's section."""
    if not path:
        return "At the top"
    return f"`{path}`" if path.endswith(what) else f"`{path}`: {what}"


def written(value: object) -> str:
    """A default as the file would have it."""
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            items = [f'"{item}"' if "[" in str(item) else str(item) for item in value]
            return f"[{', '.join(items)}]"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


# -- cli.md


def command_line() -> str:
    """Every verb."""
    context = click.Context(cli, info_name="concento")
    parts = [
        "# Command line",
        sentences(sys.modules[cli.__module__.rpartition(".")[0]].__doc__).split("\n\n")[1],
        "Where CONFIG is left out, `./concento.yaml` is used, else the user's own "
        "(`$XDG_CONFIG_HOME/concento/concento.yaml`). The examples go with this one:",
        f"<!-- file: concento.yaml -->\n```yaml\nservers: {keys.SERVERS.example}\n```",
    ]
    parts += [text for command, below in verbs(cli, context) for text in verb(command, below)]
    return "\n\n".join(parts) + "\n"


def verbs(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Every verb, and those below a verb, in the order of `--help`."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        below = click.Context(command, parent=context, info_name=name)
        yield command, below
        if isinstance(command, click.Group):
            yield from verbs(command, below)


def verb(command: click.Command, context: click.Context) -> Iterator[str]:
    """One verb: what it does, its options, its example."""
    prose, example = help_of(command)
    yield f"## `{context.command_path}`"
    yield f"`{context.command_path} {' '.join(command.collect_usage_pieces(context))}`"
    yield prose
    rows = [record for param in command.params if (record := param.get_help_record(context))]
    if rows:
        yield table(("option", "meaning"), [(f"`{option}`", meaning) for option, meaning in rows])
    if example:
        language = "json" if example.startswith("{") else "sh"
        note = (
            "" if command.name in _TRIED or language == "json" else "<!-- no-run: the tests of this verb try it -->\n"
        )
        note = "<!-- serve -->\n" if command.name == "serve" else note
        yield f"{note}```{language}\n{example}\n```"


_TRIED: Final = frozenset(("serve", "check", "servers", "tools", "inspect", "call", "schema"))
"""Verbs whose examples run where the page is tried: they need nothing but the file above them, and change nothing."""


def help_of(command: click.Command) -> tuple[str, str]:
    """The prose of a verb's help, and its example."""
    prose, _, example = (command.help or "").partition("\b\n")
    _, _, lines = example.partition("\n")
    stripped = [line.strip() for line in lines.splitlines()]
    return " ".join(prose.split()), "\n".join(stripped).strip()


# -- errors.md


def errors_page() -> str:
    """What an agent may be told, and what ends the program."""
    calls = [one for one in descendants(errors.CallError) if one is not errors.CallError]
    made = names_called()
    own = sorted((one for one in calls if one.code > -32000), key=lambda one: -one.code)
    other = sorted((one for one in calls if one not in own), key=lambda one: one.code)
    statuses = [(str(status), message) for status, message in refusals()]
    exits = [("1", "StartError", one_line(errors.StartError)), ("2", "ConfigError", one_line(errors.ConfigError))]
    parts = [
        "# Errors",
        "A call that gets no result gets a JSON-RPC error. Those that are not the caller's fault say in `data` what a "
        "program needs to go on: `outcome`, `retryable`, where it helps `retryAfterMs` (also as the header "
        "`Retry-After`), and the `traceId` under which the access log has the call. A tool that ran and says that it "
        "failed is no error: its result has `isError: true`.",
        f"The outcome says whether repeating is safe. {attribute_docs(SOURCE / 'model' / 'errors.py')['Outcome']}",
        "The HTTP status below is that of a modern request for which nothing was streamed yet. In a legacy session, "
        "and once a stream has begun, errors travel in 200; so do 429 and 503 where the call may have run, since "
        "proxies repeat those.",
        "## The hub's own",
        *(call_error(one, made) for one in own),
        "## The protocol's",
        *(call_error(one, made) for one in other),
        "Any other code is the server's own, relayed.",
        "## Requests refused on their head",
        "No body was read, so the answer carries no id. The code is -32600.",
        table(("status", "message"), statuses),
        "## What ends the program",
        table(("exit code", "name", "meaning"), exits),
    ]
    return "\n\n".join(parts) + "\n"


def call_error(error: type[errors.CallError], made: set[str]) -> str:
    """One error of calls."""
    facts = (
        f"HTTP {STATUS.get(error.code, 200)}",
        f"fault: {_FAULTS[error.fault]}",
        f"repeating {_repeating(error)}",
        f"outcome `{error.outcome}`",
    )
    notes = [] if error.__name__ in made else ["This version has no reason to raise it."]
    return "\n\n".join(
        (
            f"### {error.code}: {error.__name__}",
            " ".join((one_line(error), *notes)),
            f"*{'; '.join(facts)}.*",
            error.remedy,
        )
    )


def _repeating(error: type[errors.CallError]) -> str:
    if error.retryable:
        return "helps"
    return "may run it twice" if error.outcome == "unknown" else "does not help"


_FAULTS: Final[Mapping[errors.Fault, str]] = {
    "caller": "the caller's",
    "policy": "none, a rule forbids it",
    "upstream": "the server's",
    "us": "the hub's",
}


def descendants(base: type[errors.CallError]) -> Iterator[type[errors.CallError]]:
    """A class and all below it."""
    yield base
    for one in base.__subclasses__():
        if one.__module__ == errors.__name__:
            yield from descendants(one)


def names_called() -> set[str]:
    """The error classes that the source makes somewhere, or whose code it writes out itself."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found.add(node.func.id)
        found |= {one.__name__ for one in descendants(errors.CallError) if f'"code":{one.code}' in text}
    return found


def refusals() -> list[tuple[int, str]]:
    """What the listener answers on a request's head alone: each `Refusal` of its source, and those of the hosts."""
    found: set[tuple[int, str]] = set()
    for path in sorted((SOURCE / "front").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == Refusal.__name__:
                status, reason = node.args[:2]
                text = said(reason)
                if isinstance(status, ast.Constant) and text:
                    found.add((int(str(status.value)), text))
    hosts = Hosts(("localhost",))
    for problem in (hosts.problem(["elsewhere"], []), hosts.problem([], ["https://elsewhere"])):
        assert problem is not None
        found.add((403, problem))
    return sorted(found)


def said(node: ast.expr) -> str:
    """The text of a string in source, limits filled in, an ellipsis for what is only known at run time."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(said(part) for part in parts)
        case ast.FormattedValue(value=ast.Name(id=name)) if hasattr(limits, name):
            return f"{getattr(limits, name)}"
        case ast.FormattedValue():
            return "…"
        case _:
            return ""


# -- metrics.md


def metrics_page() -> str:
    """What a scraper sees of a hub that has had one call, and what a line of the access log holds."""
    families = list(text_string_to_metric_families(asyncio.run(scraped())))
    rows = []
    for family in families:
        labels = sorted(
            {label for sample in family.samples for label in sample.labels} - {"le"}, key=list(LABELS).index
        )
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((f"`{name}`", family.type, ", ".join(f"`{label}`" for label in labels), family.documentation))
    line = attribute_docs(SOURCE / "observe" / "access_log.py")
    fields = [(f"`{name}`", line[name]) for name in access_log.Line.__struct_fields__]
    return (
        "\n\n".join(
            (
                "# Metrics and the access log",
                "Prometheus metrics are at `/metrics` of the admin listener, by default "
                "`http://127.0.0.1:7401/metrics`. A histogram has the usual `_bucket`, `_sum` and `_count`.",
                "## Metrics",
                table(("name", "type", "labels", "meaning"), rows),
                "## Labels",
                table(("label", "meaning"), [(f"`{label}`", meaning) for label, meaning in LABELS.items()]),
                "## The access log",
                "One JSON line a call, where [`telemetry.access_log`](configuration.md#telemetryaccess_log) says. "
                "Names only: no arguments, no results, no credentials. A field that has its usual value is left out.",
                table(("field", "meaning"), fields),
            )
        )
        + "\n"
    )


async def scraped() -> str:
    """The metrics of a hub that has one server, had one call and refused one request."""
    config = Config(servers={"time": Server("time", (ChildReplica((sys.executable, "-c", "")),))})
    hub = await Hub.create(config, keep=False)
    try:
        await hub.listen(Address("127.0.0.1", 0))
        assert hub.listener is not None
        hub.listener.refused(Refusal(404, ""))
        hub.records.close(hub.records.open(Call("tools/call", {}, {}, "now", ALL, ANONYMOUS, Raw(b"{}"))))
        return hub.metrics.text().decode()
    finally:
        await hub.close(drain_s=0)


# -- limits.md, meta.md


def limits_page() -> str:
    """Every hard bound."""
    docs = attribute_docs(SOURCE / "model" / "limits.py")
    rows = [(f"`{name}`", amount(name, getattr(limits, name)), docs[name]) for name in docs]
    return "\n\n".join(("# Limits", sentences(limits.__doc__), table(("name", "value", "meaning"), rows))) + "\n"


def amount(name: str, value: float) -> str:
    """A limit in the unit that its name ends in."""
    if "BYTES" in name and value % 1024 == 0:
        unit, size = ("MiB", limits.MIB) if value % limits.MIB == 0 else ("KiB", 1024)
        return f"{value / size:g} {unit}" + ("/s" if name.endswith("_S") else "")
    return f"{value:,.0f}" + (" s" if name.endswith("_S") else "")


def meta_page() -> str:
    """Every `_meta` key."""
    docs = attribute_docs(SOURCE / "model" / "meta.py")
    rows = [(f"`{getattr(meta, name)}`", docs[name]) for name in docs]
    own = [row for row in rows if meta.OWN_PREFIX in row[0]]
    other = [row for row in rows if row not in own]
    return (
        "\n\n".join(
            (
                "# `_meta` keys",
                sentences(meta.__doc__) + " Other keys of a request or a result are relayed as they are.",
                "## Concento's own",
                table(("key", "meaning"), own),
                "## The specification's",
                table(("key", "meaning"), other),
            )
        )
        + "\n"
    )


# -- shared


def attribute_docs(path: Path) -> dict[str, str]:
    """The string below each assignment of a module or of its classes, by name."""
    found: dict[str, str] = {}
    tree = ast.parse(path.read_text())
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    for body in bodies:
        for node, following in pairwise(body):
            target = node.target if isinstance(node, ast.AnnAssign) else None
            if isinstance(node, ast.Assign):
                target = node.targets[0]  # type: ignore[assignment]
            if isinstance(target, ast.Name) and isinstance(following, ast.Expr):
                found[target.id] = sentences(ast.literal_eval(following.value))
    return found


def sentences(text: str | None) -> str:
    """A docstring as paragraphs without line breaks."""
    assert text
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def one_line(value: object) -> str:
    """The first paragraph of a docstring."""
    return sentences(value.__doc__).partition("\n")[0]


def plain(text: str) -> str:
    """Text whose asterisks mean themselves, outside of code."""
    parts = text.split("`")
    return "`".join(part if index % 2 else part.replace("*", "\\*") for index, part in enumerate(parts))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def join(path: str, step: str) -> str:
    """One step further down in the file."""
    return f"{path}.{step}" if path else step


def slug(title: str) -> str:
    """The anchor of a heading, as the site and code hosts make it."""
    kept = "".join(char for char in title.lower() if char.isalnum() or char in " -_")
    return kept.replace(" ", "-")


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "configuration.md": configuration,
    "cli.md": command_line,
    "errors.md": errors_page,
    "metrics.md": metrics_page,
    "limits.md": limits_page,
    "meta.md": meta_page,
}


if __name__ == "__main__":
    raise SystemExit(main())
