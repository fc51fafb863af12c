"""Entries as YAML text: plain where that can't be misread, quoted where it could. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from ..control.config.document import plain_value

LINE_CHARS: Final = 110
"""A list or mapping that is no longer stands on one line."""

_PLAIN = re.compile(r"[A-Za-z0-9_./~+-][A-Za-z0-9_./@~+=-]*|https?://[A-Za-z0-9_./~+=-]+(:[0-9]+)?[A-Za-z0-9_./~+=-]*")
_OTHER_READERS: Final = re.compile(r"(?i)y|n|yes|no|on|off|true|false|null|~|[-+]?[.0-9].*|.*[-=:]|<<|=")
"""Text that YAML 1.1 takes for something else, or a person might: quoted, though our own loader needs it not."""

_UNPRINTABLE = re.compile("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def entry_lines(alias: str, keys: Mapping[str, Any], indent: str = "  ") -> list[str]:
    """The lines of one entry, as they stand below `servers:`."""
    return [f"{indent}{alias}:", *_lines(keys, indent * 2, indent)]


def flow(value: Any) -> str:
    """The value on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case str():
            return scalar(value)
        case list() | tuple():
            return f"[{', '.join(map(flow, value))}]"
        case Mapping():
            return f"{{{', '.join(f'{scalar(str(key))}: {flow(one)}' for key, one in value.items())}}}"
    return str(value)


def scalar(text: str) -> str:
    """Text that is read as just this text."""
    if _PLAIN.fullmatch(text) and not _OTHER_READERS.fullmatch(text) and plain_value(text) == text:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: _escaped(ord(match[0])), quoted)


def comment(text: str, indent: str = "") -> str:
    """A comment of one line."""
    return f"{indent}# {_UNPRINTABLE.sub(' ', text)}"


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _lines(keys: Mapping[str, Any], indent: str, step: str) -> list[str]:
    lines: list[str] = []
    for key, value in keys.items():
        name = scalar(str(key))
        on_one = f"{indent}{name}: {flow(value)}"
        if len(on_one) <= LINE_CHARS and not (isinstance(value, Mapping) and len(value) > 1):
            lines.append(on_one)
        elif isinstance(value, Mapping) and value:
            lines += [f"{indent}{name}:", *_lines(value, indent + step, step)]
        elif isinstance(value, list | tuple) and value:
            lines += [f"{indent}{name}:", *(f"{indent}{step}- {flow(one)}" for one in value)]
        else:
            lines.append(on_one)
    return lines
