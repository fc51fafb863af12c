"""Alerts: what may stand in `alerts:`, and the values it is read as, the hub's own rules among them."""

import re
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from datetime import time
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from ...model.alert_rules import DEFAULTS
from ...model.alerting import (
    BOUNDS_MAX,
    SEVERITIES,
    WITHIN_S_MAX,
    Absence,
    Alerting,
    AlertRule,
    Bad,
    Burn,
    By,
    Channel,
    Condition,
    EmailChannel,
    Happened,
    Happening,
    Increase,
    Maintenance,
    Ratio,
    Route,
    Severity,
    Slow,
    Step,
    Threshold,
    WebhookChannel,
)
from .kinds import (
    Choice,
    Entries,
    Items,
    Key,
    Keys,
    Number,
    OrOff,
    Parsed,
    Placed,
    Reader,
    Table,
    Text,
    Whole,
    WithPlace,
)
from .problems import Place, Problems, nearest, quoted, unknown
from .texts import http_url

T = TypeVar("T")

RULES_MAX: Final = 200
CHANNELS_MAX: Final = 50
STEPS_MAX: Final = 10
DAY_S: Final = 86_400.0
PAGERDUTY_URL: Final = "https://events.pagerduty.com/v2/enqueue"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_GROUPS: Final = ("rule", "tenant", "server", "tool", "limit", "budget")
_BURN, _RATIO, _SLOW = Burn(0.99), Ratio(0.1), Slow(10.0)
_WINDOW: Final = Number(60, WITHIN_S_MAX)


def _severity_of(text: str) -> Severity:
    return next(one for one in SEVERITIES if one == text)


def _clock(text: str) -> time:
    match = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text)
    if match is None:
        raise ValueError('expected a time of day in quotes, such as "02:30"')
    return time(int(match[1]), int(match[2]))


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (LookupError, ValueError, OSError):
        near = nearest(text, available_timezones())
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"expected a time zone of the IANA database, such as Europe/Rome{hint}") from None


def _address(text: str) -> str:
    if not re.fullmatch(r"[^@\s<>,;:\"()\\\[\]\x00-\x20\x7f]{1,64}@[A-Za-z0-9.-]{1,253}", text) or not text.isascii():
        raise ValueError("expected an address alone, such as ops@example.com")
    return text


def _pair(kind: Choice[T]) -> Items[T]:
    return Items(kind, f"such as [{kind.words[0]}]")


# -- rules

SEVERITY: Final[Key[Severity]] = Key(
    "severity",
    Choice(SEVERITIES),
    "How bad it is. Without routes, `info` is shown and not told.",
    "warning",
    example="critical",
)
FOR_S: Final = Key(
    "for_s",
    Number(0, DAY_S),
    "Seconds for which it has to hold before it fires.",
    AlertRule("", Happened("store_failed")).for_s,
    example="300",
)
CLEAR_S: Final = Key(
    "clear_s",
    Number(0, DAY_S),
    "Seconds for which it must no longer hold before it is over: what comes and goes is one alert.",
    AlertRule("", Happened("store_failed")).clear_s,
    example="300",
)
MATCH: Final = Key(
    "match",
    Entries(
        Text("a name, with * and ? as wildcards", r"[^\x00-\x1f\x7f]{1,256}"),
        "label",
        r"[a-z_]{1,32}",
        "a label, such as server",
    ),
    "Only what has labels that fit: `server`, `tool`, `tenant`, `limit`, `budget`; in a route or window `rule`, too.",
    example='{server: "search*"}',
)
METRIC: Final = Key(
    "metric",
    Text("the name of a gauge or counter, as /metrics has it", r"concento_[a-z_]{1,100}"),
    "A gauge or counter of the hub's, as [the reference](metrics.md) has it. What is counted of calls themselves is "
    "for `ratio`, `burn` and `slow`.",
    example="concento_sessions",
)
ABOVE: Final = Key("above", Number(-1e15, 1e15), "It holds above this number.", example="1000")
BELOW: Final = Key("below", Number(-1e15, 1e15), "It holds below this number.", example="1")
WITHIN_S: Final = Key("within_s", _WINDOW, "The seconds that are looked back, in steps of 30.", example="600")
OF: Final[Key[tuple[Bad, ...]]] = Key(
    "of",
    _pair(Choice(get_args(Bad))),
    "How calls ended that count as bad. `tool_error`: the tool says itself that it failed.",
    _RATIO.of,
    example="[error, tool_error]",
)
BY: Final[Key[By]] = Key("by", Choice(get_args(By)), "What is counted apart.", "server", example="tool")
CALLS_MIN: Final = Key("calls_min", Whole(1, 1_000_000), "With fewer calls it never holds.", example="100")
SHARE_ABOVE: Final = Key("above", Number(0, 1), "The part of the calls above which it holds.", example="0.1")
OVER_S: Final = Key(
    "over_s", Number(0, 300, above=True), "Calls that take longer than so many seconds are slow.", example="5"
)
SHARE: Final = Key(
    "share",
    Number(0, 1),
    "The part of the calls above which it holds: 0.05 watches the 95th percentile.",
    _SLOW.share,
    example="0.01",
)
OBJECTIVE: Final = Key(
    "objective", Number(0.5, 0.99999), "The part of the calls that should end well.", example="0.999"
)
FACTOR: Final = Key(
    "factor", Number(1, 1000), "How many times as fast as allowed the rest is used up.", _BURN.factor, example="6"
)
SHORT_S: Final = Key(
    "short_s", _WINDOW, "The shorter of the two times, in seconds: it ends the alert.", _BURN.short_s, example="1800"
)
LONG_S: Final = Key("long_s", _WINDOW, "The longer of the two times, in seconds.", _BURN.long_s, example="21600")
OF_SERVER: Final = Key(
    "server",
    Text("a server's alias", r"[a-z0-9/_-]{1,100}"),
    "The server whose calls are missed; the whole hub's if left out.",
    example="search",
)
THRESHOLD: Final = Key(
    "threshold",
    Keys("a threshold", METRIC, ABOVE, BELOW),
    "A metric is above or below a number.",
    example="{metric: concento_sessions, above: 1000}",
)
INCREASE: Final = Key(
    "increase",
    Keys("an increase", METRIC, ABOVE, WITHIN_S),
    "A metric that only grows has grown by more than `above` (0 if left out) within a time (600 s if left out).",
    example="{metric: concento_limit_refused_total, above: 100, within_s: 300}",
)
RATIO: Final = Key(
    "ratio",
    Keys("a ratio", SHARE_ABOVE, WITHIN_S, OF, BY, CALLS_MIN),
    "More than a part of the calls ended badly, within a time (300 s if left out), if there were enough (20).",
    example="{above: 0.2, within_s: 600, of: [tool_error]}",
)
BURN: Final = Key(
    "burn",
    Keys("a burn rate", OBJECTIVE, FACTOR, SHORT_S, LONG_S, OF, BY, CALLS_MIN),
    "An objective for calls is used up too fast, over a long and a short time.",
    example="{objective: 0.999}",
)
SLOW: Final = Key(
    "slow",
    Keys("slow calls", OVER_S, SHARE, WITHIN_S, BY, CALLS_MIN),
    "More than a part of the calls took too long, within a time (600 s if left out), if there were enough (50).",
    example="{over_s: 5}",
)
ABSENCE: Final = Key(
    "absence",
    Keys("an absence", METRIC, OF_SERVER, WITHIN_S),
    "No call came for a time (3600 s if left out), or there is no such metric.",
    example="{server: search, within_s: 900}",
)
EVENT: Final[Key[Happening]] = Key(
    "event",
    Choice(get_args(Happening)),
    "Something happened within the last quarter of an hour.",
    example="definition_changed",
)
RUNBOOK: Final = Key(
    "runbook",
    Parsed(Text("a URL, such as https://wiki.example.com/search"), http_url),
    "Where it says what to do; told with the alert.",
    example="https://wiki.example.com/search",
)
CONDITIONS: Final[tuple[Key[Any], ...]] = (THRESHOLD, INCREASE, RATIO, BURN, SLOW, ABSENCE, EVENT)
RULES: Final[Key[dict[str, Placed[Table | None]]]] = Key(
    "rules",
    Entries(
        OrOff(Keys("an alert rule", *CONDITIONS, SEVERITY, FOR_S, CLEAR_S, MATCH, RUNBOOK)),
        "rule",
        r"[a-z][a-z0-9_]{0,47}",
        "small letters, digits and _, at most 48",
    ),
    "Rules of your own, and changes to [the hub's](alerts.md), by their names; `off` turns one off.",
    example="{search_errors: {ratio: {above: 0.2}, match: {server: search}}}",
)

# -- channels

URL: Final = Key(
    "url",
    WithPlace(Parsed(Text("a URL, such as https://alerts.example.com/hook", references=True), http_url)),
    "Where it is posted: https, or http on this machine. It counts as a secret.",
    example="https://alerts.example.com/hook",
)
PRESET: Final[Key[Literal["plain", "slack", "pagerduty"]]] = Key(
    "preset",
    Choice(("plain", "slack", "pagerduty")),
    "The form of what is posted: our own, that of Slack's incoming webhooks, or that of PagerDuty's Events API v2.",
    "plain",
    example="slack",
)
SECRET: Final = Key(
    "secret",
    Text("a secret of at least 16 characters", r".{16,1024}", references=True),
    "What requests are signed with, by reference: `Concento-Signature: t=TIME,v1=HMAC-SHA256(TIME.BODY)`.",
    example='"${env:SIGNING_SECRET}"',
)
BEARER: Final = Key(
    "bearer",
    Text("a token without spaces", r"[\x21-\x7e]+", references=True),
    "The token that it gets, by reference.",
    example='"${env:API_KEY}"',
)
ROUTING_KEY: Final = Key(
    "routing_key",
    Text("an integration key", r"[\x21-\x7e]{1,128}", references=True),
    "PagerDuty's integration key, by reference.",
    example='"${env:API_KEY}"',
)
TIMEOUT_S: Final = Key(
    "timeout_s", Number(0, 60, above=True), "Seconds it has to answer.", WebhookChannel("", "").timeout_s, example="5"
)
WEBHOOK: Final = Key(
    "webhook",
    Keys("a webhook", URL, PRESET, SECRET, BEARER, ROUTING_KEY, TIMEOUT_S),
    "A URL that is posted to.",
    example="{url: https://alerts.example.com/hook}",
)
HOST: Final = Key(
    "host", Text("a host", r"[A-Za-z0-9_.:-]{1,253}"), "The mail server.", required=True, example="smtp.example.com"
)
PORT: Final = Key(
    "port",
    Whole(1, 65535),
    "Its port: 587 for `starttls`, 465 for `implicit`, 25 for `none`, if left out.",
    example="2525",
)
MAIL_TLS: Final[Key[Literal["starttls", "implicit", "none"]]] = Key(
    "tls",
    Choice(("starttls", "implicit", "none")),
    "How it is encrypted; `none` only on this machine.",
    "starttls",
    example="implicit",
)
USER: Final = Key(
    "user", Text("a user's name", r"[^\x00-\x1f\x7f]{1,256}", references=True), "Who signs in.", example="concento"
)
PASSWORD: Final = Key(
    "password",
    Text("a password", r"[^\x00]{1,1024}", references=True),
    "With what, by reference.",
    example='"${env:API_KEY}"',
)
FROM: Final = Key(
    "from", Parsed(Text("an address"), _address), "Whose mail it is.", required=True, example="concento@example.com"
)
TO: Final = Key(
    "to",
    Items(Parsed(Text("an address"), _address), "such as [ops@example.com]"),
    "Who gets it.",
    required=True,
    example="[ops@example.com]",
)
_EMAIL: Final = Keys("e-mail", HOST, PORT, MAIL_TLS, USER, PASSWORD, FROM, TO, TIMEOUT_S)
EMAIL_KEYS: Final = _EMAIL.keys
EMAIL: Final = Key(
    "email",
    _EMAIL,
    "Mail over SMTP.",
    example="{host: smtp.example.com, from: concento@example.com, to: [ops@example.com]}",
)
CHANNELS: Final = Key(
    "channels",
    Entries(
        Keys("a channel", WEBHOOK, EMAIL),
        "channel",
        r"[a-z][a-z0-9_-]{0,31}",
        "small letters, digits, - and _, at most 32",
    ),
    "Where messages go, by names of your choice.",
    example="{ops: {webhook: {url: https://alerts.example.com/hook}}}",
)

# -- routes

_TO: Final = Items(WithPlace(Text("a channel's name")), "such as [ops]")
FOR_SEVERITY: Final[Key[tuple[Severity, ...]]] = Key(
    "severity", _pair(Choice(SEVERITIES)), "Alerts that are so bad; all if left out.", example="[critical]"
)
TO_CHANNELS: Final = Key("channels", _TO, "Who is told at once; `steps` says more.", example="[ops]")
AFTER_S: Final = Key(
    "after_s", Number(0, DAY_S), "Seconds after the first, if nobody has acknowledged it by then.", 0.0, example="900"
)
STEP_CHANNELS: Final = Key("channels", _TO, "Who is told then.", required=True, example="[ops]")
STEPS: Final = Key(
    "steps",
    Items(Keys("a step", AFTER_S, STEP_CHANNELS), "such as [{channels: [ops]}, {after_s: 900, channels: [phone]}]"),
    "Who is told one after the other, until somebody acknowledges it.",
    example="[{channels: [ops]}, {after_s: 900, channels: [ops]}]",
)
GROUP_BY: Final = Key(
    "group_by",
    _pair(Choice(_GROUPS)),
    "Alerts that have these in common are told in one message.",
    Route(()).group_by,
    example="[server]",
)
REPEAT_S: Final = Key(
    "repeat_s",
    OrOff(Number(60, 30 * DAY_S)),
    "Seconds after which it is told again, while nobody has acknowledged it; `off`: never.",
    Route(()).repeat_s,
    example="86400",
)
WAIT_S: Final = Key(
    "wait_s",
    Number(0, 600),
    "Seconds that the first alert of a message waits for others.",
    Route(()).wait_s,
    example="60",
)
ROUTES: Final = Key(
    "routes",
    Items(
        Keys("a route", FOR_SEVERITY, MATCH, TO_CHANNELS, STEPS, GROUP_BY, WAIT_S, REPEAT_S),
        "such as [{severity: [critical], channels: [ops]}]",
    ),
    "Which alerts go where: the first that fits. Without routes, what is `warning` or `critical` goes to all channels.",
    example="[{severity: [critical], channels: [ops]}]",
)
DAYS: Final[Key[tuple[str, ...]]] = Key(
    "days", _pair(Choice(_DAYS)), "The days on which it begins; all if left out.", example="[sat, sun]"
)
BEGINS: Final = Key(
    "from", Parsed(Text("a time of day in quotes"), _clock), "When it begins.", required=True, example='"02:00"'
)
ENDS: Final = Key(
    "to",
    Parsed(Text("a time of day in quotes"), _clock),
    "When it ends; earlier than `from`: on the next day.",
    required=True,
    example='"04:00"',
)
TIMEZONE: Final = Key(
    "timezone",
    Parsed(Text("a time zone, such as Europe/Rome"), _zone),
    "Whose clock is meant; UTC if left out.",
    example="Europe/Rome",
)
MAINTENANCE: Final = Key(
    "maintenance",
    Entries(
        Keys("a maintenance window", DAYS, BEGINS, ENDS, TIMEZONE, MATCH),
        "window",
        r"[^\x00-\x1f\x7f]{1,64}",
        "a name of at most 64 characters",
    ),
    "Times of the week in which nobody is told; alerts are shown all the same, and told afterwards if they still fire.",
    example='{nightly: {from: "02:00", to: "04:00"}}',
)
ALERTS: Final[Key[Table | None]] = Key(
    "alerts",
    OrOff(Keys("alerts", RULES, CHANNELS, ROUTES, MAINTENANCE)),
    "What is watched and who is told. [The hub's own rules](alerts.md) are on without it; `off`: nothing is watched.",
    example="{channels: {ops: {webhook: {url: https://alerts.example.com/hook}}}}",
)


def build_alerts(root: Table, reader: Reader, servers: Collection[str]) -> Alerting:
    """The alerts as configured, the hub's own rules filled in. `servers`: keys that patterns may name."""
    table = root.get(ALERTS)
    if table is None:
        return Alerting() if root.given(ALERTS) else Alerting(DEFAULTS)
    problems = reader.problems
    rules = _rules(table, servers, problems)
    channels = _channels(table, reader)
    return Alerting(
        rules,
        MappingProxyType(channels),
        _routes(table, channels, servers, problems),
        _maintenance(table, servers, problems),
    )


# -- rules


def _rules(table: Table, servers: Collection[str], problems: Problems) -> tuple[AlertRule, ...]:
    rules = {rule.name: rule for rule in DEFAULTS}
    given = table.get(RULES) or {}
    for name, (rule, place) in given.items():
        if rule is None:
            if name not in rules:
                problems.add(place, f"there is nothing to turn off: {unknown('rule', name, rules)}")
            rules.pop(name, None)
        elif (built := _rule(name, rule, place, rules.get(name), servers, problems)) is not None:
            rules[name] = built
    if len(rules) > RULES_MAX:
        told = f"{len(rules)} rules are more than {RULES_MAX}; one with `match` may watch several things"
        problems.add(table.place_of(RULES), told)
    bounds = {rule.condition.over_s for rule in rules.values() if isinstance(rule.condition, Slow)}
    if len(bounds) > BOUNDS_MAX:
        told = f"rules have {len(bounds)} different 'over_s'; calls are timed against {BOUNDS_MAX} at most"
        problems.add(table.place_of(RULES), told)
    return tuple(rules.values())


def _rule(
    name: str, table: Table, place: Place, own: AlertRule | None, servers: Collection[str], problems: Problems
) -> AlertRule | None:
    given = table.given(*CONDITIONS)
    if own is None and not given:
        if not table.is_misspelt:
            near = nearest(name, [rule.name for rule in DEFAULTS])
            hint = f"; did you mean the hub's {near!r}?" if near else ""
            conditions = ", ".join(f"'{key.name}'" for key in CONDITIONS)
            problems.add(place, f"the rule {name!r} watches nothing: give it one of {conditions}{hint}")
        return None
    if len(given) > 1:
        problems.add(
            table.place_of(given[1]),
            f"a rule watches one thing; {name!r} has {' and '.join(repr(key.name) for key in given)}",
        )
        return None
    condition = own.condition if own is not None else None
    if given:
        key = given[0]
        if own is not None and _key_of(own.condition) is not key:
            told = (
                f"{name!r} is the hub's own rule, with {_key_of(own.condition).name!r}; take another name for this one"
            )
            problems.add(table.place_of(key), told)
            return None
        condition = _condition(key, table, own, problems)
    if condition is None:
        return None
    rule = own if own is not None else AlertRule(name, condition)
    return replace(
        rule,
        condition=condition,
        says=rule.says if _metric(condition) == _metric(rule.condition) else "",
        severity=table[SEVERITY] if table.given(SEVERITY) else rule.severity,
        for_s=table[FOR_S] if table.given(FOR_S) else rule.for_s,
        clear_s=table[CLEAR_S] if table.given(CLEAR_S) else rule.clear_s,
        match=_match(table, servers, problems),
        runbook=table.get(RUNBOOK) or rule.runbook,
    )


def _metric(condition: Condition) -> str | None:
    return condition.metric if isinstance(condition, Threshold | Increase) else None


def _key_of(condition: Condition) -> Key[Any]:
    kinds = (Threshold, Increase, Ratio, Burn, Slow, Absence, Happened)
    return CONDITIONS[kinds.index(type(condition))]


def _condition(key: Key[Any], table: Table, own: AlertRule | None, problems: Problems) -> Condition | None:
    """What is watched: what the file says, over what the hub's own rule does."""
    value = table.get(key)
    if value is None:
        return None  # refused, and told
    if key is EVENT:
        return Happened(table.get(EVENT) or "store_failed")
    part: Table = value
    condition: Any = own.condition if own is not None else _EMPTY[key.name]
    names = {field.name for field in fields(condition)}
    assert isinstance(key.kind, Keys)
    asked = [one for one in key.kind.keys.values() if one.name in names and part.get(one) is not None]
    condition = replace(condition, **{one.name: part.get(one) for one in asked})
    return condition if _is_whole(condition, part, problems) else None


_EMPTY: Final[Mapping[str, Condition]] = {
    "threshold": Threshold(""),
    "increase": Increase(""),
    "ratio": Ratio(-1.0),
    "burn": Burn(-1.0),
    "slow": Slow(-1.0),
    "absence": Absence(),
}


def _is_whole(condition: Condition, part: Table, problems: Problems) -> bool:
    """Whether nothing is missing, and nothing contradicts itself."""
    wrong = None
    match condition:
        case Threshold(metric="") | Increase(metric=""):
            wrong = "it needs 'metric': what is compared"
        case Threshold(above=None, below=None):
            wrong = "it needs 'above' or 'below'"
        case Threshold(above=float(), below=float()):
            wrong = "it takes 'above' or 'below', not both; write two rules"
        case Ratio(above=-1.0):
            wrong = "it needs 'above': which part of the calls"
        case Slow(over_s=-1.0):
            wrong = "it needs 'over_s': what is slow"
        case Burn(objective=-1.0):
            wrong = "it needs 'objective': which part of the calls should end well"
        case Burn(short_s=short_s, long_s=long_s) if short_s >= long_s:
            wrong = f"'short_s' ({short_s:g}) has to be less than 'long_s' ({long_s:g})"
        case Burn(objective=objective, factor=factor) if factor * (1 - objective) >= 1:
            wrong = f"{factor:g} times what an objective of {objective:g} allows is more than all calls; lower 'factor'"
        case Absence(metric=str(), server=str()):
            wrong = "it takes 'metric' or 'server', not both"
        case _:
            return True
    if not part.is_misspelt:
        problems.add(part.place, wrong)
    return False


def _match(table: Table, servers: Collection[str], problems: Problems) -> Mapping[str, str]:
    match = {name: pattern for name, (pattern, _) in (table.get(MATCH) or {}).items()}
    server = match.get("server")
    if server is not None and not set(server) & set("*?[") and server not in servers:
        problems.add((table.get(MATCH) or {})["server"].place, unknown("server", server, servers))
    return MappingProxyType(match)


# -- channels


def _channels(table: Table, reader: Reader) -> dict[str, Channel]:
    problems = reader.problems
    channels: dict[str, Channel] = {}
    given = table.get(CHANNELS) or {}
    for name, (channel, place) in given.items():
        if len(channel.given(WEBHOOK, EMAIL)) != 1 and not channel.is_misspelt:
            problems.add(place, f"the channel {name!r} needs 'webhook' or 'email', one of them")
        elif (webhook := channel.get(WEBHOOK)) is not None:
            if (built := _webhook(name, webhook, reader)) is not None:
                channels[name] = built
        elif (email := channel.get(EMAIL)) is not None and (mail := _email(name, email, reader)) is not None:
            channels[name] = mail
    if len(given) > CHANNELS_MAX:
        problems.add(table.place_of(CHANNELS), f"{len(given)} channels are more than {CHANNELS_MAX}")
    return channels


def _webhook(name: str, table: Table, reader: Reader) -> WebhookChannel | None:
    problems = reader.problems
    preset, placed, routing_key = table[PRESET], table.get(URL), table.get(ROUTING_KEY)
    if preset == "pagerduty" and routing_key is None and not table.given(ROUTING_KEY):
        problems.add(table.place, "PagerDuty needs 'routing_key': the integration key of an Events API v2 integration")
    if preset != "pagerduty" and table.given(ROUTING_KEY):
        problems.add(table.place_of(ROUTING_KEY), "'routing_key' is PagerDuty's; write 'preset: pagerduty'")
    if placed is None:
        if preset != "pagerduty" and not table.given(URL) and not table.is_misspelt:
            problems.add(table.place, "a webhook needs the key 'url'")
            return None
        placed = Placed(PAGERDUTY_URL, table.place)
    url, place = placed
    if urlsplit(url).scheme != "https" and not _is_here(urlsplit(url).hostname or ""):
        problems.add(place, "alerts would go to another machine in the clear; write https://, or run it on 127.0.0.1")
    for secret in (table.get(SECRET), table.get(BEARER), routing_key, url if table.given(URL) else None):
        if secret is not None:
            reader.references.keep_secret(secret)
    return WebhookChannel(name, url, preset, table.get(SECRET), table.get(BEARER), routing_key, table[TIMEOUT_S])


def _email(name: str, table: Table, reader: Reader) -> EmailChannel | None:
    problems = reader.problems
    host, sender, to, tls = table.get(HOST), table.get(FROM), table.get(TO), table[MAIL_TLS]
    if host is None or sender is None or to is None:
        return None
    if tls == "none" and not _is_here(host):
        problems.add(table.place_of(MAIL_TLS), f"mail to {host} would go in the clear; write starttls or implicit")
    user, password = table.get(USER), table.get(PASSWORD)
    if (user is None) != (password is None) and len(table.given(USER, PASSWORD)) == 1:
        problems.add(table.place, "'user' and 'password' belong together; give both or none")
    if password is not None:
        reader.references.keep_secret(password)
    port = table.get(PORT) or {"starttls": 587, "implicit": 465, "none": 25}[tls]
    return EmailChannel(name, host, sender, to, port, tls, user, password, table[TIMEOUT_S])


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# -- routes


def _routes(
    table: Table, channels: Mapping[str, Channel], servers: Collection[str], problems: Problems
) -> tuple[Route, ...]:
    given = table.get(ROUTES)
    if given is None:
        return (Route((Step(tuple(channels)),), ("warning", "critical")),) if channels else ()
    known = [*(table.get(CHANNELS) or {})]
    return tuple(_route(route, known, servers, problems) for route in given)


def _route(table: Table, known: Collection[str], servers: Collection[str], problems: Problems) -> Route:
    if not table.given(TO_CHANNELS, STEPS) and not table.is_misspelt:
        problems.add(table.place, "a route needs 'channels' or 'steps': who is told")
    if len(table.given(TO_CHANNELS, STEPS)) > 1:
        problems.add(table.place_of(TO_CHANNELS), "a route takes 'channels' or 'steps'; the first step tells at once")
    steps = [Step(_named(table.get(TO_CHANNELS) or (), known, problems))] if table.given(TO_CHANNELS) else []
    parts = table.get(STEPS) or ()
    for part in parts:
        step = Step(_named(part.get(STEP_CHANNELS) or (), known, problems), part[AFTER_S])
        if steps and step.after_s <= steps[-1].after_s:
            least = f"{steps[-1].after_s:g}"
            problems.add(part.place, f"'after_s' has to be more than {least}, that of the step before")
        steps.append(step)
    if len(steps) > STEPS_MAX:
        problems.add(table.place_of(STEPS), f"{len(steps)} steps are more than {STEPS_MAX}")
    return Route(
        tuple(steps),
        table.get(FOR_SEVERITY) or SEVERITIES,
        _match(table, servers, problems),
        table[GROUP_BY],
        table[WAIT_S],
        table.get(REPEAT_S) if table.given(REPEAT_S) else REPEAT_S.default,
    )


def _named(names: tuple[Placed[str], ...], known: Collection[str], problems: Problems) -> tuple[str, ...]:
    for name, place in names:
        if name not in known:
            problems.add(place, unknown("channel", name, known))
    return tuple(dict.fromkeys(name for name, _ in names))


def _maintenance(table: Table, servers: Collection[str], problems: Problems) -> tuple[Maintenance, ...]:
    windows = []
    for name, (window, place) in (table.get(MAINTENANCE) or {}).items():
        begins, ends = window.get(BEGINS), window.get(ENDS)
        if begins is None or ends is None:
            continue
        if begins == ends:
            problems.add(place, f'{quoted(name)} begins when it ends; for a whole day write from "00:00" to "23:59"')
        days = tuple(_DAYS.index(day) for day in window.get(DAYS) or _DAYS)
        zone = window.get(TIMEZONE) or ZoneInfo("UTC")
        windows.append(Maintenance(name, begins, ends, days, zone, _match(window, servers, problems)))
    return tuple(windows)
