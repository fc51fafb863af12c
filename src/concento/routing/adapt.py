"""A caller's arguments as a bound tool takes them. Pure; values pass as the bytes that came."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from ..model.logical import Adapter

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
