"""`concento policy test`: a table of expected decisions, held against a configuration. It asks no server."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, get_args

import click
import msgspec
from msgspec import Raw

from ..control.config.document import Node, parse
from ..control.config.kinds import Choice, Entries, Flag, Items, Key, Keys, Parsed, Reader, Schema, Table, Text
from ..control.config.policy import Values, plain
from ..control.config.problems import Place, Problems, Refused, unknown
from ..control.config.references import References
from ..model.config import Config
from ..model.policy import ItemKind
from ..model.principal import Principal, Proof
from ..model.tenant import DEFAULT_TENANT
from ..policy.decide import Facts, Item, Policy, policy_of
from ..policy.hints import WORST
from .common import config_option, counted, json_option, put_json, put_table, read_config, refuse, tell

Expected = Literal["allow", "hidden", "needs_scope", "deny"]
FILE_BYTES_MAX: Final = 4 * 1024 * 1024


# -- what may stand in the file


class _Arguments:
    """Any value, as the arguments of a call."""

    def read(self, node: Node, reader: Reader) -> Raw:
        """The value as JSON."""
        return Raw(msgspec.json.encode(plain(node)))

    def schema(self) -> Schema:
        """Anything."""
        return {}

    def accepts(self) -> str:
        """Anything."""
        return "any value"


def _named(text: str) -> tuple[str, str]:
    alias, _, own = text.partition(".")
    if not alias or not own:
        raise ValueError("expected server.name, such as git.push")
    return alias, own


def _time(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = datetime.min
    if at.tzinfo is None:
        raise ValueError('expected a time with its offset in quotes, such as "2026-11-26T09:00:00+01:00"')
    return at.timestamp()


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("expected an IP address such as 10.1.2.3") from None


_NAME: Final = Text("a name", r"[^\x00]{1,1024}", as_written=True)
_SERVER_NAME: Final = Parsed(Text("server.name, such as git.push"), _named)
_WHO: Final = Key("as", _NAME, "The user.", required=True, example="alice")
_AGENT: Final = Key("agent", _NAME, "The agent that acts for them.", example="claude-code")
_BEHIND: Final = Items(_NAME, "such as [planner]", 0)
_CHAIN: Final[Key[tuple[str, ...]]] = Key("chain", _BEHIND, "Agents behind that one.", (), example="[planner]")
_TENANT: Final = Key("tenant", _NAME, "Their tenant.", DEFAULT_TENANT, example="acme")
_ROLES: Final[Key[tuple[str, ...]]] = Key(
    "roles", Items(_NAME, "such as [developer]", 0), "Roles their credential names.", ()
)
_SCOPES: Final[Key[tuple[str, ...]]] = Key("scopes", Items(_NAME, "such as [git:write]", 0), "Scopes they have.", ())
_PROOF: Final[Key[Proof]] = Key("proof", Choice(get_args(Proof)), "How it was proved who calls.", "key")
_TOOL: Final = Key("tool", _SERVER_NAME, "The tool.", example="git.push")
_PROMPT: Final = Key("prompt", _SERVER_NAME, "The prompt.", example="docs.summary")
_RESOURCE: Final = Key("resource", _SERVER_NAME, "The resource.", example="docs.file:///readme")
_HINTS: Final = Key("annotations", Entries(Flag(), "hint", "|".join(WORST), ", ".join(WORST)), "What the tool says.")
_ARGS: Final = Key("args", _Arguments(), "The arguments.", example="{branch: main}")
_AT: Final = Key("at", Parsed(Text("a time"), _time), "When.", example='"2026-11-26T09:00:00+01:00"')
_FROM: Final = Key("from", Parsed(Text("an address"), _address), "From where.", example="10.1.2.3")
_META: Final = Key("meta", Values(), "The request's `_meta`.", example="{ticket: A-1}")
_EXPECT: Final[Key[Expected]] = Key("expect", Choice(get_args(Expected)), "What is expected.", required=True)
_RULE: Final = Key("rule", _NAME, "The rule or role that decides.", example="no deletes")
_THINGS: Final[tuple[tuple[Key[tuple[str, str]], ItemKind], ...]] = (
    (_TOOL, "tool"),
    (_PROMPT, "prompt"),
    (_RESOURCE, "resource"),
)
CASES: Final = Items(
    Keys(
        "a decision",
        *(_WHO, _AGENT, _CHAIN, _TENANT, _ROLES, _SCOPES, _PROOF, _TOOL, _PROMPT, _RESOURCE),
        *(_HINTS, _ARGS, _AT, _FROM, _META, _EXPECT, _RULE),
    ),
    "such as [{as: alice, tool: git.push, expect: deny}]",
)


@click.group(name="policy")
def command() -> None:
    """Test policies.

    \b
    Example:
      concento policy test decisions.yaml
    """


@command.command(name="test")
@click.argument("file", type=click.Path(dir_okay=False), help="YAML: a list of expected decisions.")
@config_option
@json_option
@click.option("--verbose", "-v", is_flag=True, help="Show those that are as expected, too.")
def test(file: str, config: str | None, as_json: bool, verbose: bool) -> None:
    """Run a table of expected decisions; exit 1 if any is another.

    Each item says who (`as`, and agent, chain, tenant, roles, scopes, proof), what (`tool`, `prompt` or `resource`, as
    server.name; with annotations), how (args, at, from, meta) and what is expected: allow, hidden, needs_scope or deny
    (seen, but not so); `rule` names the rule that has to decide. Without `at` it is now.

    \b
    Example:
      concento policy test decisions.yaml --config concento.yaml
    """
    configuration = read_config(config)
    problems = Problems()
    cases = read_cases(_text(file), configuration, problems)
    policies = _policies(configuration, {case.principal.tenant for case in cases})
    if problems:
        refuse(problems.error(file))
    results = [run(case, policies[case.principal.tenant]) for case in cases]
    failed = [result for result in results if not result["passed"]]
    if as_json:
        put_json({"passed": len(results) - len(failed), "failed": failed, "cases": results if verbose else []})
    else:
        _show(results if verbose else failed)
        tell(f"{len(results) - len(failed)} of {counted(results, 'decision')} as expected")
    raise SystemExit(bool(failed))


@dataclass(frozen=True, slots=True)
class Case:
    """One decision that is expected."""

    line: int
    item: Item
    principal: Principal
    facts: Facts
    expect: Expected
    rule: str | None


def read_cases(text: str, config: Config, problems: Problems) -> list[Case]:
    """The decisions of a file."""
    root = parse(text, problems)
    if root is None:
        if not problems:
            problems.add(Place(1, 1), f"expected a list of decisions, {CASES.expected}")
        return []
    try:
        tables = CASES.read(root, Reader(problems, References({}, Path())))
    except Refused as refused:
        problems.add(*refused.problem)
        return []
    now_s = time.time()
    return [case for table in tables if (case := _case(table, config, now_s, problems)) is not None]


def _case(table: Table, config: Config, now_s: float, problems: Problems) -> Case | None:
    given = table.given(*(key for key, _ in _THINGS))
    if len(given) != 1 and not table.is_misspelt:
        problems.add(table.place, "a decision is about one thing: give it one of 'tool', 'prompt' and 'resource'")
    tenant = table[_TENANT]
    if tenant != DEFAULT_TENANT and tenant not in config.tenants:
        problems.add(table.place_of(_TENANT), unknown("tenant", tenant, (DEFAULT_TENANT, *config.tenants)))
    if problems:
        return None
    name, kind = next((named, kind) for key, kind in _THINGS if (named := table.get(key)) is not None)
    hints = {hint: value for hint, (value, _) in (table.get(_HINTS) or {}).items()}
    roles, scopes = table[_ROLES], table[_SCOPES]
    who, chain = str(table.get(_WHO)), table[_CHAIN]
    principal = Principal(who, table.get(_AGENT), tenant, table[_PROOF], frozenset(roles), frozenset(scopes), chain)
    at, meta = table.get(_AT), table.get(_META) or {}
    raw_meta = {key: Raw(msgspec.json.encode(value)) for key, value in meta.items()}
    facts = Facts(table.get(_ARGS), now_s if at is None else at, table.get(_FROM), raw_meta, principal)
    item = Item(kind, *name, {**WORST, **hints})
    return Case(table.place.line, item, principal, facts, table[_EXPECT], table.get(_RULE))


def run(case: Case, policy: Policy) -> dict[str, Any]:
    """What is decided of a case, and whether that was expected."""
    item, principal = case.item, case.principal
    told = policy.reach(principal).explanation(item, case.facts)
    return {
        "line": case.line,
        "passed": told.verdict == case.expect and case.rule in (None, told.rule),
        "who": principal.subject + (f" by {principal.agent}" if principal.agent else ""),
        "what": f"{item.kind} {item.alias}.{item.own}",
        "expected": case.expect + (f" by {case.rule}" if case.rule else ""),
        "is": told.verdict,
        "rule": told.rule,
        "why": "; ".join(told.lines()),
    }


def _text(file: str) -> str:
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise click.UsageError(f"{file} has more than {FILE_BYTES_MAX} bytes; divide it")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file} can't be read: {error}") from None


def _policies(config: Config, tenants: set[str]) -> Mapping[str, Policy]:
    try:
        return {tenant: policy_of(config, tenant) for tenant in tenants}
    except ValueError as error:
        tell(f"the policy can't be used: {error}")
        raise SystemExit(2) from None


def _show(results: list[dict[str, Any]]) -> None:
    if not results:
        return
    from rich.table import Table as Shown
    from rich.text import Text as Plain

    columns = ("", "line", "who", "what", "expected", "is", "by", "why")
    shown = Shown(*columns, box=None, header_style="bold", pad_edge=False)
    for result in results:
        cells = (result["line"], *(result[name] for name in ("who", "what", "expected", "is", "rule", "why")))
        shown.add_row("✓" if result["passed"] else "✗", *(Plain(str(cell)) for cell in cells))
    put_table(shown)
