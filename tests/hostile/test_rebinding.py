"""A page in a browser reaches no route of either listener, whatever name it gave this machine.

The routes of the admin listener are read off its application, so that a new one is in this matrix at once.
Source: hardening T20.
"""

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.routing import Route
from tests.front.corpus import JSON, request
from tests.hostile.rig import Rig
from tests.hostile.wire import Reply, ask

from concento.admin.access import AdminAccess
from concento.admin.listener import admin_app
from concento.front.identity.hosts import Hosts

DATA = [
    *((method, path) for path in ("/mcp", "/views/a/mcp", "/servers/a/mcp") for method in ("POST", "GET", "DELETE")),
    *(("GET", "/sse"), ("POST", "/messages?session=x"), ("GET", "/health/live"), ("GET", "/health/ready")),
    *(("GET", "/nothing"), ("POST", "/nothing"), ("OPTIONS", "/mcp"), ("PUT", "/mcp"), ("HEAD", "/mcp")),
]
_NOBODY = cast(AdminAccess, None)
_hub = cast(Any, SimpleNamespace(hosts=Hosts([])))
ADMIN = [
    *(
        (method, re.sub(r"\{[a-z:]+\}", "t", route.path))
        for route in admin_app(_hub, _NOBODY).routes
        if isinstance(route, Route)
        for method in sorted(route.methods or ())
        if method != "HEAD"
    ),
    *(("GET", "/nothing"), ("POST", "/api/v1/servers"), ("OPTIONS", "/api/v1/servers")),
]
FOREIGN = {
    "a name that was rebound": ["Host: evil.example"],
    "a name that begins like ours": ["Host: localhost.evil.example"],
    "a name that ends like ours": ["Host: evil-localhost"],
    "a name with ours as its user": ["Host: localhost@evil.example"],
    "an address of this machine in other digits": ["Host: 2130706433"],
    "an address that means any": ["Host: 0.0.0.0"],
    "two names in one": ["Host: localhost, evil.example"],
    "another page": ["Host: localhost", "Origin: http://evil.example"],
    "another page with our port": ["Host: localhost", "Origin: https://evil.example:7400"],
    "a page of nowhere": ["Host: localhost", "Origin: null"],
    "a page with no name": ["Host: localhost", "Origin:"],
    "a page whose path is ours": ["Host: localhost", "Origin: http://evil.example/localhost"],
    "a page with our name as its user": ["Host: localhost", "Origin: http://localhost@evil.example"],
    "a page whose name ends in a dot": ["Host: localhost", "Origin: http://localhost."],
    "two pages": ["Host: localhost", "Origin: http://localhost", "Origin: http://evil.example"],
    "two pages, both ours": ["Host: localhost", "Origin: http://localhost", "Origin: http://localhost"],
    "two pages in one": ["Host: localhost", "Origin: http://localhost http://evil.example"],
}


def of(method: str, path: str, fields: list[str]) -> bytes:
    host, *others = fields
    body = b"{}" if method == "POST" else b""
    return request(body, JSON, *others, method=method, target=path, host=host.removeprefix("Host: "))


ROUTES = [*(("agents", *route) for route in DATA), *(("operators", *route) for route in ADMIN)]


def asked(rig: Rig, listener: str, data: bytes) -> Reply:
    return ask(rig.address if listener == "agents" else rig.admin, data, head_only=True)


@pytest.mark.parametrize("fields", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize(("listener", "method", "path"), ROUTES, ids=lambda part: part)
def test_no_route_answers_a_foreign_page(rig: Rig, listener: str, method: str, path: str, fields: list[str]) -> None:
    reply = asked(rig, listener, of(method, path, fields))
    assert reply.status == 403
    assert "access-control-allow-origin" not in reply.fields
    assert rig.server.hits() == 0
    assert rig.hub.complaints == []


@pytest.mark.parametrize(("listener", "method", "path"), ROUTES, ids=lambda part: part)
def test_the_same_requests_from_here_are_not_forbidden(rig: Rig, listener: str, method: str, path: str) -> None:
    """Without this, the matrix would pass against a hub that refuses everything."""
    assert asked(rig, listener, of(method, path, ["Host: localhost", "Origin: http://localhost"])).status != 403
