"""alerts.md: the rules that are on by default, each with its runbook."""

from concento.model.alert_rules import DEFAULTS
from concento.model.alerting import (
    Absence,
    AlertRule,
    Burn,
    Condition,
    Happened,
    Increase,
    Ratio,
    Slow,
    Threshold,
)
from concento.observe.alerts.evaluate import span

from .markdown import code, paragraphs, table


def page() -> str:
    """The page."""
    rows = [
        (f"[`{rule.name}`](#{rule.name})", rule.severity, holds(rule.condition), lasting(rule)) for rule in DEFAULTS
    ]
    return paragraphs(
        "# Alert catalog",
        "The rules that are on without a word of configuration. Each may be [changed or turned "
        "off](configuration.md#alertsrules) by its name; how to be told of them is in [Alerts](../alerts.md).",
        table(("rule", "severity", "holds when", "fires"), rows),
        *(entry(rule) for rule in DEFAULTS),
    )


def entry(rule: AlertRule) -> str:
    """One rule: what it means, and what to do."""
    behind = f" Nobody is told while {code(rule.behind)} explains it for the same server." if rule.behind else ""
    return "\n\n".join(
        (
            f"## {rule.name}",
            f"*{rule.severity}; {holds(rule.condition)}; fires {lasting(rule)}; over after {span(rule.clear_s)}.*",
            rule.means + behind,
            f"**What to do.** {rule.remedy}",
        )
    )


def lasting(rule: AlertRule) -> str:
    """For how long it has to hold."""
    return f"after {span(rule.for_s)}" if rule.for_s else "at once"


def holds(condition: Condition) -> str:
    """What is watched, in a few words."""
    match condition:
        case Threshold(metric, above, below):
            return f"`{metric}` is {'below' if above is None else 'above'} {below if above is None else above:g}"
        case Increase(metric, above, within_s):
            return f"`{metric}` grew by more than {above:g} within {span(within_s)}"
        case Ratio(above, within_s, of, by, calls_min):
            calls = f"{above:.0%} of at least {calls_min} calls of a {by}"
            return f"more than {calls} ended as {code(of)} within {span(within_s)}"
        case Burn(objective, factor, short_s, long_s, of, by, calls_min):
            share = f"{factor * (1 - objective):.1%} of at least {calls_min} calls of a {by} ended as {code(of)}"
            return f"more than {share} within {span(long_s)}, and within {span(short_s)}"
        case Slow(over_s, share, within_s, by, calls_min):
            calls = f"{share:.0%} of at least {calls_min} calls of a {by}"
            return f"more than {calls} took over {over_s:g} s within {span(within_s)}"
        case Absence(metric, server, within_s):
            return f"no `{metric}`" if metric else f"no call of {server or 'any server'} within {span(within_s)}"
        case Happened(what, within_s):
            return f"`{what}` happened within {span(within_s)}"
