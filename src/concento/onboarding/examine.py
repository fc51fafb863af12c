"""Look at everything that has to be right for an agent to reach a tool, and say of each whether it is.

Configuration, state folder, ports, servers, clients: each becomes a `Finding`. It changes nothing, and what it starts
it ends. Errors: none; what goes wrong is what it is for.
"""

import asyncio
import errno
import json
import os
import re
import shlex
import shutil
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from ..control.config import load
from ..model.config import Address, ChildReplica, Config, Server, UrlReplica
from ..model.errors import ConfigError
from .clients import CLIENTS, HUB_ENTRY, Client, ClientFile, hub_command
from .found import Found, Reading, read_file
from .trial import Trial, try_server

State = Literal["ok", "wrong", "note"]

PROBE_S: Final = 2.0
TRIALS_MAX: Final = 3
"""Servers tried at a time: starting is work, and some download themselves."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a diagnosis. `remedy` is what to do, where something is."""

    subject: str
    name: str
    state: State
    text: str
    remedy: str = ""
    last_words: tuple[str, ...] = ()


Report = Callable[[Finding], None]

# -- state and ports


def state_finding(config: Config) -> Finding:
    """Whether the hub can keep what it keeps."""
    folder = config.state_folder
    if folder is None:
        return Finding("state", "off", "note", "nothing is kept: every start lists every server anew")
    place = next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Finding("state", str(folder), "wrong", f"{place} can't be written", "correct its owner, or set `state`")
    if folder.exists() and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        return Finding("state", str(folder), "wrong", "others can read it", f"chmod 700 {folder}")
    return Finding("state", str(folder), "ok", "can be written" if folder.exists() else "is made at the first start")


async def port_finding(key: str, address: Address) -> Finding:
    """Whether a listener could listen there, or one of ours does."""
    wrong = _cant_bind(address)
    if wrong is None:
        return Finding("port", key, "ok", f"{address} is free")
    if wrong == errno.EADDRINUSE:
        if await answers(f"http://{address}"):
            return Finding("port", key, "ok", f"a hub listens at {address}")
        return Finding("port", key, "wrong", f"another program listens at {address}", f"give `{key}` another port")
    return Finding("port", key, "wrong", f"{address} can't be used: {os.strerror(wrong)}", f"correct `{key}`")


def _cant_bind(address: Address) -> int | None:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
            probe.listen(1)
        except OSError as error:
            return error.errno or errno.EADDRNOTAVAIL
    return None


async def answers(hub: str) -> bool:
    """Whether a hub of ours answers at this origin."""
    told = await fetched(f"{hub}/health/live")
    return isinstance(told, dict) and told.get("status") == "live"


async def fetched(url: str) -> Any:
    """The JSON that a hub of ours answers with, or None. Proxies are passed by: it is on this machine."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=PROBE_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as reply:
            return await reply.json(content_type=None) if reply.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return None


# -- servers


async def examine_servers(
    config: Config, wait_s: float, report: Report, on_start: Callable[[str], None] = lambda alias: None
) -> None:
    """Each server tried, told in their order: by the hub that runs this configuration, else on its own."""
    told = await _asked(config)
    if told is not None:
        for one in told:
            report(_as_told(config.servers[one["alias"]], one))
        return
    places = asyncio.Semaphore(TRIALS_MAX)

    async def tried(server: Server) -> Trial:
        async with places:
            on_start(server.alias)
            return await try_server(server, secrets=config.secrets, wait_s=wait_s)

    async with asyncio.TaskGroup() as group:
        trials = [group.create_task(tried(server)) for server in config.servers.values()]
        for server, trial in zip(config.servers.values(), trials, strict=True):
            report(_as_tried(server, await trial))


async def _asked(config: Config) -> list[Any] | None:
    """What the running hub says of its servers, if it is this configuration's."""
    told = None if config.admin is None else await fetched(f"http://{config.admin}/api/v1/servers")
    servers = told.get("servers") if isinstance(told, dict) else None
    if not isinstance(servers, list) or not all(isinstance(one, dict) for one in servers):
        return None
    return servers if {one.get("alias") for one in servers} == set(config.servers) else None


def _tools(number: int) -> str:
    return f"{number} tool{'s' * (number != 1)}"


def _as_told(server: Server, one: Mapping[str, Any]) -> Finding:
    if one["state"] == "ready":
        return Finding(
            "server", server.alias, "ok", f"{_tools(one['tools'])}, {one['era']} {one['revision']}, in the hub"
        )
    if one["state"] == "asleep":
        is_known = any(one[kind] for kind in ("tools", "prompts", "resources", "templates"))
        known = f"{_tools(one['tools'])} known" if is_known else "never listed yet"
        return Finding("server", server.alias, "ok", f"asleep, {known}; starts when needed")
    if one["state"] == "waiting":
        return Finding("server", server.alias, "ok", f"waiting: {one['error']}")
    error = one["error"] or f"it is {one['state']}"
    return _failing(server, error, tuple(one["stderr"]))


def _as_tried(server: Server, trial: Trial) -> Finding:
    if trial.error is None:
        text = f"{_tools(len(trial.tools))}, {trial.era} {trial.revision}, after {trial.took_s:.1f} s"
        return Finding("server", server.alias, "ok", "; ".join([text, *trial.notes]))
    return _failing(server, trial.error, trial.last_words)


def _failing(server: Server, error: str, last_words: tuple[str, ...]) -> Finding:
    text, does_say, todo = error.rpartition("; ") if "can't start" in error else (error, "", "")
    return Finding("server", server.alias, "wrong", text, todo if does_say else remedy(server, error), last_words)


_REFERENCE: Final = re.compile(r"(?<!\$)\$\{(env|file):")

_REMEDIES: Final = (
    (r"refused the hub's credentials", "give it a token that is valid: credentials: {{bearer: …}} or headers"),
    (r"refused the connection", "nothing listens there: start that server, or correct `url`"),
    (r"host name has no address", "correct the name in `url`, or connect to the network it is in"),
    (r"certificate", "correct `url`, or name the authority's certificate in SSL_CERT_FILE"),
    (r"over TLS", "write http:// in `url` if it speaks no TLS"),
    (r"does not take MCP requests at its URL", "correct the path in `url`; most end in /mcp or /sse"),
    (r"busy|HTTP 5\d\d", "it fails by itself: try later, or ask who runs it"),
    (r"did not answer within|handshake", "try it by itself: {command}; a first start may download for long: --wait"),
    (r"exited|ended|no valid|not JSON|closed", "try it by itself: {command}"),
    (r"can't be (reached|connected)", "look at the network, a firewall or proxy between here and there"),
)


def remedy(server: Server, error: str) -> str:
    """What to do about a server that fails with this."""
    replica = server.replicas[0] if server.replicas else None
    child = replica if isinstance(replica, ChildReplica) else server.beside
    if isinstance(replica, UrlReplica) and "credentials" in error and "authorization" not in replica.headers:
        return 'it wants a token: credentials: {bearer: "${env:NAME}"}'
    command = child.as_written if child is not None else f"curl -v {shlex.quote(replica.as_written if replica else '')}"
    if _REFERENCE.search(command):
        command += " (with what the references stand for)"
    for pattern, text in _REMEDIES:
        if re.search(pattern, error):
            return text.format(command=command)
    return f"try it by itself: {command}"


# -- clients


async def examine_clients(
    known: Sequence[ClientFile], config: Config | None, env: Mapping[str, str], report: Report
) -> None:
    """Each client: whether it is here, its files can be read, and the hub it points to is there."""
    config = config or Config()
    for client in CLIENTS:
        places = [file for file in known if file.client is client]
        files = [file for file in places if file.path.is_file()]
        if not files:
            report(_absent(client, places, config))
        for file in files:
            report(await _client(read_file(file.path, list(known), file), config, env))


def _absent(client: Client, places: Sequence[ClientFile], config: Config) -> Finding:
    here = [file for file in places if file.scope == "user" and file.path.parent not in (Path.home(), Path("/"))]
    here = [file for file in here if file.path.parent.is_dir()]
    if not here:
        return Finding("client", client.name, "note", "is not here")
    return Finding("client", client.name, "note", "is here and has no servers", _pointer(here[0], config))


def _pointer(file: ClientFile, config: Config) -> str:
    """How a person points a client at the hub."""
    if config.path is None:
        return ""
    entry = file.client.entry(_url(config), hub_command(config.path, windows=file.windows))
    return f"put {json.dumps({file.client.key: {HUB_ENTRY: entry}})} into {file.path}"


def _url(config: Config) -> str:
    return f"http://{config.listen}/mcp"


async def _client(reading: Reading, config: Config, env: Mapping[str, str]) -> Finding:
    name, path = reading.file.client.name, reading.file.path
    if reading.problem is not None:
        return Finding("client", name, "wrong", f"{path}: {reading.problem}", "correct it there")
    hubs = [found for found in reading.servers if found.leads_to(_url(config))]
    own = len(reading.servers) - len(hubs)
    beside = f"; servers of its own: {own}" if own else ""
    if not hubs:
        remedy = "concento import --apply" if own else _pointer(reading.file, config)
        return Finding("client", name, "note", f"{path}: does not use the hub{beside}", remedy)
    wrong = await _hub_problem(hubs[0], env)
    if wrong is not None:
        return Finding("client", name, "wrong", f"{path}: {wrong[0]}", wrong[1])
    return Finding("client", name, "ok", f"{path}: uses the hub{beside}")


async def _hub_problem(found: Found, env: Mapping[str, str]) -> tuple[str, str] | None:
    """What is wrong with a client's entry of the hub, and what to do."""
    url = next((found.raw[key] for key in ("url", "serverUrl", "httpUrl") if key in found.raw), None)
    if isinstance(url, str):
        parts = urlsplit(url)
        if await answers(f"{parts.scheme}://{parts.netloc}"):
            return None
        return f"no hub answers at {url}", "concento serve"
    words = [found.raw.get("command"), *(found.raw.get("args") or ())]
    program = next((word for word in words if isinstance(word, str) and Path(word).name == "concento"), "concento")
    if shutil.which(program) is None:
        return f"{program} is not there", "concento import --apply writes the entry anew"
    configs = [word for word in words if isinstance(word, str) and word.endswith((".yaml", ".yml", ".json"))]
    for config in configs:
        try:
            await asyncio.to_thread(load, Path(config), env)
        except ConfigError as error:
            return f"its configuration: {error.problems[0].splitlines()[0]}", f"concento check {config}"
    return None
