"""A real MCP server that wants to know its users, with an authorization server of its own: on FastMCP.

People sign in at a page of their own, where a cookie says who they are. The server keeps a note for each of them.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth.providers import in_memory
from fastmcp.server.dependencies import get_access_token, get_http_headers
from mcp.server.auth.settings import ClientRegistrationOptions, RevocationOptions
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from concento.testing.waiting import until

USER_COOKIE = "notes_user"


class People(in_memory.InMemoryOAuthProvider):
    """Remembers who signed in for which code, and so whose each token is."""

    def __init__(self, url: str) -> None:
        super().__init__(
            base_url=url,
            client_registration_options=ClientRegistrationOptions(
                enabled=True, valid_scopes=["notes:read", "notes:write"]
            ),
            revocation_options=RevocationOptions(enabled=True),
        )
        self.users: dict[str, str] = {}
        """By code, access token and refresh token."""
        self.refreshes = 0
        self.signed_in: list[dict[str, list[str]]] = []
        """What each browser was sent with, as the client asked for it."""
        self.lasts_s = 3600

    async def authorize(self, client: Any, params: Any) -> str:
        """Send the browser to the page where people sign in."""
        done = await super().authorize(client, params)
        return f"{self.base_url}sign-in?{urlencode({'to': done, 'for': str(params.resource)})}"

    async def sign_in(self, request: Request) -> Response:
        """The page: whoever has the cookie is signed in already; who is called `nobody` declines."""
        to, user = request.query_params["to"], request.cookies.get(USER_COOKIE, "")
        asked = parse_qs(urlsplit(to).query)
        self.signed_in.append({**asked, "for": [request.query_params["for"]]})
        if not user:
            declined = {"error": "access_denied", "state": asked["state"][0]}
            return RedirectResponse(f"{to.partition('?')[0]}?{urlencode(declined)}")
        self.users[asked["code"][0]] = user
        return RedirectResponse(to)

    async def exchange_authorization_code(self, client: Any, authorization_code: Any) -> Any:
        """A token of whoever signed in."""
        user = self.users.pop(authorization_code.code)
        return self._known(await super().exchange_authorization_code(client, authorization_code), user)

    async def exchange_refresh_token(self, client: Any, refresh_token: Any, scopes: list[str]) -> Any:
        """A new token of the same user."""
        self.refreshes += 1
        user = self.users.pop(refresh_token.token)
        return self._known(await super().exchange_refresh_token(client, refresh_token, scopes), user)

    def _known(self, token: Any, user: str) -> Any:
        self.users[token.access_token] = self.users[token.refresh_token] = user
        token.expires_in = self.lasts_s
        return token

    def end_all(self) -> None:
        """Let no access token count any more; refresh tokens still do."""
        self._access_to_refresh_map.clear()
        self.access_tokens.clear()


class Notes:
    """The server while it runs."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/mcp"
        self.people = People(url)
        self.seen: list[str] = []
        """The Authorization field of each call."""
        self.server = FastMCP("notes", auth=self.people)
        self.server.tool(self.who_am_i)
        self.server.custom_route("/sign-in", methods=["GET"])(self.people.sign_in)

    async def who_am_i(self) -> str:
        """Say whose account is used."""
        token = get_access_token()
        assert token is not None
        self.seen.append(get_http_headers(include_all=True).get("authorization", ""))
        return self.people.users[token.token]


@asynccontextmanager
async def notes_server(port: int) -> AsyncIterator[Notes]:
    """The server at a port of this machine, until the context ends."""
    notes = Notes(f"http://127.0.0.1:{port}")
    settings = uvicorn.Config(notes.server.http_app(), port=port, log_level="error", timeout_graceful_shutdown=1)
    running = uvicorn.Server(settings)
    running.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    async with asyncio.TaskGroup() as group:
        task = group.create_task(running.serve())
        await until(lambda: running.started, "the server listens")
        try:
            yield notes
        finally:
            running.should_exit = True
            with suppress(asyncio.CancelledError):
                await task
