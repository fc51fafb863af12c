"""A hub with tenants, roles and keys before scripted servers, and who may call what there."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tests.hub.conftest import Running, Start, at
from tests.hub.skills import SKILLS, SkillServer

from concento.front.identity import derived
from concento.front.identity.key_text import secret_in
from concento.model.auth import Auth
from concento.model.config import Config, View
from concento.model.policy import Role
from concento.model.tenant import Tenant
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import ECHO_TOOL, Exchange, modern_mcp
from concento.testing.raw_agent import RawAgent

TASKS = "io.modelcontextprotocol/tasks"
_TASK = {
    "status": "working",
    "createdAt": "2026-01-01T00:00:00Z",
    "lastUpdatedAt": "2026-01-01T00:00:00Z",
    "ttlMs": 60_000,
    "pollIntervalMs": 50,
}
_FORM = {"mode": "form", "message": "?", "requestedSchema": {"type": "object", "properties": {}}}


async def _call(exchange: Exchange) -> Mapping[str, Any]:
    """`open-slow` becomes a task, `open-ask` wants input first; everything else is done at once."""
    if exchange.name == "open-slow":
        return {"resultType": "task", "taskId": "t1", **_TASK}
    if exchange.name == "open-ask" and "inputResponses" not in exchange.params:
        question = {"method": "elicitation/create", "params": _FORM}
        return {"resultType": "input_required", "inputRequests": {"q": question}, "requestState": "s"}
    return {"content": [{"type": "text", "text": "done"}]}


async def _task(exchange: Exchange) -> Mapping[str, Any]:
    return {"taskId": exchange.params["taskId"], **_TASK}


async def _nothing(exchange: Exchange) -> Mapping[str, Any]:
    return {}


async def _complete(exchange: Exchange) -> Mapping[str, Any]:
    return {"completion": {"values": ["v"]}}


async def _read(exchange: Exchange) -> Mapping[str, Any]:
    return {"contents": [{"uri": exchange.params["uri"], "text": "t"}]}


async def _prompt(exchange: Exchange) -> Mapping[str, Any]:
    return {"messages": []}


def server(*names: str) -> ScriptedHttpServer:
    """A server that offers one thing of each kind under each name, and two tools more."""
    files = {f"skill://{name}/SKILL.md": b"---\nname: %b\ndescription: d\n---\n" % name.encode() for name in names}
    skills = SkillServer(files, {"directoryRead": True})
    offered = modern_mcp(
        tools=[{**ECHO_TOOL, "name": name} for name in (*names, "open-slow", "open-ask")],
        lists={
            "prompts/list": [{"name": name} for name in names],
            "resources/list": [{"uri": f"s://x/{name}", "name": name} for name in names],
            "resources/templates/list": [{"uriTemplate": f"s://x/{name}/{{id}}", "name": name} for name in names],
        },
        capabilities={
            "tools": {},
            "prompts": {},
            "resources": {"subscribe": True},
            "completions": {},
            "extensions": {SKILLS: {"directoryRead": True}, TASKS: {}},
        },
        on_call=_call,
        on={
            "prompts/get": _prompt,
            "resources/read": _read,
            "completion/complete": _complete,
            "skills/list": skills.enumerate,
            "skills/get": skills.get,
            "resources/directory/read": skills.directory,
            "tasks/get": _task,
            "tasks/cancel": _nothing,
            "tasks/update": _nothing,
        },
    )
    return ScriptedHttpServer(offered)


def _about(name: str) -> tuple[str, ...]:
    """Patterns for everything of a name."""
    return (f"s.{name}*", f"s.s://x/{name}*", f"s.skill://{name}*")


PEOPLE = ("dev", "boss", "gina", "narrowed")
"""`dev` of acme may use what begins with open; `boss` of acme everything; `narrowed` has a key derived of the boss's,
for what begins with open; `gina` is of another tenant, and may use everything there."""


class Guarded:
    """The hub, its servers, and a key for each of the people."""

    def __init__(self, hub: Running, servers: list[ScriptedHttpServer], keys: dict[str, str]) -> None:
        self.hub = hub
        self.servers = servers
        self.keys = keys

    def agent(self, who: str | None, path: str = "/mcp") -> RawAgent:
        return RawAgent(self.hub.url + path, bearer=None if who is None else self.keys[who])

    @property
    def hits(self) -> int:
        """What reached any server, beside lists."""
        hits = [hit.rpc for one in self.servers for hit in one.hits() if hit.rpc]
        return sum(not rpc.endswith(("/list", "/discover", "/listen")) for rpc in hits)


def configuration(acme: ScriptedHttpServer, globex: ScriptedHttpServer, **options: Any) -> Config:
    """Two tenants with a server of their own each, which are called alike."""
    own = [at("s", acme.url, tenant="acme"), at("s", globex.url, tenant="globex")]
    few = Role("dev", _about("open"))
    everything = Role("boss", (*_about("open"), *_about("secret")))
    theirs = Role("boss", _about("theirs"))
    tenants = {
        "acme": Tenant("acme", roles=MappingProxyType({"boss": everything, "dev": few})),
        "globex": Tenant("globex", roles=MappingProxyType({"boss": theirs})),
    }
    values: dict[str, Any] = {
        "servers": MappingProxyType({server.key: server for server in own}),
        "views": MappingProxyType({"acme/coding": View("coding"), "globex/other": View("other")}),
        "tenants": MappingProxyType(tenants),
        "auth": Auth(),
        **options,
    }
    return Config(**values)


async def guarded(start: Start, acme: ScriptedHttpServer, globex: ScriptedHttpServer, **options: Any) -> Guarded:
    """Start it, and make the keys."""
    hub = await start(configuration(acme, globex, **options))
    await hub.ready("acme/s", "globex/s")
    make = hub.hub.keys.create
    keys = {
        "dev": (await make("dora", agent="cli", tenant="acme", roles=("dev",)))[1],
        "boss": (await make("bob", agent="cli", tenant="acme", roles=("boss",)))[1],
        "gina": (await make("dora", agent="cli", tenant="globex", roles=("boss",)))[1],
    }
    secret = secret_in(keys["boss"][9:19], keys["boss"][20:])
    assert secret is not None
    until_s = hub.hub.wall() + 600
    chain = derived.derive(secret, expires_s=until_s, seed=bytes(range(32)), tools=_about("open"))
    keys["narrowed"] = f"{keys['boss'][:19]}_d.{chain}"
    return Guarded(hub, [acme, globex], keys)
