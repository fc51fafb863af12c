"""`concento health`: is the hub at an address up? For container health checks and exec probes, which have no curl.

It asks the running hub and reads no configuration: a file that somebody is editing says nothing about the hub's health.
"""

import http.client
import json
import time
from typing import Final
from urllib.parse import urlsplit

import click

from .common import json_option, put_json, tell

ANSWER_S: Final = 3.0
AGAIN_S: Final = 0.1
_BODY_BYTES_MAX: Final = 4096


@click.command(name="health")
@click.argument("address", default="127.0.0.1:7400")
@click.option("--live", is_flag=True, help="Only ask whether it runs; by default also whether it takes calls.")
@click.option("--host", help="Name to send as Host, where `hosts` leaves out the address's own.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 3600), default=0, metavar="SECONDS", help="Ask again so long."
)
@json_option
def command(address: str, live: bool, host: str | None, wait_s: float, as_json: bool) -> None:
    """Ask the hub at ADDRESS (127.0.0.1:7400) how it is; exit 1 unless all is well.

    \b
    Example:
      concento health --wait 30
    """
    name, port = _parts(address)
    end_s = time.monotonic() + wait_s
    while True:
        status, problem = ask(name, port, "live" if live else "ready", host)
        if problem is None or time.monotonic() >= end_s:
            break
        time.sleep(AGAIN_S)
    if as_json:
        put_json({"address": address, "status": status, "problem": problem})
    elif problem is None:
        click.echo(status)
    if problem is not None:
        tell(f"concento: {problem}")
        raise SystemExit(1)


def ask(name: str, port: int, what: str, host: str | None) -> tuple[str, str | None]:
    """What the hub says of itself, and what is wrong if anything is."""
    connection = http.client.HTTPConnection(name, port, timeout=ANSWER_S)
    try:
        connection.request("GET", f"/health/{what}", headers={"Host": host} if host else {})
        reply = connection.getresponse()
        body = reply.read(_BODY_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        return (
            "down",
            f"no hub answers at {name}:{port} ({_why(error)}); start it, or give its `listen`",
        )
    finally:
        connection.close()
    if reply.status == 403:
        return "unknown", f"{body.decode(errors='replace')}; or pass --host with a name that is in `hosts`"
    try:
        status = json.loads(body)["status"]
    except (ValueError, KeyError, TypeError):
        return "unknown", f"what answers at {name}:{port} is no Concento: HTTP {reply.status} to /health/{what}"
    if reply.status == 200:
        return status, None
    return status, "the hub is stopping, or a server marked `required` is missing; `concento servers` tells which"


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _parts(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{address}")
        if parts.hostname and parts.port and parts.netloc == address and "@" not in address:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise click.BadParameter(f"{address!r} is no HOST:PORT, such as 127.0.0.1:7400", param_hint="ADDRESS")
