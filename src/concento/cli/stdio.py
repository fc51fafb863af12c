"""`concento stdio`: the hub as a sidecar of one agent, which starts it and speaks over standard input and output."""

import sys

import click
import uvloop

from ..app import Hub
from ..front.stdio import StdioAgent
from ..model.config import Config
from ..model.errors import ConcentoError
from ..upstream.tasks import Tasks
from .common import config_argument, fail, read_config, tell

START_WAIT_S = 10.0
"""A list for the one agent waits longer for servers: it will not ask again."""


@click.command(name="stdio")
@config_argument
def command(config: str | None) -> None:
    """Run the hub for one agent, over standard input and output. Opens no listener but, where users connect accounts,
    one for their browsers.

    \b
    Example (in an agent's configuration):
      {"mcpServers": {"concento": {"command": "/usr/local/bin/concento", "args": ["stdio", "/home/ada/concento.yaml"]}}}
    """
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        tell("concento: standard input, output or error is closed: an agent speaks over the first two; for none, serve")
        raise SystemExit(2)
    configuration = read_config(config)
    try:
        uvloop.run(_serve(configuration))
    except ConcentoError as error:
        fail(error)


async def _serve(config: Config) -> None:
    import asyncio
    import signal
    from dataclasses import replace

    hub = await Hub.create(replace(config, start_wait_s=max(config.start_wait_s, START_WAIT_S)), export=True)
    tasks = Tasks("stdio")
    try:
        if any(server.users is not None for server in config.servers.values()):
            await hub.listen_for_browsers()
        agent = tasks.start(StdioAgent(hub.gateway, hub.listening).serve())
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await asyncio.wait([agent, tasks.start(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        if agent.done():
            agent.result()
    finally:
        await tasks.close()
        await hub.close()
