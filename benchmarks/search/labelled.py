"""The set: definitions of public servers' tools, and requests with the tools that are right for each."""

import json
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from concento.catalog.names import Naming
from concento.catalog.search import significant
from concento.catalog.slices import build_slice
from concento.catalog.view import TenantView
from concento.model.call import ALL
from concento.model.config import Server, UrlReplica
from concento.model.inventory import Health, Inventory, Item, Listing

HERE: Final = Path(__file__).parent
FEW: Final = 1 / 3
"""A request that shares no more than this of its telling words with any right tool says it in words of its own."""

Half = Literal["tuning", "held-out"]
Kind = Literal["fits", "near", "nothing"]
"""`fits`: a tool is right. `near`: none is, though the service is there. `nothing`: nothing like it is there."""


class Request(Struct, frozen=True):
    """A need in an agent's own words. `right`: the tools that do it, as `server.tool`."""

    half: Half
    kind: Kind
    request: str
    right: list[str]


class Publisher(Struct, frozen=True):
    """A server, and where its definitions are from."""

    server: str
    repository: str
    commit: str
    licence: str
    tools: list[msgspec.Raw]


def requests(half: Half) -> list[Request]:
    """The requests of one half."""
    found = msgspec.json.decode((HERE / "requests.json").read_bytes(), type=list[Request])
    return [one for one in found if one.half == half]


def publishers() -> list[Publisher]:
    """The servers with their tools."""
    return msgspec.json.decode((HERE / "tools.json").read_bytes(), type=list[Publisher])


def view(copies: int = 1) -> TenantView:
    """The catalog that agents would search: each server once, or several times under other aliases."""
    slices = []
    for copy in range(copies):
        for one in publishers():
            alias = one.server if copies == 1 else f"{one.server[:16]}-{copy}"
            items = tuple(Item(json.loads(bytes(tool))["name"], bytes(tool)) for tool in one.tools)
            server = Server(alias, (UrlReplica("http://127.0.0.1/mcp"),))
            inventory = Inventory(tools=Listing(items))
            slices.append(build_slice(server, inventory, Health("ready"), naming=Naming()))
    return TenantView(tuple(slices), ALL)


def names(view: TenantView) -> list[str]:
    """What the tools of a view are called in the set."""
    return [f"{entry.alias}.{entry.own}" for entry in view.items("tools")]


def is_few(request: Request, texts: dict[str, set[str]], stem: "Stemmer") -> bool:
    """Whether a request shares few of its telling words with the tools that are right for it."""
    words = {stem(word) for word in significant(request.request)}
    shared = max(len(words & texts[tool]) for tool in request.right)
    return shared <= FEW * len(words)


class Stemmer:
    """Words as SQLite's Porter stemmer leaves them: not the hub's own, which is part of what is measured."""

    def __init__(self) -> None:
        import sqlite3

        self._db = sqlite3.connect(":memory:")
        self._db.execute("CREATE VIRTUAL TABLE texts USING fts5(text, tokenize = 'porter unicode61')")
        self._db.execute("CREATE VIRTUAL TABLE terms USING fts5vocab(texts, 'row')")

    def __call__(self, word: str) -> str:
        """One word's stem."""
        return next(iter(self.all(word)), word)

    def all(self, text: str) -> set[str]:
        """The stems of a text's words."""
        self._db.execute("DELETE FROM texts")
        self._db.execute("INSERT INTO texts VALUES (?)", (text,))
        return {term for (term,) in self._db.execute("SELECT term FROM terms")}
