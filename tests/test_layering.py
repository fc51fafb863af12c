"""The rooms of `src/concento/` and what each may import: this file is both the list and its proof.

Imports point down only. All of them count: at the top of a file, inside a function, relative, for typing only, and by
name through `importlib.import_module("...")`. A broken rule is named by its edge, as file and line.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src"
PACKAGE = "concento"

# Bottom to top. A room may import the rooms of lower rows; rooms of one row stand side by side.
ROWS = (
    {"model"},
    {"protocol"},
    {"store"},
    {"embedding"},
    {"transport"},
    {"credentials"},
    {"upstream"},
    {"catalog"},
    {"routing"},
    {"policy"},
    {"observe"},
    {"snapshot"},
    {"gateway", "control"},
    {"front"},
    {"admin"},
    {"app"},
    {"onboarding"},
    {"cli"},
    {"__main__"},
    {"testing"},
)
# Edges that point down and are forbidden all the same.
FORBIDDEN = {
    ("front", "control"),  # the two planes meet in the snapshot only
    *((room, below) for room in ("catalog", "routing") for below in ("upstream", "credentials", "transport", "store")),
}
# Rooms that turn values into values: whoever waits, connects or reads a clock does so above them.
PURE = {"model", "protocol", "catalog", "routing"}
EFFECTS = {"asyncio", "anyio", "uvloop", "socket", "ssl", "selectors", "subprocess", "threading", "time"}
EFFECTS_ALLOWED = {("model/clock.py", "time")}


def test_imports_point_down_only() -> None:
    broken = list(violations(SRC))
    assert not broken, "\n".join(["the rooms' order is broken:", *broken])


def violations(src: Path) -> Iterator[str]:
    package = src / PACKAGE
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        importer = file.parts[0].removesuffix(".py")
        for line, module in imports(path, src):
            if reason := objection(importer, file.as_posix(), module, package):
                yield f"{path.relative_to(src.parent)}:{line} imports {module}: {reason}"


def objection(importer: str, file: str, module: str, package: Path) -> str | None:
    """Why this file of the room `importer` may not import `module`, or None if it may."""
    top, *below = module.split(".")
    if top != PACKAGE:
        if importer in PURE and top in EFFECTS and (file, top) not in EFFECTS_ALLOWED:
            return f"{importer} is pure, {top} is not"
        return None
    imported = below[0] if below else "__init__"
    if imported == importer or imported == "__init__" or not is_module(package / imported):
        return None  # its own room, or a name that the package root itself holds
    if importer == "__init__":
        return "the package root may not import any room"
    if unknown := {importer, imported} - row_of.keys():
        return f"{', '.join(sorted(unknown))} is no known room: give it its place in tests/test_layering.py"
    if row_of[imported] >= row_of[importer] or (importer, imported) in FORBIDDEN:
        return f"{importer} may not import {imported}"
    return None


row_of = {room: row for row, rooms in enumerate(ROWS) for room in rooms}


def is_module(path: Path) -> bool:
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports(path: Path, src: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of each module, or name in a module, that the file imports."""
    place = path.relative_to(src).with_suffix("").parts[:-1]  # the package that the file is in, __init__.py included
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        match node:
            case ast.Import():
                yield from ((node.lineno, alias.name) for alias in node.names)
            case ast.ImportFrom():
                base = [*place[: len(place) - node.level + 1]] if node.level else []
                base += node.module.split(".") if node.module else []
                yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                dots = len(name) - len(name.lstrip("."))
                base = [*place[: len(place) - dots + 1]] if dots else []
                yield node.lineno, ".".join([*base, name.lstrip(".")])


# The checker itself, on trees made to break one rule each.


@pytest.fixture
def src(tmp_path: Path) -> Path:
    """A tree in order: every room is there and empty."""
    package = tmp_path / "src" / PACKAGE
    for room in row_of:
        (package / room).mkdir(parents=True)
    for file in ("__init__", "snapshot", "app"):
        (package / file).with_suffix(".py").write_text("")
    return package.parent


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("front/http.py", "from concento.gateway.call import deliver"),
        ("front/http.py", "from concento import __version__"),
        ("admin/api.py", "from ..control import reload"),
        ("gateway/call.py", "from concento import snapshot"),
        ("gateway/call.py", "import asyncio, time"),
        ("gateway/call.py", "from . import deliver"),
        ("gateway/call.py", "from .front import name"),  # gateway's own module of that name
        ("model/clock.py", "import time"),
        ("testing/hub.py", "import concento.app"),
        ("control/publish.py", "import concentorium.front"),
    ],
)
def test_import_that_points_down_passes(src: Path, file: str, line: str) -> None:
    (src / PACKAGE / file).write_text(line)
    assert list(violations(src)) == []


@pytest.mark.parametrize(
    ("file", "line", "edge"),
    [
        ("model/ids.py", "import concento.protocol", "model may not import protocol"),
        ("protocol/sse.py", "from concento.store import rows", "protocol may not import store"),
        ("transport/http.py", "from concento import upstream", "transport may not import upstream"),
        ("catalog/names.py", "from concento.upstream.pool import Pool", "catalog may not import upstream"),
        ("routing/plan.py", "from concento.store import rows", "routing may not import store"),
        ("gateway/call.py", "from concento.front import http", "gateway may not import front"),
        ("gateway/call.py", "from concento.control import reload", "gateway may not import control"),
        ("front/http.py", "from concento.control import reload", "front may not import control"),
        ("control/reload.py", "from concento.front import http", "control may not import front"),
        ("control/reload.py", "from concento.gateway import call", "control may not import gateway"),
        ("control/reload.py", "import concento.admin", "control may not import admin"),
        ("snapshot.py", "import concento.gateway", "snapshot may not import gateway"),
        ("app.py", "from concento.testing import hub", "app may not import testing"),
        ("__init__.py", "from .model import ids", "the package root may not import any room"),
        ("protocol/sse.py", "import asyncio.streams", "protocol is pure, asyncio is not"),
        ("catalog/search.py", "from socket import socket", "catalog is pure, socket is not"),
        ("routing/plan.py", "from time import monotonic", "routing is pure, time is not"),
        ("attic/old.py", "from concento.model import ids", "attic is no known room"),
    ],
)
def test_import_that_breaks_the_order_is_named(src: Path, file: str, line: str, edge: str) -> None:
    (src / PACKAGE / file).parent.mkdir(exist_ok=True)
    (src / PACKAGE / file).write_text(f"\n{line}\n")
    (found,) = violations(src)
    assert found.startswith(f"src/{PACKAGE}/{file}:2 imports ")
    assert edge in found


@pytest.mark.parametrize(
    "line",
    [
        "def late():\n    from concento.front import http",
        "from ..front import http",
        "from .. import front",
        "from ..front.http import *",
        "if TYPE_CHECKING:\n    from concento.front.http import Listener",
        "http = importlib.import_module('concento.front.http')",
        "http = import_module('..front', __package__)",
    ],
)
def test_import_in_disguise_is_found(src: Path, line: str) -> None:
    (src / PACKAGE / "gateway/call.py").write_text(line)
    (found,) = violations(src)
    assert found.endswith("gateway may not import front")
