"""The pages on which a person connects an account: for whom and what, on to the sign-in, and how it ended.

They are shown in whatever browser the link is opened in, and prove nothing about who looks at them: what is connected
belongs to the caller whose agent got the link. The page says so, and only its own form goes on.
Source: RFC 6749 10.12; specification 2026-07-28, client/elicitation; hardening T21, T33.
"""

import base64
import hashlib
import hmac
import secrets
from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from ..credentials.connecting import CONNECT_PATH, LINK_S, Connecting, Link, NotConnected
from ..credentials.registration import CALLBACK_PATH, METADATA_PATH, metadata_document
from ..model.principal import ANONYMOUS
from ..model.tenant import DEFAULT_TENANT
from .http import Exchange
from .parser import HttpRequest

_COOKIE: Final = "concento-connect"
_FORM_BYTES_MAX: Final = 4096
_FIELDS_MAX: Final = 20
_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c1d21;--soft:#60636d;--line:#d9dbe1;--ground:#fff;--act:#2f5bd0}
@media(prefers-color-scheme:dark){:root{--ink:#e7e8ec;--soft:#9a9eaa;--line:#3a3d46;--ground:#17181c;--act:#7f9df5}}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:34rem;margin:12vh auto;padding:0 1.25rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 1rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.4rem 1.25rem;margin:1.5rem 0;padding:1rem 0;
border:solid var(--line);border-width:1px 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
button{font:inherit;font-weight:600;padding:.6rem 1.1rem;border:0;border-radius:.4rem;background:var(--act);
color:var(--ground);cursor:pointer}
button:focus-visible{outline:3px solid var(--act);outline-offset:2px}
p.soft{color:var(--soft)}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def is_page(path: str) -> bool:
    """Whether a path is one of these pages, or what goes with them."""
    return path.startswith(CONNECT_PATH) or path in (CALLBACK_PATH, METADATA_PATH)


class ConnectPages:
    """Answers requests of browsers."""

    def __init__(self, connecting: Connecting) -> None:
        self._connecting = connecting

    async def serve(self, request: HttpRequest, exchange: Exchange) -> None:
        """Answer one request."""
        path = request.head.path
        if path == METADATA_PATH:
            exchange.reply(200, metadata_document(self._connecting.base_url))
            return
        try:
            if path == CALLBACK_PATH:
                await self._finish(request, exchange)
            else:
                await self._connect(request, exchange)
        except NotConnected as problem:
            _show(exchange, 400, "Nothing was connected", f"<p>{escape(str(problem))}</p>")

    async def _connect(self, request: HttpRequest, exchange: Exchange) -> None:
        link = self._connecting.find(request.head.path.removeprefix(CONNECT_PATH))
        if link is None:
            told = f"<p>It is good for {LINK_S / 60:.0f} minutes, and once. Ask your agent for a new one.</p>"
            _show(exchange, 404, "This link is no longer good", told)
            return
        cookie = _cookie(request)
        if request.head.method == "GET":
            server = await self._connecting.look(link)
            cookie = cookie or secrets.token_urlsafe(32)
            proof = self._connecting.proof(link, cookie)
            origin = "{0.scheme}://{0.netloc}".format(urlsplit(server.authorize_url))
            flags = f"Path=/; HttpOnly; SameSite=Lax; Max-Age={LINK_S:.0f}"
            flags += "; Secure" if self._connecting.base_url.startswith("https://") else ""
            question = _question(link, origin, proof)
            _show(exchange, 200, f"Connect {link.site.alias}", question, f"{_COOKIE}={cookie}; {flags}")
            return
        form = dict(parse_qsl(request.body[:_FORM_BYTES_MAX].decode("ascii", "replace"), max_num_fields=_FIELDS_MAX))
        if cookie is None or not hmac.compare_digest(form.get("proof", ""), self._connecting.proof(link, cookie)):
            raise NotConnected("The page was not opened in this browser, or it takes no cookies. Open the link again.")
        page = await self._connecting.start(link, cookie)
        # Not by a redirect: browsers hold all redirects after a form against the page's policy, and who signs people
        # in may send them on to anywhere.
        host = escape(urlsplit(page).netloc)
        text = f"<p>If you are not sent on, <a href='{escape(page)}'>go on to {host}</a>.</p>"
        _show(exchange, 200, f"On to {urlsplit(page).netloc}", text, onward=page)

    async def _finish(self, request: HttpRequest, exchange: Exchange) -> None:
        pairs = parse_qsl(request.head.query, keep_blank_values=True, max_num_fields=_FIELDS_MAX)
        told = dict(pairs)
        if len(told) != len(pairs):
            raise NotConnected("The answer says something twice.")
        link = await self._connecting.finish(told, _cookie(request) or "")
        alias = escape(link.site.alias)
        text = (
            f"<p>Go back to your agent; you can close this page.</p><p class=soft>To undo it, ask your agent to "
            f"disconnect your account at {alias}.</p>"
        )
        _show(exchange, 200, f"{link.site.alias} is connected", text)


def _question(link: Link, origin: str, proof: str) -> str:
    """What a person sees before they go on."""
    who = link.who
    person = "whoever uses this hub" if who.subject == ANONYMOUS.subject else who.subject
    rows = [("For", person)]
    rows += [("Through the agent", who.agent)] if who.agent is not None else []
    rows += [("Tenant", who.tenant)] if who.tenant != DEFAULT_TENANT else []
    rows += [("To be used at", urlsplit(link.site.url).netloc), ("You sign in at", origin)]
    rows += [("It may then", ", ".join(link.scopes))] if link.scopes else []
    table = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    host = escape(urlsplit(origin).netloc)
    return (
        f"<p>Your agent wants to use <strong>{escape(link.site.alias)}</strong> as you.</p><dl>{table}</dl>"
        f"<p>Go on only if you asked for this just now, and this is you: whoever gave you this link "
        f"will use what you connect.</p>"
        f'<form method=post><input type=hidden name=proof value="{escape(proof)}">'
        f"<button>Sign in at {host}</button></form>"
        f"<p class=soft>If you don't want to, close this page: nothing has happened.</p>"
    )


def _cookie(request: HttpRequest) -> str | None:
    try:
        found = SimpleCookie(request.head.fields.get("cookie", "")).get(_COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_GUARDS: Final = (
    ("cache-control", "no-store"),
    ("referrer-policy", "same-origin"),  # with none at all, browsers send the form with the origin `null`
    ("x-content-type-options", "nosniff"),
)


def _show(
    exchange: Exchange, status: int, title: str, body: str, cookie: str | None = None, onward: str | None = None
) -> None:
    """Show a page. `cookie` is a whole field; `onward` is where the browser goes by itself."""
    refresh = "" if onward is None else f"<meta http-equiv=refresh content='0;url={escape(onward)}'>"
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>{refresh}"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><main><h1>{escape(title)}</h1>{body}</main></html>"
    )
    headers = [("content-type", "text/html; charset=utf-8"), ("content-security-policy", _POLICY), *_GUARDS]
    exchange.reply(status, page.encode(), (*headers, *([] if cookie is None else [("set-cookie", cookie)])))
