"""Who is asked what servers want to know: the official client with an answer for everything."""

from typing import Any

import mcp_types as types
from mcp import Client

ANSWERS: dict[str, dict[str, Any]] = {
    "elicitation": {"action": "accept", "content": {"colour": "blue"}},
    "url": {"action": "accept"},
    "sampling": {
        "role": "assistant",
        "content": {"type": "text", "text": "yes"},
        "model": "m",
        "stopReason": "endTurn",
    },
    "roots": {"roots": [{"uri": "file:///work", "name": "work"}]},
}


class Person:
    """Remembers the questions and answers each."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def elicit(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params)
        kind = "elicitation" if isinstance(params, types.ElicitRequestFormParams) else "url"
        return types.ElicitResult.model_validate(ANSWERS[kind])

    async def sample(self, context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        self.asked.append(params)
        return types.CreateMessageResult.model_validate(ANSWERS["sampling"])

    async def roots(self, context: Any) -> types.ListRootsResult:
        self.asked.append(None)
        return types.ListRootsResult.model_validate(ANSWERS["roots"])

    def client(self, url: Any, mode: str, **options: Any) -> Client:
        """A client of this person's."""
        return Client(
            url,
            mode=mode,
            elicitation_callback=self.elicit,
            sampling_callback=self.sample,
            list_roots_callback=self.roots,
            **options,
        )
