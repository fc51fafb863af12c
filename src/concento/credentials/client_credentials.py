"""Tokens that the hub gets in its own name. Source: RFC 6749 4.4 (client credentials), RFC 8707 (resource)."""

import time
from collections.abc import Callable

from ..model.showing import OAuthClient
from .token import Token
from .token_endpoint import Granted, ask_token


class ClientCredentials(Token):
    """The token of one client, wherever it is used."""

    def __init__(self, client: OAuthClient, name: str, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name, now)
        self._client = client

    async def _ask(self) -> Granted:
        asked = {"scope": self._client.scope, "resource": self._client.resource}
        form = {"grant_type": "client_credentials"} | {name: value for name, value in asked.items() if value}
        return await ask_token(self._client, form, None)
