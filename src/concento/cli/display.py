"""What `serve` shows a person: what is starting, ready or failing, and how to go on. Lines only; nothing blinks."""

import asyncio
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from ..app import Hub
from ..control.config import Difference
from ..model.config import Address, Config
from ..model.inventory import WELL, Health
from ..observe.alerts import clean
from ..snapshot import Snapshot
from .common import counted

POLL_S = 0.1
LAST_LINES = 5
SETTLE_S = 60.0
"""After this a server that is still starting is counted as such in the summary."""

_MARK = {
    "ready": ("✓", "green"),
    "asleep": ("z", "blue"),
    "waiting": ("…", "blue"),
    "failing": ("✗", "red"),
    "starting": ("…", "yellow"),
    "draining": ("-", "yellow"),
    "drained": ("-", "white"),
    "stopped": ("-", "white"),
}


class Display:
    """Writes to standard error, in colour on a terminal."""

    def __init__(self, hub: Hub, address: Address, config: Config, log_path: Path | None) -> None:
        self._hub = hub
        self._address = address
        self._config = config
        self._log_path = log_path
        self._started_s = time.monotonic()
        self._noted: set[str] = set()
        self._firing: dict[str, str] = {}
        self._told: dict[str, tuple[str, str | None, int]] = {}
        self._colour = sys.stderr.isatty()

    def say(self, text: str, colour: str | None = None) -> None:
        """One line."""
        click.echo(click.style(text, fg=colour) if colour and self._colour else text, err=True)

    def begin(self, as_json: bool) -> None:
        """The first words: where to connect, what is starting."""
        url = f"{self._scheme}://{self._address}/mcp"
        if as_json:
            click.echo(json.dumps({"endpoint": url, "admin": str(self._config.admin) if self._config.admin else None}))
        self.say(f"concento listens at {url}", "cyan")
        if self._config.admin is not None:
            scheme = "http" if self._config.admin_tls is None else "https"
            self.say(f"  servers, tools and metrics: {scheme}://{self._config.admin}")
        if self._log_path is not None:
            self.say(f"  access log: {self._log_path}")
        for line in self._doors():
            self.say(f"  {line}")
        names = [alias for alias, server in self._config.servers.items() if not server.is_lazy]
        hint = "" if self._config.servers else ": none; add one under `servers:`"
        self.say(f"  starting {counted(names, 'server')}{': ' if names else hint}{', '.join(names)}")

    @property
    def _scheme(self) -> str:
        return "http" if self._config.tls is None else "https"

    def _doors(self) -> Iterator[str]:
        """Who may come in, and what is recorded."""
        config = self._config
        if config.auth is None:
            yield "no auth configured: loopback only"
        else:
            ways = ["API keys"] if config.auth.api_keys else []
            ways += [f"tokens of {issuer.name}" for issuer in config.auth.issuers]
            ways += ["client certificates"] if config.auth.certificates else []
            yield f"callers prove who they are: {', '.join(ways)}"
            if not config.roles and not any(rule.effect == "allow" for rule in config.policies):
                yield "no roles and no grants: whoever comes in may use everything that no rule denies"
        if self._hub.audit is not None:
            yield f"audit record ({config.audit.mode}): {config.audit_path}"
        if config.alerts.rules:
            to = f"told to {', '.join(config.alerts.channels)}" if config.alerts.channels else "shown only"
            yield f"alerts: {counted(config.alerts.rules, 'rule')}, {to}"

    async def follow(self) -> None:
        """Tell what changes, and a summary once everything has settled."""
        summed_up = False
        seen: Snapshot | None = None
        while True:
            snapshot = self._hub.current.snapshot
            slices = snapshot.slices
            for alias, slice in slices.items():
                self._tell_once(alias, slice.health, len(slice.tools))
            waiting = [alias for alias, slice in slices.items() if slice.health.state == "starting"]
            late = time.monotonic() - self._started_s > SETTLE_S
            if not summed_up and (not waiting or late):
                summed_up = True
                self._sum_up(waiting)
            self._tell_alerts()
            if snapshot is not seen:
                seen = snapshot
                self._note([*self._hub.notes, *snapshot.logical_notes(), *snapshot.lookalike_notes()])
            await asyncio.sleep(POLL_S)

    def _note(self, notes: Iterable[str]) -> None:
        """What else somebody should know, each once."""
        for note in notes:
            if note not in self._noted:
                self._noted.add(note)
                self.say(f"  ! {note}", "yellow")

    def _tell_alerts(self) -> None:
        """Which alerts began to fire, and which are over."""
        alerts = self._hub.alerts.alerts.values()
        firing = {alert.id: alert for alert in alerts if alert.stage == "firing"}
        for id, alert in firing.items():
            if id not in self._firing:
                self._firing[id] = " ".join([alert.rule, *(clean(value) for _, value in alert.labels)])
                self.say(f"  ! alert {self._firing[id]}: {clean(alert.reason, 400)}", "red")
        for id in [id for id in self._firing if id not in firing]:
            self.say(f"  ✓ alert {self._firing.pop(id)} is over", "green")

    def _tell_once(self, alias: str, health: Health, tools: int) -> None:
        now = (health.state, health.error, tools)
        before = self._told.get(alias)
        if now == before or (health.state == "starting" and not health.error):
            return
        if before is not None and before[0] == "starting" == health.state:
            return
        self._told[alias] = now
        mark, colour = _MARK[health.state]
        if health.state == "ready":
            took_s = time.monotonic() - self._started_s
            seconds = f" after {took_s:.1f} s" if before is None or before[0] not in WELL else ""
            self.say(f"  {mark} {alias}: {counted(tools, 'tool')}, {health.era} {health.revision}{seconds}", colour)
        elif health.state == "asleep":
            known = (
                f"{counted(tools, 'tool')} known"
                if self._hub.current.snapshot.slices[alias].inventory
                else "never listed yet"
            )
            self.say(f"  {mark} {alias}: asleep, {known}; starts when needed", colour)
        else:
            self.say(f"  {mark} {alias}: {health.error or health.state}", colour)
            for line in health.stderr[-LAST_LINES:]:
                self.say(f"      {line}")

    def _sum_up(self, waiting: list[str]) -> None:
        slices = self._hub.current.snapshot.slices.values()
        ready = sum(slice.health.state == "ready" for slice in slices)
        tools = sum(len(slice.tools) for slice in slices)
        asleep = sum(slice.health.state == "asleep" for slice in slices)
        sleeping = f", {asleep} asleep" if asleep else ""
        self.say(f"{ready} of {counted(slices, 'server')} ready{sleeping}, {counted(tools, 'tool')}", "cyan")
        if waiting:
            self.say(f"  still starting: {', '.join(waiting)}")
        self.say(f"Connect an agent:  claude mcp add --transport http concento {self._scheme}://{self._address}/mcp")
        self.say("Stop with Ctrl-C.")

    def reloaded(self, change: Difference) -> None:
        """What a new configuration changed."""
        parts = [
            f"{what} {', '.join(sorted(aliases))}"
            for what, aliases in (("added", change.added), ("removed", change.removed), ("changed", change.changed))
            if aliases
        ]
        for alias in (*change.added, *change.removed, *change.changed):
            self._told.pop(alias, None)
        self._started_s = time.monotonic()
        self.say(f"configuration taken over: {'; '.join(parts) or 'the same servers'}", "cyan")
