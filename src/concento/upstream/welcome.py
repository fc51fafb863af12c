"""The first words exchanged with a server, in both eras, as values: requests to send and answers to read."""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Raw

from .. import __version__
from ..model.call import Failure, Profile, Reply, Request
from ..model.errors import BadReply
from ..protocol.capabilities import legacy_capabilities
from ..protocol.jsonrpc import raw, read_object, read_string
from ..protocol.versions import LEGACY, MODERN
from .link import Welcome

CLIENT_INFO: Final = {"name": "concento", "title": "Concento", "version": __version__}
DISCOVER: Final = Request("server/discover", {}, {})

SUBSCRIBE_WAIT_S: Final = 5.0
"""How long a server may take to confirm a subscription."""

RELISTEN_S: Final = 2.0
"""Pause before a listen stream that ended is opened again."""

_UNSUPPORTED: Final = -32022


class _Supported(msgspec.Struct):
    supported: list[str] = []


def greeting(profile: Profile) -> Request:
    """The legacy `initialize`; it declares what the callers can do that the session will be used for."""
    declared = raw(legacy_capabilities(profile))
    return Request(
        "initialize", {"protocolVersion": LEGACY[0], "capabilities": declared, "clientInfo": raw(CLIENT_INFO)}, {}
    )


def read_discovery(reply: Reply) -> Welcome | None:
    """The welcome of a modern server, or None where the answer is no evidence of one.

    Errors: BadReply if the server is modern but shares no revision with us.
    """
    if isinstance(reply, Failure):
        if reply.code == _UNSUPPORTED and (supported := _versions(reply.data)):
            _need_common(supported)
        return None
    members = read_object(reply.raw) or {}
    try:
        supported = msgspec.json.decode(members.get("supportedVersions", Raw(b"[]")), type=list[str])
    except msgspec.DecodeError:
        return None
    common = [version for version in MODERN if version in supported]
    if not common:
        if supported:
            _need_common(supported)
        return None
    return Welcome("modern", common[0], *_described(members))


def read_greeting(alias: str, reply: Reply) -> Welcome:
    """The welcome of a legacy server. Errors: BadReply if it refuses, or answers with a revision we don't speak."""
    if isinstance(reply, Failure):
        raise BadReply(
            f"The server {alias!r} refused to initialize: {reply.message[:200]} ({reply.code})", outcome="failed"
        )
    members = read_object(reply.raw) or {}
    revision = read_string(members.get("protocolVersion"))
    if revision not in LEGACY:
        raise BadReply(
            f"The server {alias!r} speaks the protocol revision {revision!r}, which the hub does not", outcome="failed"
        )
    return Welcome("legacy", revision, *_described(members))


def rejects_era(reply: Reply) -> bool:
    """Whether a server says that it speaks other revisions than the one it was asked in."""
    return isinstance(reply, Failure) and reply.code == _UNSUPPORTED


def wants_again(reply: Reply) -> bool:
    """Whether a server refuses the probe but names a modern revision that we speak: it is to be asked again in that,
    and not greeted the legacy way. Source: specification 2026-07-28, versioning.
    """
    return (
        isinstance(reply, Failure) and reply.code == _UNSUPPORTED and not set(MODERN).isdisjoint(_versions(reply.data))
    )


def listen_request(welcome: Welcome, uris: Iterable[str]) -> Request | None:
    """The listen request for all changes a modern server can tell of, and these resources; None if it tells nothing."""
    wanted: dict[str, object] = {}
    for kind in ("tools", "prompts", "resources"):
        if welcome.offers(kind, "listChanged"):
            wanted[f"{kind}ListChanged"] = True
    chosen = sorted(uris)
    if chosen and welcome.offers("resources", "subscribe"):
        wanted["resourceSubscriptions"] = chosen
    return Request("subscriptions/listen", {"notifications": raw(wanted)}, {}) if wanted else None


def _described(members: dict[str, Raw]) -> tuple[Raw, Raw, str | None]:
    meta = read_object(members.get("_meta", Raw(b"{}"))) or {}
    info = members.get("serverInfo") or meta.get("io.modelcontextprotocol/serverInfo") or Raw(b"{}")
    capabilities = members.get("capabilities", Raw(b"{}"))
    return capabilities, info, read_string(members.get("instructions"))


def _versions(data: Raw | None) -> list[str]:
    try:
        return [] if data is None else msgspec.json.decode(data, type=_Supported).supported
    except msgspec.DecodeError:
        return []


def _need_common(supported: list[str]) -> None:
    if not any(version in (*MODERN, *LEGACY) for version in supported):
        raise BadReply(f"The server speaks only the protocol revisions {', '.join(supported)[:200]}", outcome="failed")
