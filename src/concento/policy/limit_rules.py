"""Which calls a limit counts, and which of them share one bucket. Pure: values in, values out."""

from hashlib import sha256
from typing import Final

from ..catalog.patterns import Patterns
from ..model.limiting import LimitRule, Per
from ..model.principal import Principal
from .globs import acts, matches

BucketKey = tuple[str | None, ...]
"""What calls have in common that share a bucket."""

NAME_CHARS_MAX: Final = 256
"""Longer names (URIs, mostly) are kept as a digest: callers choose them, and they would fill the memory."""

_FIELDS: Final[dict[Per, tuple[str, ...]]] = {
    "tool": ("server", "tool"),
    "server": ("server",),
    "user": ("tenant", "subject"),
    "agent": ("tenant", "subject", "agent"),
    "tenant": ("tenant",),
    "global": (),
}
_ORDER: Final = ("tenant", "subject", "agent", "server", "tool")


class Scope:
    """Whom and what one rule is about. `owner`: the tenant whose rule it is, "" for the operator's own."""

    def __init__(self, rule: LimitRule, owner: str) -> None:
        fields = {field for per in rule.per for field in _FIELDS[per]}
        self._fields = tuple(field for field in _ORDER if field in fields)
        self._rule = rule
        self._owner = owner
        self._everything = "*" in rule.patterns
        self._everybody = "*" in rule.subjects
        self._patterns = Patterns(rule.patterns)

    def counts(self, principal: Principal, roles: frozenset[str], server: str | None, tool: str | None) -> bool:
        """Whether a call is one of those it counts. `roles`: those that the principal is in; `server`: its key.

        A limit for each server or tool is not about calls that have none, such as a list.
        """
        if (server is None and "server" in self._fields) or (tool is None and "tool" in self._fields):
            return False
        return self._is_about(server, tool) and self._is_for(principal, roles)

    def key(self, principal: Principal, server: str | None, tool: str | None) -> BucketKey:
        """Which bucket such a call is counted in.

        An agent that another one handed on to counts as the first: by handing on it would gain calls otherwise.
        """
        values = {
            "tenant": principal.tenant,
            "subject": principal.subject,
            "agent": principal.chain[-1] if principal.chain else principal.agent,
            "server": server,
            "tool": None if tool is None else shortened(tool),
        }
        return tuple(values[field] for field in self._fields)

    def _is_about(self, server: str | None, tool: str | None) -> bool:
        if self._everything:
            return True
        if server is None:
            return False
        # A tenant's rules name its own servers as it does; the operator's `git.*` is not about a tenant's own `git`.
        alias = server.removeprefix(f"{self._owner}/") if self._owner else server
        return self._patterns.matches(alias, tool or "")

    def _is_for(self, principal: Principal, roles: frozenset[str]) -> bool:
        rule = self._rule
        return (
            (self._everybody or matches(rule.subjects, principal.subject))
            and (not rule.agents or acts(rule.agents, principal))
            and (not rule.roles or not roles.isdisjoint(rule.roles))
        )


def shortened(name: str) -> str:
    """A name as it is kept."""
    if len(name) <= NAME_CHARS_MAX:
        return name
    return f"sha256:{sha256(name.encode(errors='surrogatepass')).hexdigest()}"
