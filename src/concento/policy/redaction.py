"""What detectors find in the JSON that callers and servers send, and the same JSON without it. Pure.

All text is searched, at any depth: values, names of members, whole numbers as they are written. What is base64 in the
place of an image, of sound or of a file is not decoded: nobody could say what a picture shows.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Raw

from .detectors import DETECTORS, Detector
from .looks import is_secret_member
from .search_cost import compile_searched

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(float_hook=lambda text: Raw(text.encode())).decode
"""Numbers with a fraction stay as they are written, whatever a float can hold."""
_ESCAPED: Final = ("\\u", "\\/")
"""Where JSON may write a character of a hint in another way, hints say nothing before it is decoded."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/\s]{0,67108864}+={0,2}")
_DIGITS_MIN: Final = 10**9
_UNREAD: Final = frozenset({"requestState", "taskId", "resultType", "nextCursor"})
"""Members of a whole result that only machines read, and that have to stay as they are."""


class Unreadable(ValueError):
    """Nobody can say what is in it."""


class Search:
    """A search for what some detectors find, and expressions of the operator's own, each with its name.

    It keeps nothing, and may be shared. Errors: ValueError, for an expression that could take too long.
    """

    def __init__(self, names: Iterable[str], patterns: Iterable[tuple[str, str]] = ()) -> None:
        self._detectors = [
            *(DETECTORS[name] for name in names),
            *(Detector(name, None, "", (), (compile_searched(text),)) for name, text in patterns),
        ]
        self._members = any(detector.name == "password" for detector in self._detectors)

    def redacted(self, raw: Raw, *, is_result: bool = False) -> tuple[Raw, Counter[str]]:
        """JSON without what was found in it, and how often that was, by detector; the very same if nothing was.

        `is_result`: what a server sent as one. Errors: Unreadable.
        """
        try:
            text = bytes(raw).decode()
            if not self._may_find(text):
                return raw, Counter()
            reading = _Reading(self._detectors, self._members, is_result)
            value = reading.whole(_decode(text))
            # Encoded anew even where nothing was found: a member that is there twice was searched once.
            return Raw(_encode(value)), reading.found
        except (ValueError, RecursionError):
            raise Unreadable("it is no JSON that can be read") from None

    def text(self, text: str) -> tuple[str, Counter[str]]:
        """A text without what was found in it."""
        reading = _Reading(self._detectors, self._members, False)
        return reading.text(text), reading.found

    def _may_find(self, text: str) -> bool:
        return any(one in text for one in _ESCAPED) or any(detector.may_find(text) for detector in self._detectors)


class _Reading:
    """One search through one value."""

    def __init__(self, detectors: list[Detector], members: bool, is_result: bool) -> None:
        self._detectors = detectors
        self._members = members
        self._is_result = is_result
        self.found: Counter[str] = Counter()

    def whole(self, value: Any) -> Any:
        """A whole value."""
        if not self._is_result or not isinstance(value, dict):
            return self._value(value)
        kept = {name: inner for name, inner in value.items() if name in _UNREAD}
        return {**self._value({name: inner for name, inner in value.items() if name not in _UNREAD}), **kept}

    def _value(self, value: Any, name: str = "") -> Any:
        if isinstance(value, str):
            return self._string(value, name)
        if isinstance(value, list):
            return [self._value(inner, name) for inner in value]
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, int) and not isinstance(value, bool) and value >= _DIGITS_MIN:
            written = str(value)
            kept = self.text(written)
            return value if kept == written else kept
        return value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, inner in value.items():
            public = own = self.text(name)
            number = 2
            while public in kept:  # two names of which the same is left
                public, number = f"{own} {number}", number + 1
            kept[public] = inner if self._is_file(value, name) else self._value(inner, name)
        return kept

    def _is_file(self, value: dict[str, Any], name: str) -> bool:
        """Whether a member is the content of an image, of sound or of a file."""
        if not self._is_result or name not in ("data", "blob"):
            return False
        is_content = value.get("type") in ("image", "audio") if name == "data" else "uri" in value
        return is_content and isinstance(value[name], str) and _BASE64.fullmatch(value[name]) is not None

    def _string(self, text: str, name: str) -> str:
        if self._members and is_secret_member(name, text):
            self.found["password"] += 1
            return _mark("password")
        return self.text(text, in_uri=name in ("uri", "url"))

    def text(self, text: str, *, in_uri: bool = False) -> str:
        """A text without what is found; of two that overlap, the one that begins first takes both."""
        spans = sorted(
            (begin, -end, detector.name)
            for detector in self._detectors
            if detector.may_find(text)
            for begin, end in detector.spans(text)
        )
        kept, at = [], 0
        for begin, minus_end, name in spans:
            if begin >= at:
                mark = _mark(name)
                kept += [text[at:begin], quote(mark, safe="") if in_uri else mark]
                self.found[name] += 1
            elif -minus_end <= at:
                continue
            at = max(at, -minus_end)
        return text if not spans else "".join([*kept, text[at:]])


def _mark(name: str) -> str:
    """What stands where something was."""
    return f"[redacted: {name}]"
