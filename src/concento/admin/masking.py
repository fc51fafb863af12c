"""Objects of the configuration as they may be shown: references as written, and `***` for each secret itself.

Secret is what stands where secrets stand (a bearer, a password), what has a secret's name (in `env`, `headers` and
`options`, or behind `--token`), what looks like one, and what is known to be one. Pure.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from ..control.config.parts import pointer_of
from ..observe.audit.entry import SECRET_NAMES
from ..policy.detectors import DETECTORS

MASK: Final = "***"
_ALWAYS: Final = frozenset(("bearer", "password", "client_secret", "private_key", "secret"))
_BY_NAME: Final = frozenset(("env", "headers", "options"))
_NAMES: Final = (*SECRET_NAMES, "key", "pat", "auth", "dsn")
_SCHEME: Final = re.compile(r"(?:bearer|basic|token|apikey)?", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"\$\{[^{}]*\}")
_FLAG: Final = re.compile(r"--?([A-Za-z][A-Za-z0-9_-]*)(?:=(.*))?", re.DOTALL)
_SECRETS: Final = tuple(one for one in DETECTORS.values() if one.group == "secrets")


def masked(value: Any, known: Collection[str] = ()) -> Any:
    """The same without its secrets. `known`: values that are secret wherever they turn up."""
    return _masked(value, frozenset(known), "", False)


def _masked(value: Any, known: frozenset[str], name: str, by_name: bool) -> Any:
    if isinstance(value, Mapping):
        inside = name in _BY_NAME
        return {key: _masked(inner, known, key, inside) for key, inner in value.items()}
    if isinstance(value, list):
        flags = [None, *(_flag(item) for item in value)]
        return [
            _argument(item, known) if not _is_secret_name(flag) or _is_plain(item) else MASK
            for item, flag in zip(value, flags, strict=False)
        ]
    if value is None or isinstance(value, bool) or _is_plain(value):
        return value
    if name in _ALWAYS or (by_name and _is_secret_name(name)) or _looks_secret(value, known):
        return MASK
    return value


def _argument(item: Any, known: frozenset[str]) -> Any:
    match = _FLAG.fullmatch(item) if isinstance(item, str) else None
    if match is not None and match[2] and _is_secret_name(match[1]) and not _is_plain(match[2]):
        return item.removesuffix(match[2]) + MASK
    return _masked(item, known, "", False)


def _flag(item: Any) -> str | None:
    match = _FLAG.fullmatch(item) if isinstance(item, str) else None
    return match[1] if match is not None and match[2] is None else None


def _is_secret_name(name: str | None) -> bool:
    plain = "" if name is None else name.lower().replace("-", "_")
    return any(word in plain for word in _NAMES)


def _is_plain(value: Any) -> bool:
    """Whether nothing is there but references, and at most the word before a token."""
    return isinstance(value, str) and "${" in value and _SCHEME.fullmatch(_REFERENCE.sub("", value).strip()) is not None


def _looks_secret(value: Any, known: frozenset[str]) -> bool:
    if not isinstance(value, str):
        return False
    if any(secret in value for secret in known):
        return True
    return any(one.may_find(value) and next(one.spans(value), None) is not None for one in _SECRETS)


def unmasked(value: Any, before: Any, known: Collection[str] = ()) -> tuple[Any, list[str]]:
    """A value that was got, changed and sent back, with the secrets that are masked in it as they were.

    Returns also the pointers of masks that stand for nothing.
    """
    lost: list[str] = []
    return _unmasked(value, before, masked(before, known), "", lost), lost


def _unmasked(value: Any, before: Any, shown: Any, pointer: str, lost: list[str]) -> Any:
    if isinstance(value, Mapping):
        old, seen = (one if isinstance(one, Mapping) else {} for one in (before, shown))
        return {
            key: _unmasked(inner, old.get(key), seen.get(key), pointer + pointer_of(key), lost)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        same = isinstance(before, list) and isinstance(shown, list) and len(before) == len(value)
        pairs = zip(before, shown, strict=True) if same else [(None, None)] * len(value)
        return [
            _unmasked(inner, one, seen, pointer + pointer_of(at), lost)
            for at, (inner, (one, seen)) in enumerate(zip(value, pairs, strict=True))
        ]
    if not isinstance(value, str) or MASK not in value:
        return value
    if value == shown:
        return before
    if value == MASK or value.endswith(f"={MASK}"):
        lost.append(pointer)
    return value


def masks(value: Any, pointer: str = "") -> Iterator[str]:
    """Where a value has masks."""
    for at, text in texts(value, pointer):
        if text == MASK or text.endswith(f"={MASK}"):
            yield at


def texts(value: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """All texts of a value, by their pointers."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts(inner, pointer + pointer_of(key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from texts(inner, pointer + pointer_of(at))
    elif isinstance(value, str):
        yield pointer, value
