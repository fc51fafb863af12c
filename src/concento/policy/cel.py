"""Conditions in CEL, for what the structured ones can't say. An extra: `pip install "concento[cel]"`.

An expression sees `principal` (subject, agent, tenant, roles, scopes), `tool` (server, name, kind), `arguments`, `meta`
and `now` (Unix seconds). Its errors are values: whatever is neither true nor false counts as doubt, and so do
arguments too large to be handed over. The library itself ends an expression that loops for too long.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .item import Item

if TYPE_CHECKING:
    from .conditions import Facts

MISSING: Final = 'CEL is an extra: pip install "concento[cel]"'

EXPRESSION_CHARS_MAX: Final = 4096
ARGUMENTS_BYTES_MAX: Final = 65_536
"""Arguments of more bytes can't be judged: each call would have them copied into the library's own values."""


def compile_cel(expression: str, certain: bool) -> "Callable[[Item, Facts], bool]":
    """The expression, compiled once. Errors: ValueError with what is wrong, or that the extra is missing."""
    if len(expression) > EXPRESSION_CHARS_MAX:
        raise ValueError(f"a CEL expression may have {EXPRESSION_CHARS_MAX} characters")
    try:
        cel: Any = importlib.import_module("cel_expr_python.cel")
    except ImportError:
        raise ValueError(MISSING) from None
    kinds = cel.Type
    plain = {"principal": kinds.DYN, "tool": kinds.DYN, "arguments": kinds.DYN, "meta": kinds.DYN, "now": kinds.DOUBLE}
    try:
        compiled = cel.NewEnv(variables=plain).compile(expression)
    except Exception as error:  # whatever the library raises, it is about the text
        raise ValueError(f"not a CEL expression: {_told(error)}") from None

    if (kind := compiled.return_type().name()) not in ("BOOL", "DYN"):
        raise ValueError(f"the CEL expression is {kind.lower()}, not true or false; compare it with something")

    def check(item: Item, facts: "Facts") -> bool:
        if facts.raw_arguments is not None and memoryview(facts.raw_arguments).nbytes > ARGUMENTS_BYTES_MAX:
            return not certain
        who = facts.principal
        held = compiled.eval(
            data={
                "principal": {
                    "subject": who.subject,
                    "agent": who.agent or "",
                    "tenant": who.tenant,
                    "roles": sorted(who.roles),
                    "scopes": sorted(who.scopes),
                },
                "tool": {"server": item.alias, "name": item.own, "kind": item.kind},
                "arguments": facts.arguments,
                "meta": facts.all_meta(),
                "now": facts.now_s,
            }
        ).value()
        return held is True if certain else held is not False

    return check


def _told(error: Exception) -> str:
    """The library's complaint, without the words that are about its own code."""
    first = next(iter(str(error).strip().splitlines()), "")
    return first.removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: ").removeprefix("<input>:")[:200]
