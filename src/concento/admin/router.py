"""From the table of operations to routes: who may, what the query and the body have to be, and how it is answered.

A page of another site can't change anything: it may send no JSON without asking first, and the answer is no.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..model.errors import InvalidRequest, ParseError
from ..model.principal import Principal
from ..protocol.text import check_repeats, check_text
from .access import TENANT_ADMIN, may, tenant_of
from .describe import Hub
from .operations import FIELDS, JSON, Answer, Asked, Operation
from .problems import Problem, problem_of, response

CALLER: Final = "concento.caller"
"""Where in a request's scope it says who asks."""
_SHOWN: Final = 60


def routes(hub: Hub, operations: Iterable[Operation]) -> list[Route]:
    """One route for each path, longer ones first, so that a name with slashes takes nothing away."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    ordered = sorted(by_path.items(), key=lambda one: (":path}" in one[0], -len(one[0].split("/"))))
    return [Route(path, partial(_answer, hub, methods), methods=[*methods]) for path, methods in ordered]


async def _answer(hub: Hub, methods: Mapping[str, Operation], request: Request) -> Response:
    operation = methods["GET" if request.method == "HEAD" else request.method]
    try:
        asked = await _asked(hub, operation, request)
        given = await operation.handler(asked)
    except Exception as error:  # the edge of the API: what the rooms below refuse is told, a defect goes on
        problem = problem_of(error)
        if problem is None:
            raise
        return response(problem, request.url.path)
    answer = given if isinstance(given, Answer) else Answer(given)
    value = answer.value
    body = (
        value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else msgspec.json.encode(value)
    )
    headers, status = dict(answer.headers or {}), answer.status or operation.status
    if operation.tagged and status == 200 and _matches(request.headers.get("if-none-match", ""), headers.get("etag")):
        return Response(None, 304, headers)
    return Response(body, status, headers, operation.media)


def _matches(field: str, tag: str | None) -> bool:
    return tag is not None and tag in (one.strip() for one in field.split(","))


async def _asked(hub: Hub, operation: Operation, request: Request) -> Asked:
    caller: Principal = request.scope[CALLER]
    path = {name: str(value) for name, value in request.path_params.items()}
    _admit(operation, caller, path)
    _check_fields(operation, request)
    query = _query(operation, request)
    body = await _body(operation, request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Asked(hub, caller, path, query, body, headers)


def _admit(operation: Operation, caller: Principal, path: Mapping[str, str]) -> None:
    """Errors: Problem; of another tenant's objects nobody learns whether they are there."""
    if operation.role is None or may(caller, operation.role):
        return
    tenant = tenant_of(caller)
    if tenant is not None and operation.own:
        if path.get("tenant", tenant) != tenant:
            raise Problem(404, "there is no such thing")
        return
    other = f", or {TENANT_ADMIN} for what is one tenant's" if operation.own else ""
    raise Problem(403, f"this needs the scope concento:{operation.role}{other}")


def _check_fields(operation: Operation, request: Request) -> None:
    for name in operation.fields:
        pattern, told = FIELDS[name]
        for value in request.headers.getlist(name):
            if not re.fullmatch(pattern, value):
                raise Problem(
                    422, f"the header field {name} can't be used: {told}", [("", f"{name} has to match {pattern}")]
                )


def _query(operation: Operation, request: Request) -> Any:
    """The query as the operation's type. What it does not know is refused: a misspelt filter would show too much."""
    params = request.query_params
    hints = {} if operation.query is None else get_type_hints(operation.query)
    wrong = [(f"/{name}", _unknown(name, hints)) for name in dict.fromkeys(params) if name not in hints]
    values: dict[str, Any] = {}
    for name in dict.fromkeys(params):
        if name in hints:
            values[name] = params.getlist(name) if get_origin(hints[name]) is tuple else params[name]
            if get_origin(hints[name]) is not tuple and len(params.getlist(name)) > 1:
                wrong.append((f"/{name}", f"the parameter {name!r} is given twice"))
    if wrong:
        raise Problem(422, wrong[0][1], wrong)
    if operation.query is None:
        return None
    try:
        return msgspec.convert({name: _number(hints[name], value) for name, value in values.items()}, operation.query)
    except msgspec.ValidationError as error:
        told = str(error)
        raise Problem(422, f"the query can't be used: {told}", [(_pointer(told), told)]) from None


def _number(hint: Any, text: Any) -> Any:
    """A parameter as the number or flag that it is to be; as it is, if it is none."""
    kinds = {hint, *get_args(hint), *(inner for one in get_args(hint) for inner in get_args(one))}
    if not isinstance(text, str) or not text.isascii():
        return text
    if bool in kinds:
        return {"true": True, "false": False}.get(text, text)
    if int in kinds and text.isdigit() and len(text) < 19:
        return int(text)
    if float in kinds:
        try:
            return float(text) if text[:1].isdigit() and "_" not in text else text
        except ValueError:
            return text
    return text


def _unknown(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name[:_SHOWN], names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return f"unknown parameter {name[:_SHOWN]!r}; {hint}"


async def _body(operation: Operation, request: Request) -> Any:
    if operation.body is None:
        return None
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Problem(415, f"send the body as {JSON}")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > operation.body_bytes_max:
            raise Problem(413, f"the body has more than {operation.body_bytes_max} bytes")
    if operation.schema is not None:
        return decoded(content)
    value = decoded(content or b"{}")
    try:
        return msgspec.convert(value, operation.body)
    except msgspec.ValidationError as error:
        raise Problem(422, f"the body can't be used: {error}", [(_pointer(str(error)), str(error))]) from None


def decoded(content: bytes) -> Any:
    """JSON of any shape, within the bounds that bodies of agents have. Errors: Problem."""
    try:
        check_text(content)
        check_repeats(content)
        return msgspec.json.decode(content)
    except (ParseError, InvalidRequest) as error:
        raise Problem(400, error.message) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from None


def _pointer(message: str) -> str:
    """The JSON pointer of what msgspec says, `… - at `$.a[0]``."""
    _, at, path = message.partition(" - at `$")
    if not at:
        return ""
    return "".join(f"/{step}" for step in path.rstrip("`").replace("[", ".").replace("]", "").split(".") if step)
