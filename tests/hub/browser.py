"""A person with a browser: opens the page that their agent was given, goes on, signs in, and comes back."""

import re
from dataclasses import dataclass, field
from html import unescape
from urllib.parse import urljoin

import aiohttp

HOPS_MAX = 10


@dataclass
class Page:
    """What the browser shows in the end."""

    url: str
    status: int
    text: str
    went: list[str] = field(default_factory=list)
    """The addresses on the way."""

    @property
    def words(self) -> str:
        """What a person reads."""
        return unescape(re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", self.text, flags=re.DOTALL)))


class Browser:
    """Keeps cookies, follows redirects one by one, and presses the one button of a page."""

    def __init__(self, cookies: dict[str, str] | None = None) -> None:
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), cookies=cookies)
        self._policy = ""
        """What the page that is open says of its referrer."""

    async def __aenter__(self) -> "Browser":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()

    async def open(self, url: str, method: str = "GET", form: dict[str, str] | None = None, until: str = "\0") -> Page:
        """Go to an address and wherever it leads; stop before one that begins with `until`."""
        went: list[str] = []
        for _ in range(HOPS_MAX):
            if url.startswith(until):
                return Page(url, 0, "", went)
            went.append(url)
            headers = self._fields(method, url, self._policy)
            async with self._session.request(method, url, data=form, headers=headers, allow_redirects=False) as reply:
                self._policy = reply.headers.get("Referrer-Policy", "")
                text = await reply.text()
                onward = reply.headers.get("Location") or _onward(text)
                if onward is None:
                    return Page(url, reply.status, text, went)
                url, method, form = urljoin(url, onward), "GET", None
        raise AssertionError(f"it never ends: {went}")

    async def press(self, page: Page, until: str = "\0") -> Page:
        """Press the button of a page's form; as `open`."""
        fields = dict(re.findall(r'<input type=hidden name=(\w+) value="([^"]*)"', page.text))
        return await self.open(page.url, "POST", fields, until)

    @staticmethod
    def _fields(method: str, url: str, policy: str) -> dict[str, str]:
        """What goes with a request: a form is sent with its page's origin, or `null` if the page wants no referrer."""
        origin = "null" if policy == "no-referrer" else "/".join(url.split("/")[:3])
        return {"Origin": origin} if method == "POST" else {}

    async def connect(self, url: str) -> Page:
        """Open a link and go on to the end."""
        page = await self.open(url)
        return await self.press(page) if "<form" in page.text else page


def _onward(text: str) -> str | None:
    """Where a page sends the browser by itself."""
    found = re.search(r"<meta http-equiv=refresh content='0;url=([^']*)'>", text)
    return None if found is None else unescape(found[1])
