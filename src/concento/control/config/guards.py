"""Guards on content: what may stand in `guards:`, and the values it is read as."""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from ...model.guards import CONTENT_TYPES, Action, Confirm, Guard, Redaction, ResultLimits, Side, Webhook
from ...model.limits import REPLY_BYTES_MAX
from ...model.policy import ANY, Conditions, Role
from ...policy.detectors import DETECTORS, GROUPS, Group
from ...policy.search_cost import compile_searched
from .kinds import (
    Choice,
    Entries,
    Flag,
    Items,
    Key,
    Keys,
    Number,
    Parsed,
    Placed,
    Reader,
    Table,
    Text,
    Whole,
    WithPlace,
)
from .policy import KINDS, PATTERNS, UNLESS, WHEN, conditions_of, kinds_of, refuse_idle, refuse_strangers, texts_of
from .problems import Place, Problems, unknown
from .texts import http_url

_GROUPS: Final[Mapping[str, Group]] = {group: group for group in GROUPS}
_WEBHOOK: Final = Webhook("")

MATCH: Final = Key(
    "match", PATTERNS, "What it is about: patterns over `server.name`; everything if left out.", example='["time.*"]'
)
HOLDS_WHEN: Final = Key("when", WHEN.kind, "It holds where all of this holds.", example="{agents: [ci-bot]}")
HOLDS_UNLESS: Final = Key(
    "unless", UNLESS.kind, "It does not hold where all of this holds.", example="{subjects: [alice]}"
)
CONFIRM: Final[Key[Confirm]] = Key(
    "confirm",
    Choice(("destructive", "always")),
    "Has the user agree before a tool is called: to tools that may change or delete something (`destructive`), by what "
    "counts of their hints, or to all. An agent that can't ask its user is refused.",
    example="destructive",
)
BYTES_MAX: Final = Key("bytes_max", Whole(1, REPLY_BYTES_MAX), "Most bytes of a result, as JSON.", example="200000")
TYPES: Final = Key(
    "types",
    Items(Choice(CONTENT_TYPES), "such as [text, structured]"),
    "Types of content that a result may have. `blob`: a resource that is no text; `structured`: structured content.",
    example="[text, structured]",
)
RESULT: Final = Key(
    "result",
    Keys("a guard's result", BYTES_MAX, TYPES),
    "What a result may be. Another is kept from the caller, who is told that the call ran, and why.",
    example="{bytes_max: 200000}",
)
REDACT: Final = Key(
    "redact",
    Items(WithPlace(Text("a detector or a group of them")), "such as [secrets, email]"),
    f"What is searched for: detectors ({', '.join(DETECTORS)}), or the groups `secrets` and `personal`.",
    example="[secrets, email]",
)
OWN: Final = Key(
    "patterns",
    Entries(
        Parsed(Text("a regular expression in quotes", r"[^\x00]+"), lambda text: compile_searched(text).pattern),
        "name",
        r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,47}",
        "letters, digits, spaces and _ . -, at most 48",
    ),
    "What else is searched for: regular expressions, by the names of what they find. Each repetition has to have an "
    "end, as in `[0-9]{6,10}`.",
    example='{customer number: "CUST-[0-9]{8}"}',
)
ON: Final[Key[tuple[Side, ...]]] = Key(
    "on",
    Items(Choice(("arguments", "result")), "such as [arguments, result]"),
    "Where: in what goes to the server, in what comes from it.",
    Redaction(()).on,
    example="[arguments, result]",
)
ACTION: Final[Key[Action]] = Key(
    "action",
    Choice(("redact", "refuse", "note")),
    "What happens to what is found: `redact` takes it out, `refuse` ends the call, `note` only tells the caller and "
    "the audit record.",
    Redaction(()).action,
    example="refuse",
)
URL: Final = Key(
    "url",
    WithPlace(Parsed(Text("a URL, such as https://dlp.example.com/check", references=True), http_url)),
    "Where it is asked: https, or http on this machine.",
    required=True,
    example="https://dlp.example.com/check",
)
BEARER: Final = Key(
    "bearer",
    Text("a token without spaces", r"[\x21-\x7e]+", references=True),
    "The token that it gets, by reference.",
    example='"${env:API_KEY}"',
)
SECRET: Final = Key(
    "secret",
    Text("a secret of at least 16 characters", r".{16,1024}", references=True),
    "What requests are signed with, by reference: `Concento-Signature: t=TIME,v1=HMAC-SHA256(TIME.BODY)`.",
    example='"${env:SIGNING_SECRET}"',
)
BEFORE: Final = Key("before", Flag(), "Ask it before a server is asked.", _WEBHOOK.before, example="false")
AFTER: Final = Key("after", Flag(), "Ask it after a server has answered.", _WEBHOOK.after, example="false")
TIMEOUT_S: Final = Key(
    "timeout_s", Number(0, 30, above=True), "Seconds it has to answer, each time.", _WEBHOOK.timeout_s, example="1"
)
ON_FAILURE: Final = Key(
    "on_failure",
    Choice(("refuse", "pass")),
    "What happens to a call about which it can't be asked.",
    _WEBHOOK.on_failure,
    example="pass",
)
WEBHOOK_KEYS: Final[tuple[Key[Any], ...]] = (URL, BEARER, SECRET, BEFORE, AFTER, TIMEOUT_S, ON_FAILURE)
WEBHOOK: Final = Key(
    "webhook",
    Keys("a webhook", *WEBHOOK_KEYS),
    "Somebody else who decides: it sees arguments and results, and lets them pass, replaces or refuses them.",
    example="{url: https://dlp.example.com/check}",
)
GUARDS: Final = Key(
    "guards",
    Entries(
        Keys(
            "a guard",
            *(MATCH, KINDS, HOLDS_WHEN, HOLDS_UNLESS, CONFIRM, RESULT, REDACT, OWN, ON, ACTION, WEBHOOK),
        ),
        "guard",
        r"[^\x00-\x1f\x7f]{1,64}",
        "a name of at most 64 characters",
    ),
    "What arguments and results may hold, by names that are told to whoever is refused. They work in the order in "
    "which they stand.",
    example='{no secrets out: {match: ["time.*"], redact: [secrets]}}',
)
_DOES: Final = (CONFIRM, RESULT, REDACT, OWN, WEBHOOK)


def build_guards(
    table: Table, roles: Mapping[str, Role], file: str, reader: Reader, servers: Collection[str] | None = None
) -> tuple[Guard, ...]:
    """The guards. `roles` are those that may be named, `servers` the aliases that patterns may be about; None: any."""
    return tuple(
        _guard(name, guard, place, roles, file, reader, servers)
        for name, (guard, place) in (table.get(GUARDS) or {}).items()
    )


def _guard(
    name: str,
    table: Table,
    place: Place,
    roles: Mapping[str, Role],
    file: str,
    reader: Reader,
    servers: Collection[str] | None,
) -> Guard:
    problems = reader.problems
    if not table.given(*_DOES) and not table.is_misspelt:
        problems.add(
            place, f"the guard {name!r} does nothing: give it 'confirm', 'result', 'redact', 'patterns' or 'webhook'"
        )
    patterns = table.get(MATCH) or ()
    refuse_strangers(patterns, servers, problems)
    when, unless = (conditions_of(table.get(key), roles, problems) for key in (HOLDS_WHEN, HOLDS_UNLESS))
    refuse_idle(table, when, unless, problems, "guard")
    _refuse_idle_confirm(table, when, problems)
    return Guard(
        name,
        texts_of(patterns) or Guard("").patterns,
        kinds_of(table),
        when or ANY,
        unless,
        table.get(CONFIRM),
        _result(table, problems),
        _redaction(table, problems),
        _webhook(table.get(WEBHOOK), reader),
        place=place.in_file(file),
    )


def _refuse_idle_confirm(table: Table, when: Conditions | None, problems: Problems) -> None:
    """Refuse to confirm what can't be."""
    confirm = table.get(CONFIRM)
    if confirm is None:
        return
    if "tool" not in kinds_of(table):
        problems.add(table.place_of(KINDS), "only calls of tools are confirmed: with these kinds nobody would be asked")
    hints = {} if when is None else when.annotations
    if confirm == "destructive" and (hints.get("readOnlyHint") is True or hints.get("destructiveHint") is False):
        told = "'when' leaves only tools that destroy nothing, so that nobody is asked; write 'confirm: always'"
        problems.add(table.place_of(CONFIRM), told)


def _result(table: Table, problems: Problems) -> ResultLimits | None:
    limits = table.get(RESULT)
    if limits is None:
        return None
    if not limits.given(BYTES_MAX, TYPES) and not limits.is_misspelt:
        problems.add(table.place_of(RESULT), "'result' limits nothing: give it 'bytes_max' or 'types'")
    return ResultLimits(limits.get(BYTES_MAX), limits.get(TYPES))


def _redaction(table: Table, problems: Problems) -> Redaction | None:
    if not table.given(REDACT, OWN):
        for key in table.given(ON, ACTION):
            problems.add(table.place_of(key), f"'{key.name}' has no effect without 'redact' or 'patterns'")
        return None
    if table[ON] == ("arguments",) and kinds_of(table) == ("resource",):
        problems.add(table.place_of(ON), "resources are read without arguments: with these kinds nothing is searched")
    own = table.get(OWN) or {}
    for name, (_, place) in own.items():
        if name in DETECTORS:
            problems.add(place, f"{name!r} is a detector's name; take another, or name it in 'redact'")
    patterns = tuple((name, text) for name, (text, _) in own.items())
    return Redaction(_detectors(table.get(REDACT) or (), problems), table[ON], table[ACTION], patterns)


def _detectors(named: tuple[Placed[str], ...], problems: Problems) -> tuple[str, ...]:
    """The detectors that are named, each once, in the table's order."""
    found: set[str] = set()
    for name, place in named:
        if (group := _GROUPS.get(name)) is not None:
            found.update(GROUPS[group])
        elif name in DETECTORS:
            found.add(name)
        else:
            problems.add(place, unknown("detector", name, [*GROUPS, *DETECTORS]))
    return tuple(name for name in DETECTORS if name in found)


def _webhook(table: Table | None, reader: Reader) -> Webhook | None:
    placed = None if table is None else table.get(URL)
    if table is None or placed is None:
        return None
    url, place = placed
    if urlsplit(url).scheme != "https" and not _is_here(urlsplit(url).hostname or ""):
        told = "what calls hold would go to another machine in the clear; write https://, or run it on 127.0.0.1"
        reader.problems.add(place, told)
    if not table[BEFORE] and not table[AFTER]:
        reader.problems.add(table.place_of(BEFORE), "it would never be asked: leave 'before' or 'after' on")
    for secret in (table.get(BEARER), table.get(SECRET)):
        if secret is not None:
            reader.references.keep_secret(secret)
    return Webhook(
        url,
        table[BEFORE],
        table[AFTER],
        table[TIMEOUT_S],
        "pass" if table[ON_FAILURE] == "pass" else "refuse",
        table.get(BEARER),
        table.get(SECRET),
    )


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
