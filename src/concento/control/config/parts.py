"""Parts of a configuration: single objects as JSON, and how they are laid over the file before it is read.

A part is what would stand in the file under a name. It becomes nodes as the file's own text does, so that one reader
judges both; its places are JSON pointers. Pure.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from ...model.tenant import DEFAULT_TENANT
from . import keys
from .document import DEPTH_MAX, NODES_MAX, START, Entry, MappingNode, Node, ScalarNode, SequenceNode
from .guards import GUARDS
from .kinds import Entries, Items, Key, Schema
from .limits import LIMITS
from .logical import TOOLS
from .policy import NAME, POLICIES, ROLES
from .problems import Place, Refused
from .tenants import TENANTS

KINDS: Final[Mapping[str, Key[Any]]] = {
    key.name: key for key in (TENANTS, keys.SERVERS, ROLES, TOOLS, keys.VIEWS, POLICIES, LIMITS, GUARDS)
}
"""What has names of its own, in the order in which one may rest on another."""

_POLICY_NAME: Final = r"[^\x00-\x1f\x7f]{1,64}"
_DEEPEST: Final = DEPTH_MAX - 6
_EXACT_MAX: Final = 10**18


class Where(NamedTuple):
    """Which part: `/servers/docs`, or a tenant's `/tenants/acme/servers/docs`."""

    kind: str
    name: str
    tenant: str = DEFAULT_TENANT

    @property
    def steps(self) -> tuple[str, ...]:
        """The keys that lead to it in a configuration."""
        return (self.kind, self.name) if self.tenant == DEFAULT_TENANT else (TENANTS.name, self.tenant, *self[:2])

    @property
    def pointer(self) -> str:
        """The JSON pointer to it."""
        return pointer_of(*self.steps)

    @property
    def order(self) -> tuple[bool, int]:
        """Tenants first, then what else; a part rests on no part of a later kind."""
        return self.kind != TENANTS.name, [*KINDS].index(self.kind)

    def holds(self, other: "Where") -> bool:
        """Whether another is a part of this one: what a tenant has."""
        return self.kind == TENANTS.name and other.tenant == self.name


def pointer_of(*steps: str | int) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def where_of(pointer: str) -> Where:
    """Of which part a pointer is, or in which part it points. Errors: ValueError, if in none."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    if len(steps) >= 4 and steps[0] == TENANTS.name and steps[2] in KINDS:
        return Where(steps[2], steps[3], steps[1])
    if len(steps) < 2 or steps[0] not in KINDS:
        raise ValueError(f"{pointer!r} points at no part of a configuration")
    return Where(steps[0], steps[1])


def schema_of(kind: str) -> Schema:
    """The JSON Schema of a part of that kind."""
    container = KINDS[kind].kind
    assert isinstance(container, Entries | Items)
    return container.kind.schema()


def name_problem(kind: str, name: str) -> str | None:
    """Why a part of that kind can't be called so; None if it can."""
    container = KINDS[kind].kind
    pattern, expected = _POLICY_NAME, "a name of at most 64 characters"
    if isinstance(container, Entries):
        pattern, expected = container.pattern, container.expected
    return None if re.fullmatch(pattern, name) else f"this can't be the name of one of the {kind}: expected {expected}"


# -- from JSON to nodes and back


def node_of(value: Any, pointer: str) -> Node:
    """JSON as nodes. Errors: Refused, for what no configuration file could say."""
    return _Maker().node(value, pointer, 0)


class _Maker:
    """Counts what it makes."""

    def __init__(self) -> None:
        self._made = 0

    def node(self, value: Any, pointer: str, depth: int) -> Node:
        place = Place(0, 0, pointer or "/")
        self._made += 1
        if depth > _DEEPEST:
            raise Refused(place, f"nested deeper than {_DEEPEST} levels")
        if self._made > NODES_MAX // 10:
            raise Refused(place, f"more than {NODES_MAX // 10} values")
        if isinstance(value, dict):
            entries = {}
            for name, below in value.items():
                at = pointer + pointer_of(name)
                if name == "<<":
                    raise Refused(Place(0, 0, at), "'<<' is no key: it merges where a configuration is YAML")
                entries[name] = Entry(Place(0, 0, at), self.node(below, at, depth + 1))
            return MappingNode(place, entries)
        if isinstance(value, list):
            items = (self.node(item, pointer + pointer_of(at), depth + 1) for at, item in enumerate(value))
            return SequenceNode(place, tuple(items))
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _EXACT_MAX:
            value = float(value)  # as YAML's numbers are read
        return ScalarNode(place, value if isinstance(value, str) else json.dumps(value), value)


def json_of(node: Node) -> Any:
    """What nodes say, as JSON with references as written."""
    if isinstance(node, MappingNode):
        return {name: json_of(entry.node) for name, entry in node.entries.items()}
    if isinstance(node, SequenceNode):
        return [json_of(item) for item in node.items]
    if isinstance(node.value, float) and not math.isfinite(node.value):
        return node.text
    return node.value


# -- laid over one another


def laid_over(root: Node, parts: Mapping[Where, Node]) -> Node:
    """A configuration with these parts in place of its own of the same names. Errors: Refused.

    A part of a tenant that is nowhere is refused: it would make a tenant that nobody named.
    """
    for where in sorted(parts, key=lambda where: where.order):
        if where.tenant != DEFAULT_TENANT and found(root, Where(TENANTS.name, where.tenant)) is None:
            raise Refused(parts[where].place, f"there is no tenant {where.tenant!r}")
        root = _with(root, where.steps, parts[where])
    return root


def _with(node: Node | None, steps: tuple[str, ...], part: Node) -> Node:
    step, *rest = steps
    if step == POLICIES.name and len(rest) == 1:
        return _with_entry(node, step, _with_rule(_below(node, step), rest[0], part), part.place)
    inner = _with(_below(node, step), tuple(rest), part) if rest else part
    return _with_entry(node, step, inner, part.place)


def _with_entry(node: Node | None, name: str, inner: Node, place: Place) -> Node:
    entries = dict(node.entries) if isinstance(node, MappingNode) else {}
    place = entries[name].place if name in entries and not inner.place.pointer else place
    entries[name] = Entry(place, inner)
    return MappingNode(START if node is None else node.place, entries)


def _with_rule(node: Node | None, name: str, part: Node) -> Node:
    rules = list(node.items) if isinstance(node, SequenceNode) else []
    if isinstance(part, MappingNode) and NAME.name not in part.entries:
        named = {NAME.name: Entry(part.place, ScalarNode(part.place, name, name))}
        part = MappingNode(part.place, {**named, **part.entries})
    at = next((at for at, rule in enumerate(rules) if _rule_name(rule, at) == name), len(rules))
    rules[at : at + 1] = [part]
    return SequenceNode(START if node is None else node.place, tuple(rules))


def _rule_name(rule: Node, at: int) -> str:
    """What a rule is called, and one without a name is called in its place."""
    if not isinstance(rule, MappingNode):
        return ""
    named = rule.entries.get(NAME.name)
    if named is not None and isinstance(named.node, ScalarNode):
        return named.node.text
    return f"{'allow' if 'allow' in rule.entries else 'deny'} {at + 1}"


def _below(node: Node | None, step: str) -> Node | None:
    entry = node.entries.get(step) if isinstance(node, MappingNode) else None
    return None if entry is None else entry.node


# -- found again


def found(root: Node, where: Where) -> Node | None:
    """A part of a configuration, if there is one of that name."""
    return dict(named(root, where.kind, where.tenant)).get(where.name)


def named(root: Node, kind: str, tenant: str = DEFAULT_TENANT) -> Iterator[tuple[str, Node]]:
    """All parts of a kind, by name, in the order in which they stand."""
    base: Node | None = root
    if tenant != DEFAULT_TENANT:
        base = _below(_below(root, TENANTS.name), tenant)
    container = _below(base, kind)
    if isinstance(container, MappingNode):
        yield from ((name, entry.node) for name, entry in container.entries.items())
    elif isinstance(container, SequenceNode):
        yield from ((_rule_name(rule, at), rule) for at, rule in enumerate(container.items))
