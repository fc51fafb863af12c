"""Tools that wait for somebody to look at them, with what changed; and the word that lets one be shown. Audited."""

from functools import lru_cache
from typing import Any

from ..catalog.clean import suspicions
from ..catalog.lookalike import alike
from ..catalog.pins import Held, differences
from ..catalog.slices import Slice
from ..model.principal import Principal
from .describe import Hub
from .trials import NoSuchThing


def pending(hub: Hub) -> dict[str, Any]:
    """`{"pending": [{server, tool, name, why, hash, approved_by, diff, suspicions}, ...]}`: what is held back.

    `diff`: lines that begin with `-` for what was approved and `+` for what is said now; of a new tool all of it.
    """
    found = []
    for slice in hub.current.snapshot.slices.values():
        found += [_told(hub, slice, held) for held in slice.held]
    return {"pending": found}


async def approve(hub: Hub, server: str, tool: str, hash: str, by: Principal) -> dict[str, Any]:
    """Show a tool as it was looked at: the hash says which definition that was. Errors: NoSuchThing."""
    slice = hub.current.snapshot.slices.get(server)
    held = next((one for one in slice.held if one.entry.own == tool), None) if slice is not None else None
    if slice is None or held is None:
        raise NoSuchThing(f"there is no tool {tool[:128]!r} of a server {server[:64]!r} that waits for approval")
    if held.digest != hash:
        raise NoSuchThing(f"the definition of {tool[:128]!r} changed since you looked at it; look again")
    told = _told(hub, slice, held)
    hub.changed(by, "tools/approve", f"{server}.{tool}", f"definition {hash[:16]}")
    if not await hub.approve(server, tool, hash, by.subject):
        raise NoSuchThing(f"the definition of {tool[:128]!r} changed since you looked at it; look again")
    return told


@lru_cache(maxsize=1024)
def _suspicions(definition: bytes) -> tuple[str, ...]:
    return tuple(suspicions(definition))


def _told(hub: Hub, slice: Slice, held: Held) -> dict[str, Any]:
    pin = held.pin
    slices = hub.current.snapshot.slices.items()
    others = ((key, entry.own) for key, other in slices if other is not slice for entry in other.tools)
    like = alike(held.entry.own, others) if pin is None else None
    looks = [] if like is None else [f"looks like {like[1]} of {like[0]}"]
    return {
        "server": slice.server.key,
        "tool": held.entry.own,
        "name": held.entry.public,
        "why": held.why,
        "hash": held.digest,
        "approved_by": None if pin is None else pin.by or "first seen",
        "diff": differences(b"{}" if pin is None else pin.definition, held.definition),
        "suspicions": [*_suspicions(held.definition), *looks],
    }
