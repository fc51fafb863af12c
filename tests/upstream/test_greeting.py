"""The first words with a server over one stream, as a dialogue.

Source: specification 2026-07-28, versioning and stdio.
"""

import asyncio
import json
from typing import Any

import pytest

from concento.model.call import NO_ABILITIES
from concento.upstream.duplex import DuplexLink
from concento.upstream.parking import Parking

VERSION = "2026-07-28"
DISCOVERY = {"result": {"supportedVersions": [VERSION], "capabilities": {}}}
WELCOME = {"result": {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {}}}


def refusal(*supported: str) -> dict[str, Any]:
    data = {"supported": list(supported), "requested": VERSION}
    return {"error": {"code": -32022, "message": "no", "data": data}}


class Heard:
    """A `Listener` that hears nothing."""

    def changed(self, kind: str) -> None: ...

    def updated(self, uri: str) -> None: ...


@pytest.mark.parametrize(
    ("dialogue", "era"),
    [
        ([("server/discover", DISCOVERY)], "modern"),
        ([("server/discover", refusal(VERSION)), ("server/discover", DISCOVERY)], "modern"),
        ([("server/discover", refusal("2025-11-25")), ("initialize", WELCOME)], "legacy"),
        ([("server/discover", refusal()), ("initialize", WELCOME)], "legacy"),
        (
            [("server/discover", refusal(VERSION)), ("server/discover", refusal(VERSION)), ("initialize", WELCOME)],
            "legacy",
        ),
    ],
)
async def test_a_refused_probe_is_repeated_only_if_the_refusal_names_a_modern_revision(
    dialogue: list[tuple[str, dict[str, Any]]], era: str
) -> None:
    asked: list[str] = []

    def send(text: bytes) -> None:
        message = json.loads(text)
        if "id" in message:
            asked.append(message["method"])
            answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], **dialogue[len(asked) - 1][1]}).encode()
            asyncio.get_running_loop().call_soon(link.mux.feed, answer)

    async def end() -> None: ...

    link = DuplexLink("s", send, Heard(), end, parking=Parking(lambda: 0.0), profile=NO_ABILITIES)
    try:
        assert (await link.greet()).era == era
        assert asked == [method for method, _ in dialogue]
    finally:
        await link.close()
