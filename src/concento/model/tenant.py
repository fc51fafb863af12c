"""Tenants as configured: what each has of its own, and what the operator shares with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from .guards import Guard
from .limiting import LimitRule
from .policy import Role, Rule

DEFAULT_TENANT: Final = "default"
"""Whose the servers of the file's top level are: the operator's own."""


def _nothing() -> MappingProxyType[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant beside the operator's own. Its servers and views are in `Config`, under keys that name it.

    `share` are patterns over the operator's `server.name`: what else its users may be granted.
    """

    name: str
    share: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=_nothing)
    policies: tuple[Rule, ...] = ()
    limits: tuple[LimitRule, ...] = ()
    guards: tuple[Guard, ...] = ()
