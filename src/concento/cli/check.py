"""`concento check`: is the configuration right, and, if asked, do its servers answer?"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType

import click

from ..embedding.opening import problem as embedding_problem
from ..model.config import ChildReplica, Config
from ..transport.sandbox import missing
from .common import config_argument, json_option, put_json, read_config, tell


@click.command(name="check")
@config_argument
@click.option("--connect", is_flag=True, help="Also connect to each server.")
@json_option
def command(config: str | None, connect: bool, as_json: bool) -> None:
    """Say what is wrong with a configuration; exit 2 if anything is.

    \b
    Example:
      concento check concento.yaml --connect
    """
    configuration = read_config(config)
    if connect:
        servers = {alias: server.awake() for alias, server in configuration.servers.items()}
        configuration = replace(configuration, servers=MappingProxyType(servers))
        from .servers import show
        from .talk import with_hub

        told = with_hub(configuration, lambda talk: talk.servers(), own=True)
        show(told, as_json)
        is_wrong = any(note.startswith("the logical tool") for note in told["notes"])
        if is_wrong:
            raise SystemExit(2)
        raise SystemExit(any(server["state"] != "ready" for server in told["servers"]))
    if misfits := asyncio.run(_misfits(configuration)):
        for misfit in misfits:
            tell(f"{misfit} (as its servers were last listed; `--connect` asks them)")
        raise SystemExit(2)
    notes = list(_notes(configuration))
    for note in notes:
        tell(note)
    found = {
        "config": str(configuration.path),
        "servers": list(configuration.servers),
        "views": list(configuration.views),
        "listen": str(configuration.listen),
        "notes": notes,
    }
    if as_json:
        put_json(found)
    else:
        click.echo(f"{configuration.path} is right")
        click.echo(f"  servers: {', '.join(configuration.servers) or 'none'}")
        if configuration.views:
            click.echo(f"  views: {', '.join(configuration.views)}")


async def _misfits(configuration: Config) -> list[str]:
    """What logical tools do not fit together with, by the schemas that are known of an earlier run."""
    if not configuration.tools or configuration.state_db is None or not configuration.state_db.is_file():
        return []
    from ..control.federation import last_known
    from ..store.sqlite import SqliteStore

    store = await SqliteStore.open(configuration.state_db)
    try:
        return list((await last_known(configuration, store)).logical_notes())
    finally:
        await store.close()


def _notes(configuration: Config) -> Iterator[str]:
    """What is right, but will not work on this machine."""
    embeddings = configuration.search.embeddings
    if embeddings is not None and (lack := embedding_problem(embeddings)) is not None:
        yield f"search.embeddings: {lack}; tools will be found by words alone"
    for server in configuration.servers.values():
        for replica in (*server.replicas, server.beside):
            if isinstance(replica, ChildReplica) and replica.sandbox and (lack := missing(replica.sandbox)):
                yield f"{server.alias}: {lack}"
