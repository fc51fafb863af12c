"""What is about the hub as a whole: health, metrics, and this API's own description."""

from typing import Final, Literal

from msgspec import Struct

from ... import __version__
from ..courtesy import aside
from ..operations import Answer, Asked, Operation

TEXT: Final = {"type": "string"}


class Health(Struct, frozen=True):
    """Whether it is up."""

    status: Literal["live", "ready", "not ready"]


async def index(asked: Asked) -> str:
    """What there is."""
    return f"Concento {__version__}\n\n/api/v1 is described in /openapi.json, metrics are at /metrics.\n"


async def metrics(asked: Asked) -> bytes:
    """All metrics."""
    metrics = asked.hub.metrics
    return await aside(metrics.written, list(metrics.readings()))


async def live(asked: Asked) -> Health:
    """That the process runs."""
    return Health("live")


async def ready(asked: Asked) -> Answer:
    """Whether it takes calls."""
    if asked.hub.is_ready():
        return Answer(Health("ready"))
    return Answer(Health("not ready"), 503)


OPERATIONS: Final = (
    Operation("GET", "/", "What there is", "viewer", index, TEXT, media="text/plain; charset=utf-8"),
    Operation(
        *("GET", "/metrics", "Prometheus metrics", "viewer", metrics, TEXT),
        media="text/plain; version=0.0.4; charset=utf-8",
    ),
    Operation("GET", "/health/live", "Whether the process runs", None, live, Health),
    Operation(
        *("GET", "/health/ready", "Whether it takes calls", None, ready, Health), also={503: "It takes none now"}
    ),
)
