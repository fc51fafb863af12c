"""What a caller can be asked for, read from the capabilities it declared, in either era, and said again to a server.

A server is told what the caller of this call can do, and no more: it asks for nothing that nobody answers.
Source: specification 2026-07-28, basic (client capabilities); 2025-11-25, basic/lifecycle.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from ..model.call import NO_ABILITIES, Ability, Profile
from ..model.task import TASKS_EXTENSION
from .jsonrpc import read_object, read_string

_encode = msgspec.json.Encoder().encode

_KEPT_MAX: Final = 512
_KEPT_BYTES_MAX: Final = 4096
"""Distinct declarations remembered, and how long each may be: agents of one kind all declare the same."""

_known: dict[bytes, Profile] = {b"{}": NO_ABILITIES}


def read_profile(declared: Raw) -> Profile:
    """The profile of raw client capabilities of the modern era, or of 2025-11-25, which read alike."""
    text = bytes(declared)
    profile = _known.get(text)
    if profile is None:
        profile = _read(declared)
        if len(text) <= _KEPT_BYTES_MAX and len(_known) < _KEPT_MAX:
            _known[text] = profile
    return profile


def read_legacy_profile(declared: Raw, revision: str) -> Profile:
    """The profile of an agent's `initialize`: a capability that its revision does not know yet is not counted."""
    members = read_object(declared) or {}
    if revision < "2025-06-18":
        members.pop("elicitation", None)
    elif revision < "2025-11-25" and "elicitation" in members:
        members["elicitation"] = Raw(b"{}")
    if revision < "2025-11-25" and "sampling" in members:
        members["sampling"] = Raw(b"{}")
    kept = {name: members[name] for name in ("elicitation", "sampling", "roots", "experimental") if name in members}
    return read_profile(Raw(_encode(kept)))


def _read(declared: Raw) -> Profile:
    members = read_object(declared) or {}
    abilities: set[Ability] = set()
    if "elicitation" in members:
        modes = read_object(members["elicitation"]) or {}
        if "form" in modes or "url" not in modes:  # an empty declaration means forms
            abilities.add("elicitation")
        if "url" in modes:
            abilities.add("elicitation.url")
    if "sampling" in members:
        abilities.add("sampling")
        parts = read_object(members["sampling"]) or {}
        if "tools" in parts:
            abilities.add("sampling.tools")
        if "context" in parts:
            abilities.add("sampling.context")
    if "roots" in members:
        abilities.add("roots")
        members["roots"] = Raw(b"{}")  # changes of roots are never told
    extensions = read_object(members.get("extensions", Raw(b"{}"))) or {}
    return Profile(Raw(_encode(members)), frozenset(abilities), TASKS_EXTENSION in extensions)


def with_tasks(profile: Profile) -> Profile:
    """The profile of a caller on whose behalf the hub itself takes tasks."""
    members = read_object(profile.declared) or {}
    extensions = read_object(members.get("extensions", Raw(b"{}"))) or {}
    declared: dict[str, Any] = {**members, "extensions": {**extensions, TASKS_EXTENSION: Raw(b"{}")}}
    return read_profile(Raw(_encode(declared)))


def legacy_capabilities(profile: Profile) -> dict[str, Any]:
    """What `initialize` declares to a legacy server on behalf of callers with this profile."""
    abilities = profile.abilities
    declared: dict[str, Any] = {}
    modes: dict[str, Any] = {mode: {} for mode, needed in _MODES.items() if needed in abilities}
    if modes:
        declared["elicitation"] = modes
    if "sampling" in abilities:
        declared["sampling"] = {part: {} for part in ("tools", "context") if f"sampling.{part}" in abilities}
    if "roots" in abilities:
        declared["roots"] = {}
    return declared


_MODES: Final[Mapping[str, Ability]] = {"form": "elicitation", "url": "elicitation.url"}


def needed_ability(method: str, params: Raw) -> Ability | None:
    """What a caller must have declared to be asked this; None if nobody can be asked it."""
    if method == "elicitation/create":
        url = read_string((read_object(params) or {}).get("mode")) == "url"
        return "elicitation.url" if url else "elicitation"
    if method == "sampling/createMessage":
        members = read_object(params) or {}
        return "sampling.tools" if "tools" in members or "toolChoice" in members else "sampling"
    return "roots" if method == "roots/list" else None
