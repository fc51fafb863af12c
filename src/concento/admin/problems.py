"""What a request that can't be answered is told: problem details (RFC 9457), with what is wrong where."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Struct
from starlette.responses import Response

from ..control.config.problems import BY_API
from ..control.layers import Full, NotChangeable, NotKept
from ..model.errors import ConcentoError, ConfigError
from .explain import Unanswerable
from .trials import NoSuchThing

MEDIA: Final = "application/problem+json"
TYPES: Final = "https://concento.dev/problems/"
POINTERS_MAX: Final = 100

NAMES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("malformed", "The body is not JSON, or the request is no request: send UTF-8 JSON."),
    401: ("unauthenticated", "Show a key or token: `Authorization: Bearer …`."),
    403: ("forbidden", "The role is too low, or the file does not allow it; `detail` says which."),
    404: ("not-found", "There is no such thing, or none that the caller may see."),
    405: ("method-not-allowed", "The `Allow` field has the methods that are taken."),
    409: ("conflict", "What is there stands against it; `detail` says what to do."),
    412: ("changed-meanwhile", "The object is another than the one that was seen: get it again."),
    413: ("too-large", "Send less at a time."),
    415: ("no-json", "Send the body as `application/json`."),
    422: ("invalid", "`errors` has what is wrong, each with a JSON pointer."),
    428: ("precondition-required", "Send `If-Match` with the `ETag` of the object that is to be changed."),
    503: ("unavailable", "The state store failed, and nothing was changed: repeat it."),
}
"""Status → name and what to do about it."""


class ErrorAt(Struct, frozen=True):
    """One thing that is wrong. `pointer` is a JSON pointer into the body; empty, if it is about all of it or the file;
    `api:/views/coding` for another object, which would not fit any more."""

    pointer: str
    detail: str


class ProblemShown(Struct, frozen=True, omit_defaults=True):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: tuple[ErrorAt, ...] = ()


class Problem(Exception):
    """Why a request is refused. The detail is for whoever asked, and never repeats a secret."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)[:POINTERS_MAX]
        self.headers = dict(headers or {})


def problem_of(error: Exception, root: str = "") -> Problem | None:
    """What an error of the rooms below is told as; None if it is a defect. `root`: the pointer of the body's object in
    the configuration, which pointers are told below."""
    match error:
        case Problem():
            return error
        case ConfigError():
            told = [(_below(pointer, root), message) for pointer, message in error.pointers]
            return Problem(422, f"It would not load: {told[0][1] if told else error}", told)
        case NoSuchThing():
            return Problem(404, str(error))
        case Unanswerable():
            return Problem(422, str(error))
        case NotKept():
            return Problem(503, str(error))
        case Full() | NotChangeable():
            return Problem(409, str(error))
        case ConcentoError():
            return Problem(422, str(error))
    return None


def _below(pointer: str, root: str) -> str:
    """A pointer into the body; one that leads elsewhere is told as such."""
    if not pointer or (pointer + "/").startswith(f"{root}/"):
        return pointer.removeprefix(root)
    return f"{BY_API}{pointer}"


def response(problem: Problem, instance: str) -> Response:
    """The answer to a request for `instance`."""
    title = HTTPStatus(problem.status).phrase
    name = NAMES[problem.status][0] if problem.status in NAMES else "other"
    shown = ProblemShown(
        f"{TYPES}{name}",
        title,
        problem.status,
        problem.detail,
        instance,
        tuple(ErrorAt(pointer, detail) for pointer, detail in problem.errors),
    )
    return Response(msgspec.json.encode(shown), problem.status, problem.headers, MEDIA)
