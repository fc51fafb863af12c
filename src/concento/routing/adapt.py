"""A caller's arguments as a bound tool takes them, and its result as the caller knows it. Pure.

Values pass as the bytes that came.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, structs

from ..model.call import Result
from ..model.errors import BadReply
from ..model.logical import Adapter, ResultMap
from ..protocol.jsonrpc import raw, read_object

_encode = msgspec.json.Encoder().encode


def adapted(arguments: Mapping[str, Raw], adapter: Adapter) -> Raw:
    """The tool's arguments. What the caller says goes before a default, and a constant before what the caller says.

    An argument that the adapter renames is not passed on under its old name, nor can a caller name the new one.
    """
    made: dict[str, Raw] = {name: Raw(value) for name, value in adapter.default.items()}
    taken = set(adapter.rename.values())
    for name, value in arguments.items():
        if name in adapter.rename:
            made[adapter.rename[name]] = value
        elif name not in adapter.drop and name not in taken:
            made[name] = value
    made |= {name: Raw(value) for name, value in adapter.constant.items()}
    return Raw(_encode(made))


class _Text(msgspec.Struct):
    text: str = ""


class _Answer(msgspec.Struct):
    structuredContent: Raw = Raw(b"null")
    content: list[_Text] = []


_decode = msgspec.json.Decoder(_Answer).decode


def answered(result: Result, wanted: ResultMap) -> Result:
    """A bound tool's result as the logical tool's: its structured content, or the JSON that it returns as text, mapped.

    A tool that says that it failed says so unchanged. Errors: BadReply, if there is no object at the path.
    """
    if result.failed:
        return result
    found = _structured(result)
    for name in wanted.path:
        found = None if found is None else read_object(found.get(name, Raw(b"null")))
    if found is None:
        place = ".".join(wanted.path) or "the top"
        raise BadReply(f"The result has no object at {place}, where the logical tool's is looked for", outcome="failed")
    text = _encode({wanted.rename.get(name, name): value for name, value in found.items()})
    members: dict[str, Any] = dict(read_object(result.raw) or {})
    members["structuredContent"] = Raw(text)
    members["content"] = raw([{"type": "text", "text": text.decode()}])
    return structs.replace(result, raw=Raw(_encode(members)))


def _structured(result: Result) -> dict[str, Raw] | None:
    try:
        answer = _decode(result.raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    if (members := read_object(answer.structuredContent)) is not None:
        return members
    return read_object(answer.content[0].text.encode()) if answer.content else None
