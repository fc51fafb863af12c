"""Why something is seen or not, may be called or not: every rule that is about it, and what became of each."""

from typing import Literal

from msgspec import Struct

Applies = Literal["yes", "no", "depends"]
"""`depends`: on the call, and none was given."""


class Look(Struct, frozen=True):
    """One rule that was looked at. `why`: what keeps it from applying; where it depends on a call, on what of it."""

    rule: str
    allows: bool
    applies: Applies
    why: str = ""

    def line(self) -> str:
        """The same in a line, for people."""
        effect = "allowed" if self.allows else "denied"
        if self.applies == "yes":
            return f"{effect} by {self.rule}{f', which applies to this call ({self.why})' if self.why else ''}"
        if self.applies == "depends":
            return f"{effect} by {self.rule}, depending on {self.why}"
        return f"not {effect} by {self.rule}: {_NOT.get(self.why, f'not so ({self.why})')}"


class Explanation(Struct, frozen=True):
    """What is decided, by which rule, and all that was looked at on the way there."""

    verdict: Literal["hidden", "needs_scope", "allow", "deny"]
    """`deny`: seen, but not to be called like this."""
    rule: str
    why: str
    """What a caller is told who is refused; empty where nobody is."""
    looks: tuple[Look, ...] = ()
    notes: tuple[str, ...] = ()
    """What else there is to know: a delegated key that does not reach it, scopes that would help."""

    def lines(self) -> list[str]:
        """All that was looked at, a line each, for people."""
        return [*self.notes, *(look.line() for look in self.looks)] or ["no rule is about it"]


_NOT = {
    "members": "the caller is not in this role",
    "subjects": "it is not about this user (subjects)",
    "agents": "it is not about this agent (agents)",
    "tenants": "it is not about this tenant (tenants)",
    "roles": "the caller is in none of its roles (roles)",
    "proofs": "it is not about callers proved like this (proofs)",
    "scopes": "the caller lacks scopes (scopes)",
    "annotations": "the tool's hints are not like that (annotations)",
    "unless": "but for `unless`, which holds",
    "caller": "it is not about this caller",
}
