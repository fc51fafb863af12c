"""Roles and rules: what may stand in `roles:` and `policies:`, and the values it is read as."""

import ipaddress
import math
import re
from collections.abc import Collection, Iterable, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from ...model.config import Validate
from ...model.policy import ALL_KINDS, ANY, ENGINES, WORST, Conditions, Hours, ItemKind, Role, Rule, Test
from ...policy.expressions import compile_bounded
from ...policy.paths import parse_path
from .document import MappingNode, Node, ScalarNode, SequenceNode
from .kinds import (
    Choice,
    Entries,
    Flag,
    Items,
    Key,
    Keys,
    Parsed,
    Placed,
    Reader,
    Schema,
    Table,
    Text,
    WithPlace,
    found,
)
from .problems import Problems, Refused, nearest, quoted, unknown
from .texts import pattern

ROLE_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}"
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_OPS: Final[tuple["_Operation", ...]] = ("eq", "ne", "in", "not_in", "lt", "le", "gt", "ge", "matches", "exists")
_Operation = Literal["eq", "ne", "in", "not_in", "lt", "le", "gt", "ge", "matches", "exists"]
_OPERATIONS: Final[Mapping[str, _Operation]] = {op: op for op in _OPS}


# -- kinds of values that only rules have


class Values:
    """Any plain values, under any names: the options of another engine."""

    def read(self, node: Node, reader: Reader) -> Mapping[str, Any]:
        """The values."""
        if not isinstance(node, MappingNode):
            raise Refused(node.place, f"expected a mapping, found {found(node)}")
        return MappingProxyType({name: plain(entry.node) for name, entry in node.entries.items()})

    def schema(self) -> Schema:
        """Anything."""
        return {"type": "object"}

    def accepts(self) -> str:
        """Anything."""
        return "a mapping; what is in it the engine says"


class Tests:
    """What has to hold of values: by path or key, one value to be equal to, or a mapping of operations."""

    def __init__(self, what: str) -> None:
        self.what = what

    def read(self, node: Node, reader: Reader) -> tuple[tuple[str, Test], ...]:
        """The tests."""
        if not isinstance(node, MappingNode):
            raise Refused(node.place, f"expected a mapping, each key a {self.what}; found {found(node)}")
        tests: list[tuple[str, Test]] = []
        for name, (place, child) in node.entries.items():
            if self.what == "path":
                try:
                    parse_path(name)
                except ValueError as error:
                    reader.problems.add(place, f"{quoted(name)}: {error}")
                    continue
            try:
                if not isinstance(child, MappingNode):
                    op: _Operation = "in" if isinstance(child, SequenceNode) else "eq"
                    tests.append((name, Test(op, _operand(op, child))))
                    continue
                if not child.entries:
                    raise Refused(child.place, f"expected operations: {', '.join(_OPS)}; an object is {{eq: {{…}}}}")
            except Refused as refused:
                reader.problems.add(*refused.problem)
                continue
            tests += self._operations(name, child, reader)
        if not node.entries:
            raise Refused(node.place, f"expected at least one {self.what}")
        return tuple(tests)

    def _operations(self, name: str, node: MappingNode, reader: Reader) -> Iterable[tuple[str, Test]]:
        for written, (place, value) in node.entries.items():
            op = _OPERATIONS.get(written)
            if op is None:
                reader.problems.add(place, unknown("operation", written, _OPS))
                continue
            try:
                yield name, Test(op, _operand(op, value))
            except Refused as refused:
                reader.problems.add(*refused.problem)

    def schema(self) -> Schema:
        """Values, or operations."""
        return {"type": "object"}

    def accepts(self) -> str:
        """Values, or operations."""
        return f"a mapping; each key a {self.what}, each value what has to be there, or {{{', '.join(_OPS)}: …}}"


def _operand(op: _Operation, node: Node) -> Any:
    value = plain(node)
    if op in ("in", "not_in"):
        if not isinstance(value, tuple) or not value:
            raise Refused(node.place, f"'{op}' expects a list with something in it, found {found(node)}")
    elif op in ("lt", "le", "gt", "ge"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refused(node.place, f"'{op}' expects a number, found {found(node)}")
    elif op == "exists":
        if not isinstance(value, bool):
            raise Refused(node.place, f"'exists' expects true or false, found {found(node)}")
    elif op == "matches":
        if not isinstance(value, str):
            raise Refused(node.place, f"'matches' expects a regular expression in quotes, found {found(node)}")
        try:
            return compile_bounded(value)
        except ValueError as error:
            raise Refused(node.place, str(error)) from None
    if not _is_finite(value):
        raise Refused(node.place, "expected a number that is not infinite")
    return value


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, tuple):
        return all(map(_is_finite, value))
    return not isinstance(value, dict) or all(map(_is_finite, value.values()))


def plain(node: Node) -> Any:
    """What a node says, as plain values."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, SequenceNode):
        return tuple(plain(item) for item in node.items)
    if isinstance(node, MappingNode):
        return {name: plain(entry.node) for name, entry in node.entries.items()}
    raise AssertionError(node)


def _days(text: str) -> tuple[int, ...]:
    first, dash, last = text.lower().partition("-")
    if first not in _DAYS or (dash and last not in _DAYS):
        near = nearest(first, _DAYS)
        hint = f"; did you mean {near!r}?" if near and near != first else ""
        raise ValueError(f"expected a day such as mon, or days such as mon-fri{hint}")
    begin = _DAYS.index(first)
    end = _DAYS.index(last) if dash else begin
    return tuple((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def _minute(text: str) -> int:
    match = re.fullmatch(r"([01]?[0-9]|2[0-4]):([0-5][0-9])", text)
    minute = int(match[1]) * 60 + int(match[2]) if match else 1441
    if minute > 24 * 60:
        raise ValueError('expected a time of the day in quotes, such as "08:30"')
    return minute


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):
        raise ValueError("expected a time zone such as Europe/Rome or UTC") from None
    return text


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError("expected a network such as 10.0.0.0/8, or an address") from None


def _cel(text: str) -> str:
    from ...policy.cel import compile_cel  # only where a file has any: it brings much in

    compile_cel(text, True)
    return text


def _kind(text: str) -> ItemKind:
    singular = text.removesuffix("s")
    for kind in ALL_KINDS:
        if kind == singular:
            return kind
    raise ValueError("expected tools, prompts or resources")


def _glob(text: str) -> str:
    if set(text) & set("[]{}"):
        raise ValueError("a pattern knows the wildcards * and ? only")
    return text


PATTERNS: Final = Items(
    WithPlace(Parsed(Text("a pattern over server.tool, such as git.*"), pattern)), 'such as ["git.*"]'
)
_NAMES: Final = Items(Parsed(Text("a name, with * and ? as wildcards"), _glob), 'such as [alice, "*@example.com"]')
KINDS: Final = Key(
    "kinds",
    Items(Parsed(Text("tools, prompts or resources"), _kind), "such as [tools]"),
    "What it is about: tools, prompts, resources (templates and skills among them); all if left out.",
    example="[tools]",
)
ALLOW: Final = Key(
    "allow", PATTERNS, "What is granted: patterns over `server.name`.", example='["git.*", "docs.read_*"]'
)
DENY: Final = Key("deny", PATTERNS, "What is denied, whatever grants it.", example='["*.delete_*"]')
MEMBERS: Final = Key(
    "members",
    _NAMES,
    "Whoever has such a name is in the role, beside those whose key, token or certificate says so.",
    example='[alice, "*@example.com"]',
)
ROLE_AGENTS: Final = Key("agents", _NAMES, "Whoever such an agent acts for is in the role.", example="[ci-bot]")
ROLES: Final = Key(
    "roles",
    Entries(
        Keys("a role", ALLOW, KINDS, MEMBERS, ROLE_AGENTS), "role", ROLE_NAME, "letters, digits and _ . : -, at most 64"
    ),
    "What people in a role may use. With any role, or any rule that allows, only what is granted may be used.",
    example='{reader: {allow: ["time.get_*"], members: ["*"]}}',
)

SUBJECTS: Final = Key("subjects", _NAMES, "Users, by name.", example='["*@example.com"]')
AGENTS: Final = Key("agents", _NAMES, "Agents that act for them.", example="[claude-code]")
TENANTS: Final = Key("tenants", _NAMES, "Tenants.", example="[acme]")
IN_ROLES: Final = Key(
    "roles",
    Items(WithPlace(Text("a role")), "such as [developer]"),
    "Whoever is in one of these roles.",
    example="[reader]",
)
SCOPES: Final = Key(
    "scopes",
    Items(Text("a scope", r"[\x21\x23-\x5b\x5d-\x7e]{1,128}"), "such as [git:write]"),
    "All of these scopes.",
    example="[git:write]",
)
PROOFS: Final = Key(
    "proofs",
    Items(Choice(("key", "jwt", "mtls", "loopback", "stdio")), "such as [mtls]"),
    "How it was proved who calls.",
    example="[mtls]",
)
ANNOTATIONS: Final = Key(
    "annotations",
    Entries(Flag(), "hint", "|".join(WORST), ", ".join(WORST)),
    "What the tool says of itself. It counts for servers with `trust_hints: true`; for others the worst is assumed.",
    example="{destructiveHint: true}",
)
ARGUMENTS: Final = Key(
    "arguments",
    Tests("path"),
    "What has to hold of the arguments: by path, a value, a list of them, or operations.",
    example='{branch: {matches: "feature/.*"}, "files[*].size": {lt: 1000}}',
)
META: Final = Key(
    "meta", Tests("key"), "What has to hold of the request's `_meta`.", example='{"example.com/ticket": {exists: true}}'
)
DAYS: Final = Key(
    "days", Items(Parsed(Text("days, such as mon-fri"), _days), "such as [mon-fri]"), "Days.", example="[mon-fri]"
)
FROM: Final = Key("from", Parsed(Text('a time in quotes, such as "08:00"'), _minute), "From when.", example='"08:00"')
TO: Final = Key("to", Parsed(Text('a time in quotes, such as "18:00"'), _minute), "Until when.", example='"18:00"')
ZONE: Final = Key("zone", Parsed(Text("a time zone"), _zone), "Where it is that time.", "UTC", example="Europe/Rome")
TIME: Final = Key(
    "time",
    Keys("a time", DAYS, FROM, TO, ZONE),
    "When. A span may go past midnight.",
    example='{days: [mon-fri], from: "08:00", to: "18:00", zone: Europe/Rome}',
)
NETWORKS: Final = Key(
    "networks",
    Items(Parsed(Text("a network"), _network), "such as [10.0.0.0/8]"),
    "From where.",
    example="[10.0.0.0/8]",
)
CEL: Final = Key(
    "cel",
    Parsed(Text("a CEL expression"), _cel),
    "An expression over `principal`, `tool`, `arguments`, `meta` and `now`. Needs the extra `cel`.",
    example="'arguments.amount < 100'",
)
_CONDITIONS: Final = Keys(
    "a condition",
    *(SUBJECTS, AGENTS, TENANTS, IN_ROLES, SCOPES, PROOFS, ANNOTATIONS, ARGUMENTS, TIME, NETWORKS, META, CEL),
)
WHEN: Final = Key("when", _CONDITIONS, "The rule applies where all of this holds.", example="{subjects: [alice]}")
UNLESS: Final = Key(
    "unless", _CONDITIONS, "It does not apply where all of this holds.", example="{networks: [10.0.0.0/8]}"
)
NAME: Final = Key(
    "name", Text("a name", r"[^\x00-\x1f]{1,64}"), "What audit and `explain` call it.", example="no deletes"
)
ADVERTISE: Final = Key(
    "advertise",
    Flag(),
    "Where only the scopes of `when` are missing, list it all the same: whoever calls it is told which to get.",
    False,
    example="true",
)
ENGINE: Final = Key(
    "engine",
    WithPlace(Text("the name of an engine")),
    f"Another engine, an entry point of `{ENGINES}`. Only with `deny`: it denies what it does not agree to.",
    example="acme-risk",
)
OPTIONS: Final = Key("options", Values(), "What that engine is told.", example="{threshold: 3}")
POLICIES: Final = Key(
    "policies",
    Items(
        Keys("a rule", NAME, ALLOW, DENY, KINDS, WHEN, UNLESS, ADVERTISE, ENGINE, OPTIONS), "one item for each rule", 0
    ),
    "Rules. A denial outweighs every grant.",
    example='[{deny: ["*.delete_*"], unless: {roles: [admin]}}]',
)
VALIDATE: Final[Key[Validate]] = Key(
    "validate",
    Choice(("off", "warn", "enforce")),
    "Check arguments against the tool's schema: `enforce` answers with what is wrong and asks no server, `warn` tells "
    "the caller beside the result. Needs the extra `schema`.",
    example="enforce",
)


def check_validate(table: Table, problems: Problems) -> None:
    """Note a problem if arguments are to be checked and the extra is missing."""
    wanted = table.get(VALIDATE)
    if wanted is not None and wanted != "off" and find_spec("jsonschema_rs") is None:
        told = 'checking arguments needs an extra: pip install "concento[schema]"'
        problems.add(table.place_of(VALIDATE), told)


def build_roles(
    table: Table, problems: Problems | None = None, servers: Collection[str] | None = None
) -> dict[str, Role]:
    """The roles. `servers` are the aliases that patterns may be about; None: any."""
    roles: dict[str, Role] = {}
    for name, (role, _) in (table.get(ROLES) or {}).items():
        if problems is not None:
            refuse_strangers(role.get(ALLOW), servers, problems)
        roles[name] = Role(
            name, texts_of(role.get(ALLOW)), kinds_of(role), role.get(MEMBERS) or (), role.get(ROLE_AGENTS) or ()
        )
    return roles


def build_policies(
    table: Table,
    roles: Mapping[str, Role],
    file: str,
    problems: Problems,
    servers: Collection[str] | None = None,
) -> tuple[Rule, ...]:
    """The rules. `roles` are those that may be named, `servers` the aliases that patterns may be about; None: any."""
    rules = table.get(POLICIES) or ()
    built = tuple(_rule(rule, number, roles, file, problems, servers) for number, rule in enumerate(rules, start=1))
    first: dict[str, Table] = {}
    for table, rule in zip(rules, built, strict=True):
        if (other := first.setdefault(rule.name, table)) is not table:
            place = table.place_of(NAME)
            problems.add(place, f"the rule on line {other.place.line} is called {quoted(rule.name)} already")
    return built


def _rule(
    table: Table,
    number: int,
    roles: Mapping[str, Role],
    file: str,
    problems: Problems,
    servers: Collection[str] | None,
) -> Rule:
    given = table.given(ALLOW, DENY)
    if len(given) != 1 and not table.is_misspelt:
        problems.add(table.place, "a rule either allows or denies: give it one of 'allow' and 'deny'")
    effect: Literal["allow", "deny"] = "allow" if given == [ALLOW] else "deny"
    patterns = table.get(ALLOW) or table.get(DENY) or ()
    refuse_strangers(patterns, servers, problems)
    when, unless = (conditions_of(table.get(key), roles, problems) for key in (WHEN, UNLESS))
    refuse_idle(table, when, unless, problems)
    if table[ADVERTISE] and (effect == "deny" or when is None or not when.scopes):
        problems.add(table.place_of(ADVERTISE), "'advertise' is for a rule that allows something with 'when.scopes'")
    engine = table.get(ENGINE)
    options = table.get(OPTIONS) or MappingProxyType({})
    if engine is not None:
        _try_engine(engine, effect, options, table, problems)
    elif table.given(OPTIONS):
        problems.add(table.place_of(OPTIONS), "'options' has no effect without 'engine'")
    return Rule(
        table.get(NAME) or f"{effect} {number}",
        effect,
        texts_of(patterns),
        kinds_of(table),
        when or ANY,
        unless,
        table[ADVERTISE],
        None if engine is None else engine.value,
        options,
        place=table.place.in_file(file),
    )


def refuse_strangers(
    patterns: tuple[Placed[str], ...] | None, servers: Collection[str] | None, problems: Problems
) -> None:
    """Refuse patterns over servers that are not there."""
    if servers is None:
        return
    for text, place in patterns or ():
        alias = text.partition(".")[0]
        if not set(alias) & set("*?") and alias not in servers:
            problems.add(place, unknown("server", alias, servers))


def refuse_idle(
    table: Table, when: Conditions | None, unless: Conditions | None, problems: Problems, what: str = "rule"
) -> None:
    """Refuse a rule, or `what` else has conditions, that could never apply."""
    given = table.get(UNLESS)
    if unless == ANY and given is not None and not given.is_misspelt:
        told = f"'unless' without conditions always holds: the {what} would never apply"
        problems.add(table.place_of(UNLESS), told)
    elif unless is not None and unless == (when or ANY):
        problems.add(table.place_of(UNLESS), f"'unless' says the same as 'when': the {what} would never apply")
    if when is not None and when.annotations and "tool" not in kinds_of(table):
        told = f"only tools have annotations: with these kinds the {what} would never apply"
        problems.add(table.place_of(KINDS), told)


def _try_engine(engine: Placed[str], effect: str, options: Mapping[str, Any], table: Table, problems: Problems) -> None:
    """Make the engine once, so that what it thinks of its options is known before anything starts."""
    if effect == "allow":
        problems.add(engine.place, "an engine may only narrow: use it in a rule with 'deny'")
    from ...policy.engines import Installed, engine_check

    installed = Installed()
    if engine.value not in list(installed):
        problems.add(engine.place, unknown("engine", engine.value, installed))
        return
    try:
        engine_check(engine.value, options, installed)
    except ValueError as error:
        problems.add(table.place_of(OPTIONS if table.given(OPTIONS) else ENGINE), str(error))


def conditions_of(table: Table | None, roles: Mapping[str, Role], problems: Problems) -> Conditions | None:
    """What has to hold; None where nothing is said."""
    if table is None:
        return None
    named = table.get(IN_ROLES) or ()
    for role, place in named:
        if roles and role not in roles:
            problems.add(place, unknown("role", role, roles))
    time = table.get(TIME)
    hours = None
    if time is not None:
        days = frozenset(day for span in time.get(DAYS) or () for day in span) or frozenset(range(7))
        begin, end = time.get(FROM), time.get(TO)
        if (0 if begin is None else begin) == (1440 if end is None else end):
            problems.add(time.place_of(TO), "'from' and 'to' are the same: no time is between them")
        hours = Hours(days, 0 if begin is None else begin, 1440 if end is None else end, time[ZONE])
    hints = {name: value for name, (value, _) in (table.get(ANNOTATIONS) or {}).items()}
    return Conditions(
        subjects=table.get(SUBJECTS) or (),
        agents=table.get(AGENTS) or (),
        tenants=table.get(TENANTS) or (),
        roles=texts_of(named),
        scopes=table.get(SCOPES) or (),
        proofs=table.get(PROOFS) or (),
        annotations=MappingProxyType(hints),
        arguments=table.get(ARGUMENTS) or (),
        time=hours,
        networks=table.get(NETWORKS) or (),
        meta=table.get(META) or (),
        cel=table.get(CEL),
    )


def texts_of(placed: tuple[Placed[str], ...] | None) -> tuple[str, ...]:
    """The texts alone."""
    return tuple(text for text, _ in placed or ())


def kinds_of(table: Table) -> tuple[ItemKind, ...]:
    """What it is about."""
    return table.get(KINDS) or ALL_KINDS
