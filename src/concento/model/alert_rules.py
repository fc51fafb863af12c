"""The rules that are on without a word of configuration, each with what it means and what to do: its runbook.

They are chosen so that they are quiet while nothing is wrong: a few failures of a few calls wake nobody.
"""

from dataclasses import replace
from typing import Final

from .alerting import HOUR_S, AlertRule, Burn, Happened, Increase, Slow, Threshold

RUNBOOKS: Final = "docs/reference/alerts.md"

_RULES: Final = (
    AlertRule(
        "server_down",
        Threshold("concento_server_up", below=1),
        "critical",
        for_s=120,
        says="it is not ready",
        means="A server has not been ready for two minutes: it does not start, can't be reached, or does not list its "
        "tools. Its tools are still listed, from memory, and calls of them fail at once. One that sleeps is not down.",
        remedy="`concento servers` says why, with the last lines that a child wrote; `concento doctor` tries it.",
    ),
    AlertRule(
        "breaker_opened",
        Threshold("concento_server_breaker_open", above=0),
        behind=("server_down",),
        clear_s=300,
        says="a replica failed five times in a row and gets no calls",
        means="A replica of a server failed five times in a row and gets no calls for a while, at first 30 seconds. "
        "Then one call tries it. With other replicas, calls go there.",
        remedy="See in `concento audit query --server NAME --outcome error` what it answered, and whether it is "
        "overloaded: a lower `concurrency_max` or a limit may help it.",
    ),
    AlertRule(
        "errors_fast",
        Burn(0.99, 14.4, 300, HOUR_S),
        "critical",
        behind=("server_down",),
        means="More than 14.4 % of a server's calls ended without a result, over an hour and over the last five "
        "minutes: an objective of 99 % for a month would be used up in two days. Fewer than 20 calls don't count. "
        "That a tool says itself that it failed is no error here.",
        remedy="Look at the errors in `concento audit query --server NAME --outcome error`; most are time-outs or a "
        "server that ends connections.",
    ),
    AlertRule(
        "errors_slow",
        Burn(0.99, 6, 1800, 6 * HOUR_S, calls_min=50),
        "warning",
        behind=("server_down", "errors_fast"),
        means="More than 6 % of a server's calls ended without a result, over six hours and over the last half hour: "
        "an objective of 99 % for a month would be used up in five days. Fewer than 50 calls don't count.",
        remedy="As for `errors_fast`, without haste: the objective is at risk, not the day.",
    ),
    AlertRule(
        "slow_calls",
        Slow(20.0, 0.05, 900, calls_min=50),
        "warning",
        for_s=300,
        behind=("server_down", "errors_fast"),
        means="More than one in twenty of a server's calls took over 20 seconds, for a quarter of an hour: the 95th "
        "percentile is above that. Fewer than 50 calls don't count.",
        remedy="If its tools take that long by nature, give the rule another `over_s`, or a `match` that leaves the "
        "server out. Else see whether calls wait for each other (`concurrency_max`) or it is short of something.",
    ),
    AlertRule(
        "definition_held",
        Threshold("concento_tools_held", above=0),
        "warning",
        behind=("server_down",),
        says="{value:g} of its tools are held back",
        means="A server says something else of a tool than what was approved, or has a new one that somebody has to "
        "look at. The tool is hidden until then.",
        remedy="`concento tools pending` shows what changed; `concento tools approve` lets it be shown.",
    ),
    AlertRule(
        "definition_changed",
        Happened("definition_changed", HOUR_S),
        "info",
        means="A server with `trust: open` changed what it says of a tool. Agents see the new definition already.",
        remedy="Look at it with `concento inspect TOOL`. `trust: pin` would hold such changes back.",
    ),
    AlertRule(
        "audit_failing",
        Threshold("concento_audit_failing", above=0),
        "critical",
        for_s=10,
        says="the audit record can't be written",
        means="The audit record can't be written: the disk is full, or the file is not writable. With `audit: {mode: "
        "strict}` no call is made; else entries wait in memory, and what does not fit is lost and shows as a gap.",
        remedy="Make room on the disk of the audit record. It goes on by itself.",
    ),
    AlertRule(
        "audit_gap",
        Increase("concento_audit_dropped_total", 0, HOUR_S),
        "critical",
        says="{value:g} entries of the audit record were lost lately",
        means="Entries of the audit record were lost, since nothing could be written and no more fitted into memory. "
        "The record says itself where, and how many.",
        remedy="`concento audit verify` names the gap. See `audit_failing` for the cause.",
    ),
    AlertRule(
        "usage_failing",
        Threshold("concento_usage_failing", above=0),
        "critical",
        for_s=60,
        says="what is used can't be written",
        means="What is used can't be written. Nothing is lost while the hub runs: sums wait in memory, and are counted "
        "from the audit record after a crash.",
        remedy="Make room on the disk of `usage`, and see that its folder belongs to the hub's user.",
    ),
    AlertRule(
        "reload_failed",
        Increase("concento_reload_failures_total", 0, 900),
        "warning",
        says="a configuration that was changed was not taken over",
        means="The configuration was changed and not taken over: it has a mistake. The last good one stays.",
        remedy="`concento check` names the mistake, with its line.",
    ),
    AlertRule(
        "account_trouble",
        Happened("account_trouble", HOUR_S),
        "warning",
        means="What users granted at servers can't be read or kept: the vault's key is another, or the state store "
        "does not work. Calls as these users fail.",
        remedy="See what the hub said, and whether `vault.keys` still has the key that was used before.",
    ),
    AlertRule(
        "certificate_ending",
        Happened("certificate_ending", 300),
        "warning",
        means="A certificate of a listener runs out within two weeks, or within a quarter of its life if that is less.",
        remedy="Renew it, in the file that `tls.cert` names: it is taken over without a restart.",
    ),
    AlertRule(
        "certificate_refused",
        Happened("certificate_refused", 300),
        "critical",
        means="A certificate or key was renewed with something that can't be used. The old one stays in use until it "
        "runs out.",
        remedy="Look at the files that `tls` names: both have to belong together, in PEM, without a passphrase.",
    ),
    AlertRule(
        "store_failed",
        Happened("store_failed", 300),
        "critical",
        means="The state store could not be written: what quotas, keys and experiments count may be lost with a "
        "restart.",
        remedy="Make room on the disk of `state`, and see that its folder belongs to the hub's user.",
    ),
    AlertRule(
        "budget_near",
        Happened("budget_near", HOUR_S),
        "warning",
        means="A budget is spent beyond its `soft` part. Callers are told with their results.",
        remedy="`concento usage` says who spends it. Raise it, or have them know.",
    ),
    AlertRule(
        "budget_passed",
        Happened("budget_passed", HOUR_S),
        "critical",
        means="A budget is spent. Calls that cost are refused until its next period, if it is `hard`.",
        remedy="`concento usage` says who spent it. Raise `amount`, or wait for the next day or month.",
    ),
    AlertRule(
        "quota_near",
        Increase("concento_limit_near_total", 0, HOUR_S),
        "info",
        says="{value:g} calls came close to the end of a quota lately",
        means="Calls were let through close to the end of a daily or monthly quota. Soon they are refused.",
        remedy="`concento explain TOOL --as USER` says what is left. Raise `day` or `month` of the limit, or `soft`.",
    ),
    AlertRule(
        "loop_late",
        Threshold("concento_event_loop_lag_seconds", above=1),
        "warning",
        for_s=60,
        says="it was {value:.1f} s late",
        means="The hub itself was more than a second late with everything, in each half of a minute: it has too little "
        "CPU, or does something that takes too long.",
        remedy="Give the machine more CPU, or the hub fewer neighbours; see `concento_calls_in_flight`.",
    ),
    AlertRule(
        "alerts_lost",
        Increase("concento_alerts_lost_total", 0, HOUR_S),
        "critical",
        says="{value:g} messages were given up lately",
        means="Messages about alerts did not arrive for a day, or more of them waited than fit. They are given up.",
        remedy="`concento alerts test CHANNEL` says what the channel answers.",
    ),
)

DEFAULTS: Final = tuple(replace(rule, runbook=f"{RUNBOOKS}#{rule.name}") for rule in _RULES)
