"""What a right answer is. A fast wrong one is worth nothing, so each check here ends a measurement, not a test.

The load generator looks at every answer of a round (`call.lua`); these look closely at a few before and after it.
"""

import time
from collections.abc import Iterable
from typing import Any

from .refused import Refused
from .route import PROGRESS, Json, Route, text_of
from .upstream import EVENTS


def same_answers(route: Route, direct: Route, tool: str) -> None:
    """Errors: Refused, unless the answer through a gateway is the server's own, with the caller's id and text in it.

    What a gateway says of itself in `_meta` is not compared.
    """
    id, text = time.monotonic_ns() % 10**9, f"bench {time.monotonic_ns()}"
    progress = tool == "events"
    expected, got = (one.hear(tool, text, id, progress=progress) for one in (direct, route))
    if expected[-1].get("id") != id or (tool != "big" and text_of(expected[-1]) != text):
        raise Refused(f"the server itself answers wrongly: {str(expected[-1])[:300]}")
    if _essence(got[-1]) != _essence(expected[-1]):
        raise Refused(f"it does not answer as the server does: {str(got[-1])[:300]}, not {str(expected[-1])[:300]}")
    if progress and _steps(got) != _steps(expected):
        raise Refused(f"it relays {len(_steps(got))} of the {EVENTS} progress notifications")


def _essence(message: Json) -> Any:
    result = message.get("result")
    if not isinstance(result, dict):
        return message
    return {**message, "result": {key: value for key, value in result.items() if key not in ("_meta", "resultType")}}


def _steps(heard: Iterable[Json]) -> list[tuple[float, float, str | None]]:
    """Progress in the order it was heard; 1 and 1.0 are the same step."""
    told = [message["params"] for message in heard if message.get("method") == PROGRESS]
    return [(float(params["progress"]), float(params["total"]), params.get("message")) for params in told]


def served_as_counted(calls: int, served: int, connections: int) -> None:
    """Errors: Refused, unless the server answered the calls that were counted, and at most those in flight beside."""
    if not calls <= served <= calls + connections:
        raise Refused(f"{calls} calls were answered, and the server answered {served}: some answers were not its own")


def whole_list(names: list[str], expected: set[str]) -> None:
    """Errors: Refused, unless a list has every tool, once."""
    if len(names) != len(set(names)):
        raise Refused(f"{len(names) - len(set(names))} tools are listed twice")
    if missing := expected - set(names):
        raise Refused(f"{len(missing)} of {len(expected)} tools are not listed, such as {min(missing)}")
    if more := set(names) - expected:
        raise Refused(f"{len(more)} tools are listed that no server has, such as {min(more)}")
