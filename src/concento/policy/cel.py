"""Conditions in CEL, for what the structured ones can't say. An extra: `pip install "concento[cel]"`.

An expression sees `principal` (subject, agent, tenant, roles, scopes), `tool` (server, name, kind), `arguments`, `meta`
and `now` (Unix seconds). Its errors are values: whatever is neither true nor false counts as doubt.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .item import Item

if TYPE_CHECKING:
    from .conditions import Facts

MISSING = 'CEL is an extra: pip install "concento[cel]"'


def compile_cel(expression: str, certain: bool) -> "Callable[[Item, Facts], bool]":
    """The expression, compiled once. Errors: ValueError with what is wrong, or that the extra is missing."""
    try:
        cel: Any = importlib.import_module("cel_expr_python.cel")
    except ImportError:
        raise ValueError(MISSING) from None
    kinds = cel.Type
    plain = {"principal": kinds.DYN, "tool": kinds.DYN, "arguments": kinds.DYN, "meta": kinds.DYN, "now": kinds.DOUBLE}
    try:
        compiled = cel.NewEnv(variables=plain).compile(expression)
    except Exception as error:  # whatever the library raises, it is about the text
        raise ValueError(f"not a CEL expression: {str(error).strip().splitlines()[0][:200]}") from None

    def check(item: Item, facts: "Facts") -> bool:
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
