"""errors.md: what an agent may be told instead of a result, and what ends the program."""

import ast
from collections.abc import Iterator, Mapping
from typing import Final

from concento.front.identity.hosts import Hosts
from concento.front.parser import Refusal
from concento.model import errors
from concento.model.errors import CallError
from concento.protocol.modern import STATUS

from .markdown import first_paragraph, paragraphs, table
from .source import SOURCE, attribute_docs, said


def page() -> str:
    """The page."""
    made = names_made()
    own = sorted((one for one in call_errors() if one.code > -32000), key=lambda one: -one.code)
    other = sorted((one for one in call_errors() if one.code <= -32000), key=lambda one: one.code)
    return paragraphs(
        "# Errors",
        "A call that gets no result gets a JSON-RPC error. Those that are not the caller's fault say in `data` what a "
        "program needs to go on: `outcome`, `retryable`, where it helps `retryAfterMs` (also as the header "
        "`Retry-After`), and the `traceId` under which the access log has the call. A tool that ran and says that it "
        "failed is no error: its result has `isError: true`.",
        f"The outcome says whether repeating is safe. {attribute_docs('model/errors.py')['Outcome']}",
        "The HTTP status below is that of a modern request for which nothing was streamed yet. In a legacy session, "
        "and once a stream has begun, errors travel in 200; so do 429 and 503 where the call may have run, since "
        "proxies repeat those.",
        "## The hub's own",
        *(entry(one, made) for one in own),
        "## The protocol's",
        *(entry(one, made) for one in other),
        "Any other code is the server's own, relayed.",
        "## Requests refused on their head",
        "No body was read, so the answer carries no id. The code is -32600.",
        table(("status", "message"), [(str(status), message) for status, message in refusals()]),
        "## What ends the program",
        table(
            ("exit code", "name", "meaning"),
            [
                ("1", errors.StartError.__name__, first_paragraph(errors.StartError)),
                ("2", errors.ConfigError.__name__, first_paragraph(errors.ConfigError)),
            ],
        ),
    )


def call_errors(base: type[CallError] = CallError) -> Iterator[type[CallError]]:
    """Every error that a call may end with."""
    for one in base.__subclasses__():
        if one.__module__ == errors.__name__:
            yield one
            yield from call_errors(one)


def entry(error: type[CallError], made: set[str]) -> str:
    """One error."""
    facts = (
        f"HTTP {STATUS.get(error.code, 200)}",
        f"fault: {_FAULTS[error.fault]}",
        f"repeating {_repeating(error)}",
        f"outcome `{error.outcome}`",
    )
    note = "" if error.__name__ in made else " This version has no reason to raise it."
    return "\n\n".join(
        (
            f"### {error.code}: {error.__name__}",
            first_paragraph(error) + note,
            f"*{'; '.join(facts)}.*",
            error.remedy,
        )
    )


_FAULTS: Final[Mapping[errors.Fault, str]] = {
    "caller": "the caller's",
    "policy": "none, a rule forbids it",
    "upstream": "the server's",
    "us": "the hub's",
}


def _repeating(error: type[CallError]) -> str:
    if error.retryable:
        return "helps"
    return "may run it twice" if error.outcome == "unknown" else "does not help"


def names_made() -> set[str]:
    """The error classes that the source makes somewhere, or whose code it writes out itself."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found.add(node.func.id)
        found |= {one.__name__ for one in call_errors() if f'"code":{one.code}' in text}
    return found


def refusals() -> list[tuple[int, str]]:
    """What the listener answers on a request's head alone: each `Refusal` of its source, and those of the hosts."""
    found: set[tuple[int, str]] = set()
    for path in (SOURCE / "front").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=Refusal.__name__), args=[ast.Constant(value=int(status)), reason, *_]):
                    found.add((status, said(reason)))
    hosts = Hosts(("localhost",))
    for problem in (hosts.problem(["elsewhere"], []), hosts.problem([], ["https://elsewhere"])):
        assert problem is not None
        found.add((403, problem))
    return sorted((status, message) for status, message in found if message)
