"""The pages at which people connect accounts, in a real browser: what it sends, what it refuses, what it shows.

Source: hardening T21, T33."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from tests.hub.conftest import Running, at, config, free_port, running
from tests.hub.notes_server import USER_COOKIE, Notes, notes_server

from concento.model.principal import Principal
from concento.model.showing import UserOAuth

pytestmark = pytest.mark.timeout(90)
MARKUP = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>"


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    assert program is not None, "no chromium: `make programs` installs it"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def notes() -> AsyncIterator[Notes]:
    async with notes_server(free_port()) as one:
        yield one


@asynccontextmanager
async def person(chromium: Browser, notes: Notes, user: str) -> AsyncIterator[tuple[BrowserContext, Page, list[str]]]:
    """A browser in which somebody is signed in at the server, and what it complains of."""
    context = await chromium.new_context()
    await context.add_cookies([{"name": USER_COOKIE, "value": user, "url": notes.url}])
    page = await context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    yield context, page, said
    await context.close()


@asynccontextmanager
async def hub_before(notes: Notes) -> AsyncIterator[Running]:
    server = at("notes", notes.url, users=UserOAuth(scope="notes:read"), isolation="principal")
    async with running(config(server)) as hub:
        yield hub


async def test_a_person_connects_an_account_by_one_click(chromium: Browser, notes: Notes) -> None:
    async with hub_before(notes) as hub, person(chromium, notes, "alice") as (_, page, said):
        who = Principal(subject="alice", agent="an-agent", tenant="acme")
        await page.goto(hub.hub.connecting.begin("notes", who))
        shown = await page.inner_text("main")
        for text in ("Connect notes", "alice", "an-agent", "acme", "notes:read", "Go on only if you asked for this"):
            assert text in shown
        await page.get_by_role("button", name="Sign in at").press("Enter")
        await page.wait_for_url("**/oauth/callback?**")
        assert "notes is connected" in await page.inner_text("main")
        assert [place.holder for place, _ in await hub.hub.accounts.all()] == ["alice"]
        assert not [one for one in said if "favicon" not in one and "404" not in one]


async def test_what_others_wrote_is_shown_as_text_and_nothing_runs(chromium: Browser, notes: Notes) -> None:
    async with hub_before(notes) as hub, person(chromium, notes, "alice") as (_, page, said):
        await page.goto(hub.hub.connecting.begin("notes", Principal(subject=MARKUP, agent=MARKUP, tenant=MARKUP)))
        assert (await page.inner_text("dl")).count(MARKUP) == 3
        assert await page.locator("img, script").count() == 0
        await page.goto(f"{hub.url}/oauth/callback?state={MARKUP}&error={MARKUP}")
        assert "Nothing was connected" in await page.inner_text("main")
        assert await page.locator("img, script").count() == 0
        assert not [one for one in said if one.startswith(("dialog", "error"))]


async def test_another_page_can_neither_send_the_form_nor_frame_it(chromium: Browser, notes: Notes) -> None:
    async with hub_before(notes) as hub, person(chromium, notes, "alice") as (context, page, _):
        link = hub.hub.connecting.begin("notes", Principal(subject="alice"))
        await page.goto(link)  # so that the browser has the cookie
        evil = await context.new_page()
        await evil.goto(f"{notes.url.removesuffix('/mcp')}/nowhere")
        html = (
            f'<form method=post action="{link}"><input name=proof value="{"0" * 64}"><button>win</button></form>'
            f'<iframe src="{link}"></iframe>'
        )
        async with evil.expect_console_message(lambda message: "frame-ancestors" in message.text):
            await evil.set_content(html)
        await evil.get_by_role("button").click()
        await evil.wait_for_load_state()
        assert "Nothing was connected" in await evil.inner_text("body")
        assert not notes.people.access_tokens
