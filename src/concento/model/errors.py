"""The one tree of errors that reach an agent, and those that stop the hub from starting.

Each class answers: whose fault, whether the call may have run, whether trying again can help, its code on the wire, and
what a reader of the reference can do about it.
Messages name the thing, the limit and the remedy; never a secret, an upstream address or a stack trace.
A tool that ran and failed is a reply, not an error: see `model.call.Failure`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

Outcome = Literal["not_sent", "unknown", "failed"]
"""`not_sent`: no server saw the call. `unknown`: one may have run it. `failed`: it ran, or was refused, for good."""

Fault = Literal["caller", "policy", "upstream", "us"]


class ConcentoError(Exception):
    """Whatever the hub itself reports; `str()` of it is safe to show."""


class ConfigError(ConcentoError):
    """The configuration can't be used. Every problem is listed, each with its place; exit code 2.

    `pointers`: the same as JSON pointer and message; the pointer is empty for what is in the file.
    """

    def __init__(self, problems: list[str], pointers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.pointers = tuple(pointers)


class StartError(ConcentoError):
    """The hub can't start: a port in use, a state folder that can't be written."""


class CallError(ConcentoError):
    """A call that gets no result. `data` is sent along; `retry_after_s` also becomes a Retry-After header."""

    code: ClassVar[int] = -32603
    fault: ClassVar[Fault] = "us"
    retryable: ClassVar[bool] = False
    outcome: Outcome = "not_sent"
    remedy: ClassVar[str] = ""
    """What to do about it, for the reference: a sentence or two to whoever met the error."""

    def __init__(
        self,
        message: str,
        *,
        outcome: Outcome | None = None,
        data: dict[str, Any] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        if outcome is not None:
            self.outcome = outcome
        self.data = data
        self.retry_after_s = retry_after_s
        self.trace_id: str | None = None
        self.last_words: tuple[str, ...] = ()
        """What a server wrote before it ended: for operators only, since it may hold anything."""

    @property
    def message(self) -> str:
        """What the agent is told."""
        return str(self)


class InternalError(CallError):
    """A defect of ours."""

    remedy = "Report it, with the line of the access log that has the same `trace_id`."


class ParseError(CallError):
    """The body is not JSON."""

    code = -32700
    fault = "caller"
    remedy = "Send UTF-8 JSON."


class InvalidRequest(CallError):
    """The body is JSON but not one acceptable request."""

    code = -32600
    fault = "caller"
    remedy = "Send one JSON-RPC request object, within the [limits](limits.md) on depth, members and arrays."


class MethodNotFound(CallError):
    """No such method at this endpoint."""

    code = -32601
    fault = "caller"
    remedy = "Call a method that `server/discover`, or in the legacy era `initialize`, announces."


class InvalidParams(CallError):
    """Unknown tool, prompt, resource or cursor, or parameters that can't be right."""

    code = -32602
    fault = "caller"
    remedy = "List again and use a name from the list; the message has the nearest one."


class HeaderMismatch(CallError):
    """A mirrored header says something else than the body."""

    code = -32020
    fault = "caller"
    remedy = (
        "Let `MCP-Protocol-Version`, `Mcp-Method` and `Mcp-Name` repeat what the body says, or use an SDK, which does."
    )


class MissingCapability(CallError):
    """The call needs a client capability that this request did not declare."""

    code = -32021
    fault = "caller"
    remedy = "Declare the capability that the message names, or call another tool."


class UnsupportedVersion(CallError):
    """A protocol revision that the hub does not speak; `data` lists those it does."""

    code = -32022
    fault = "caller"
    remedy = "Use one of the revisions in `data.supported`."


class Unavailable(CallError):
    """No server could take the call."""

    code = -31001
    fault: ClassVar[Fault] = "upstream"
    retryable = True
    remedy = "Repeat it after `retryAfterMs`. If it lasts, `concento servers` says what is wrong with the server."


class NoGrant(Unavailable):
    """There is no token to show the server, by no fault of the server's: others may well have one."""

    fault = "us"


class TimedOut(CallError):
    """The deadline passed."""

    code = -31002
    fault = "upstream"
    outcome = "unknown"
    remedy = "Look whether it took effect before repeating it. Slow by nature: raise `timeout_s` of that server."


class RateLimited(CallError):
    """The caller asks too often."""

    code = -31003
    fault = "policy"
    retryable = True
    remedy = "Repeat it after `retryAfterMs`."
    limit: str | None = None
    """The name of the limit that refused."""


class OverBudget(RateLimited):
    """What may be spent in this day or month is spent; `data.resetsAt` says when the next one begins."""

    remedy = "Repeat it after `data.resetsAt`, or ask whoever runs the hub to raise the budget."


class Overloaded(CallError):
    """The hub, or the queue in front of a server, is full."""

    code = -31004
    fault = "us"
    retryable = True
    remedy = "Repeat it after `retryAfterMs`. If it lasts, raise `concurrency_max`, or add a replica."


class Quarantined(CallError):
    """The tool's definition changed and waits for approval."""

    code = -31005
    fault = "policy"
    remedy = "Ask whoever runs the hub to approve the new definition."


class BadReply(CallError):
    """The server answered with something that is no valid answer, or went away in the middle of it."""

    code = -31006
    fault = "upstream"
    outcome = "unknown"
    remedy = (
        "Look whether it took effect before repeating it. The server is at fault: its last words are in "
        "`concento servers`."
    )


class Forbidden(CallError):
    """The policy does not allow this call as it is: not with these arguments, at this time or from this network."""

    code = -31007
    fault = "policy"
    remedy = "Change what the message names, or ask whoever runs the hub; `concento explain` says which rule refused."
    rule: str | None = None
    """The name of the rule that refused; not sent along."""


class Unguarded(Forbidden):
    """A guard that has to agree to this call could not be asked, so that nothing was sent."""

    retryable = True
    remedy = "Repeat it later. If it lasts, whoever runs the hub has to see to the guard that the message names."


class Withheld(Forbidden):
    """The call ran, and a guard keeps its result from the caller: too large, of another type, or with what must not
    leave."""

    code = -31009
    outcome = "failed"
    remedy = (
        "Do not repeat it as it is: it ran. Ask for less, or for something else, as the message says; whoever runs the "
        "hub can change the guard that it names."
    )


class NeedsScope(Forbidden):
    """The caller may use this with more scopes; `scopes` are those that the whole call needs."""

    remedy = "Get a token with the scopes that the message names, and repeat the call with it."

    def __init__(self, message: str, scopes: tuple[str, ...] = (), *, outcome: Outcome | None = None) -> None:
        super().__init__(message, outcome=outcome, data={"requiredScopes": list(scopes)})
        self.scopes = scopes


class NeedsAccount(CallError):
    """The server wants to know the user, and the user has not connected an account there, or granted too little."""

    code = -31008
    fault = "caller"
    remedy = "Open the page that the message names, connect your account, and repeat the call."

    def __init__(self, message: str, scopes: tuple[str, ...] = (), *, outcome: Outcome | None = None) -> None:
        super().__init__(message, outcome=outcome)
        self.scopes = scopes
        """Those that the server asked for."""
