"""`concento policy test`: a table of expected decisions against a configuration.

It starts nothing and asks no server.
"""

import json
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
import yaml
from msgspec import Raw

from ..model.config import Config
from ..model.errors import Forbidden, NeedsScope
from ..model.policy import WORST
from ..model.principal import Principal
from ..model.tenant import DEFAULT_TENANT
from ..policy.decide import Facts, Item, Policy, policy_of
from .common import config_option, counted, json_option, put_json, put_table, read_config, tell

_KINDS = ("tool", "prompt", "resource")
_EXPECTED = ("allow", "hidden", "needs_scope", "deny")
_KNOWN = frozenset(
    {
        "as",
        "agent",
        "tenant",
        "roles",
        "scopes",
        "proof",
        *_KINDS,
        "annotations",
        "args",
        "at",
        "from",
        "meta",
        "expect",
        "rule",
    }
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

    Each item says who (`as`, and agent, tenant, roles, scopes), what (`tool`, `prompt` or `resource`, as server.name;
    with annotations), how (args, at, from, meta) and what is expected: allow, hidden, needs_scope or deny (seen, but
    not so).

    \b
    Example:
      concento policy test decisions.yaml --config concento.yaml
    """
    configuration = read_config(config)
    try:
        cases = yaml.safe_load(Path(file).read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise click.UsageError(f"{file} can't be read: {error}") from None
    if not isinstance(cases, list) or not cases:
        raise click.UsageError(
            f"{file}: expected a list of decisions, such as [{{as: alice, tool: git.push, expect: deny}}]"
        )
    policies: dict[str, Policy] = {}
    results = [_run(file, number, case, configuration, policies) for number, case in enumerate(cases, start=1)]
    failed = [result for result in results if not result["passed"]]
    if as_json:
        put_json({"passed": len(results) - len(failed), "failed": failed, "cases": results if verbose else []})
    else:
        _show(results if verbose else failed)
        tell(f"{len(results) - len(failed)} of {counted(results, 'decision')} as expected")
    raise SystemExit(bool(failed))


def _show(results: list[dict[str, Any]]) -> None:
    if not results:
        return
    from rich.table import Table

    table = Table(
        "", "no.", "who", "what", "expected", "is", "by", "why", box=None, header_style="bold", pad_edge=False
    )
    for result in results:
        table.add_row(
            *("✓" if result["passed"] else "✗", str(result["number"]), result["who"], result["what"]),
            *(result["expected"], result["is"], result["rule"], result["why"]),
        )
    put_table(table)


def _run(file: str, number: int, case: Any, config: Config, policies: dict[str, Policy]) -> dict[str, Any]:
    wrong = _objection(case)
    if wrong is not None:
        raise click.UsageError(f"{file}: item {number}: {wrong}")
    tenant = case.get("tenant", DEFAULT_TENANT)
    if tenant != DEFAULT_TENANT and tenant not in config.tenants:
        raise click.UsageError(f"{file}: item {number}: there is no tenant {tenant!r}")
    kind = next(kind for kind in _KINDS if kind in case)
    alias, _, own = str(case[kind]).partition(".")
    hints = MappingProxyType({**WORST, **(case.get("annotations") or {})})
    item = Item(kind, alias, own, hints)  # type: ignore[arg-type]
    principal = Principal(
        str(case["as"]),
        case.get("agent"),
        tenant,
        case.get("proof", "key"),
        frozenset(case.get("roles") or ()),
        frozenset(case.get("scopes") or ()),
    )
    arguments = None if "args" not in case else Raw(json.dumps(case["args"]).encode())
    meta = {key: Raw(json.dumps(value).encode()) for key, value in (case.get("meta") or {}).items()}
    at = case.get("at")
    now = (
        datetime.now().astimezone()
        if at is None
        else at
        if isinstance(at, datetime)
        else datetime.fromisoformat(str(at))
    )
    facts = Facts(arguments, now.timestamp(), case.get("from"), meta, principal)
    if tenant not in policies:
        policies[tenant] = policy_of(config, tenant)
    reach = policies[tenant].reach(principal)
    decision = reach.decide(item)
    found, rule = decision.verdict, decision.rule
    why = "; ".join(reach.explain(item, facts))
    got: str = found
    if found != "hidden":
        try:
            rule = reach.admit(item, facts).rule
        except NeedsScope:
            got = "needs_scope"
        except Forbidden as error:
            got, why = "deny", error.message
    passed = got == case["expect"] and case.get("rule", rule) == rule
    return {
        "number": number,
        "passed": passed,
        "who": principal.subject + (f" by {principal.agent}" if principal.agent else ""),
        "what": f"{kind} {alias}.{own}",
        "expected": case["expect"] + (f" by {case['rule']}" if "rule" in case else ""),
        "is": got,
        "rule": rule,
        "why": why,
    }


def _objection(case: Any) -> str | None:
    if not isinstance(case, dict):
        return "expected a mapping such as {as: alice, tool: git.push, expect: deny}"
    if strange := sorted(set(map(str, case)) - _KNOWN):
        return f"unknown key {strange[0]!r}; known: {', '.join(sorted(_KNOWN))}"
    if "as" not in case or case.get("expect") not in _EXPECTED:
        return f"it needs 'as', and 'expect': one of {', '.join(_EXPECTED)}"
    if sum(kind in case for kind in _KINDS) != 1 or "." not in str(next(case[kind] for kind in _KINDS if kind in case)):
        return "it needs one of 'tool', 'prompt' and 'resource', as server.name"
    return None
