"""What is measured: each function takes the bench and leaves its entries in the results."""

from collections.abc import Callable
from typing import Final

from ..bench import Bench
from .access import access
from .calls import calls, events, large, stdio
from .growth import growth
from .lists import lists
from .memory import memory
from .neighbour import neighbour
from .observing import observing
from .routing import routing
from .start import start

SCENARIOS: Final[dict[str, Callable[[Bench], None]]] = {
    "calls": calls,
    "stdio": stdio,
    "events": events,
    "large": large,
    "lists": lists,
    "start": start,
    "memory": memory,
    "growth": growth,
    "access": access,
    "routing": routing,
    "neighbour": neighbour,
    "observing": observing,
}
