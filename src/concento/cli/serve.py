"""`concento serve`: listen at once, connect servers, take over a changed file, stop in order."""

import asyncio
import gc
import os
import signal
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click
import uvloop

from ..app import Hub
from ..model.config import Address, Config
from ..model.errors import ConcentoError, ConfigError
from ..observe.access_log import AccessLog
from ..transport import open_files
from ..upstream.tasks import Tasks
from .common import config_argument, fail, read_config, tell
from .display import Display
from .notify import ServiceManager

if TYPE_CHECKING:
    from ..admin.listener import AdminListener as Admin

WATCH_S = 1.0
SAME_PRESS_S = 0.5
"""Signals this close together are one: a terminal and `make` may both deliver it."""

SWITCH_S = 0.0005
"""How long a thread that computes keeps the event loop waiting: Python's own 5 ms would be seen in agents' p99."""

QUEUED_MAX = 20_000
"""Containers alive beyond the start's before the collector looks: calls leave no cycles."""


@click.command(name="serve")
@config_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line once listening.")
def command(config: str | None, as_json: bool) -> None:
    """Run the hub until it is told to stop.

    \b
    Example:
      concento serve concento.yaml
    """
    configuration = read_config(config)
    open_files.take_all()
    sys.setswitchinterval(SWITCH_S)
    try:
        raise SystemExit(uvloop.run(_serve(configuration, as_json)))
    except ConcentoError as error:
        fail(error)


async def _serve(config: Config, as_json: bool) -> int:
    loop = asyncio.get_running_loop()
    tasks = Tasks("serve")
    stop = Stop(loop)
    manager = ServiceManager(os.environ)
    log_path, access_log = _access_log(config)
    hub = await Hub.create(config, access_log=access_log, audit=True, alerts=True, export=True)
    admin: Admin | None = None
    try:
        address = await hub.listen(config.listen)
        display = Display(hub, address, config, log_path)
        display.begin(as_json)
        if config.admin is not None:
            from ..admin.access import make_token  # only now: it brings a web framework
            from ..admin.listener import AdminListener

            token = None
            if config.auth is not None and config.state_folder is not None:
                token = make_token(config.state_folder)
            admin = AdminListener(hub, token)
            await admin.start(config.admin, hub.tls(config.admin_tls))
        gc.collect()
        gc.freeze()
        gc.set_threshold(QUEUED_MAX, 20, 50)
        tasks.start(_watch(hub, config, display))
        tasks.start(display.follow())
        tasks.start(manager.beat())
        loop.add_signal_handler(signal.SIGHUP, lambda: tasks.start(_reload(hub, display)))
        manager.ready(f"listening at http://{address}/mcp")
        await stop.asked.wait()
        manager.stopping()
        display.say("stopping; again to stop at once")
    finally:
        await tasks.close()
        beating = tasks.start(manager.beat())
        closing, urgent = tasks.start(_close(hub, admin)), tasks.start(stop.urgent.wait())
        await asyncio.wait([closing, urgent], return_when=asyncio.FIRST_COMPLETED)
        if not closing.done():
            hub.watchdog.close()
            os._exit(128 + stop.number)
        urgent.cancel()
        beating.cancel()
    if cut := closing.result():
        display.say(f"{cut} calls were cut")
    return 0


async def _close(hub: Hub, admin: "Admin | None") -> int:
    cut = await hub.close()
    if admin is not None:
        await admin.close()
    return cut


class Stop:
    """SIGINT and SIGTERM: the first asks to stop, a second one insists."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.asked = asyncio.Event()
        self.urgent = asyncio.Event()
        self.number = 0
        self._first_s = 0.0
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._pressed, number)

    def _pressed(self, number: int) -> None:
        now_s = time.monotonic()
        self.number = number
        if not self.asked.is_set():
            self._first_s = now_s
            self.asked.set()
        elif now_s - self._first_s > SAME_PRESS_S:
            self.urgent.set()


# ---- a file that changes


async def _watch(hub: Hub, config: Config, display: Display) -> None:
    """Look at the file every second: its content counts, so that a swapped symlink is seen and a touch is not."""
    path = config.path
    if path is None:
        return
    seen = _content(path)
    while True:
        await asyncio.sleep(WATCH_S)
        content = _content(path)
        if content is not None and content != seen:
            seen = content
            await _reload(hub, display)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


async def _reload(hub: Hub, display: Display) -> None:
    """Take over the file, or keep what is and say why."""
    from ..control.config import diff

    before = hub.current.snapshot.config
    try:
        after = await hub.layers.reload(lambda after: _objection(before, after))
    except ConfigError as error:
        hub.reload_failures += 1
        display.say("the configuration was not taken over, the last good one stays:")
        for problem in error.problems:
            display.say(f"  {problem}")
        return
    except ConcentoError as error:
        hub.reload_failures += 1
        display.say(f"the configuration was not taken over, the last good one stays: {error}")
        return
    if (after.listen, after.admin, after.tls, after.admin_tls) != (
        *(before.listen, before.admin, before.tls, before.admin_tls),
    ):
        display.say("`listen`, `admin` and `tls` take effect at the next start")
    if (after.audit.mode, after.audit_path) != (before.audit.mode, before.audit_path):
        display.say("`audit.mode` and `audit.path` take effect at the next start")
    display.reloaded(diff(before, after))


def _objection(before: Config, after: Config) -> str | None:
    """Why a file can't be taken over while the hub runs."""
    if before.auth is not None and after.auth is None and not _is_loopback(before.listen):
        return "without `auth` only loopback may be served; restart the hub"
    return None


def _is_loopback(address: Address) -> bool:
    try:
        return ip_address(address.host).is_loopback
    except ValueError:
        return address.host == "localhost"


# ---- where things go


def _access_log(config: Config) -> "tuple[Path | None, AccessLogMaker | None]":
    """Where the access log goes: on a terminal to a file beside the state, else to standard error."""
    where = config.access_log
    if where == "off":
        return None, None
    if where == "stderr" or (where == "auto" and (not sys.stderr.isatty() or config.state_folder is None)):
        return None, AccessLog.to_stderr
    path = Path(where) if where != "auto" else (config.state_folder or Path()) / "access.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError as error:
        tell(f"concento: no access log: {path} can't be written ({error.strerror})")
        return None, None
    return path, lambda: AccessLog.to_file(path)


if TYPE_CHECKING:
    from collections.abc import Callable

    AccessLogMaker = Callable[[], AccessLog]
