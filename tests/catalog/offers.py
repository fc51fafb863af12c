"""What servers offer, made short: the values that catalog tests begin with."""

import json
from types import MappingProxyType
from typing import Any

from concento.catalog.names import Naming
from concento.catalog.slices import Slice, build_slice
from concento.model.config import Server, ToolOverride, UrlReplica
from concento.model.inventory import Health, Inventory, Item, Listing

READY = Health("ready")
NAMING = Naming(48, frozenset({"a", "b", "bare"}))


def tool(name: str, **more: object) -> Item:
    return Item(name, json.dumps({"name": name, "inputSchema": {"type": "object"}, **more}).encode())


def resource(uri: str) -> Item:
    return Item(uri, json.dumps({"uri": uri, "name": "n"}).encode())


def server(alias: str, prefix: str = "alias", **overrides: ToolOverride) -> Server:
    return Server(alias, (UrlReplica("http://x"),), tools=MappingProxyType(overrides), prefix=prefix)  # type: ignore[arg-type]


def slice_of(alias: str, *tools: Item, prefix: str = "alias", **overrides: ToolOverride) -> Slice:
    inventory = Inventory(tools=Listing(tools, 60.0, True, 1000.0), capabilities=b'{"tools":{},"logging":{}}')
    return build_slice(server(alias, prefix, **overrides), inventory, READY, naming=NAMING)


def offering(alias: str, *, prefix: str = "alias", **inventory: Any) -> Slice:
    """A ready server with this inventory."""
    return build_slice(server(alias, prefix), Inventory(**inventory), READY, naming=NAMING)


def unknown(alias: str, *, prefix: str = "alias") -> Slice:
    """A server never listed before, still starting."""
    return Slice(server(alias, prefix), None, Health())
