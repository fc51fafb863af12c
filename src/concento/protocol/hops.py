"""How many hubs a call has been through: each adds itself, and the gateway ends what goes in a circle.

Source: hardening T29.
"""

import msgspec
from msgspec import Raw

from ..model.errors import InvalidParams
from ..model.meta import HOPS

_HOPS_MOST = 1_000_000
_decode = msgspec.json.Decoder(int).decode


def hops(given: Raw) -> int:
    """The number. Errors: InvalidParams, for what no hub writes."""
    try:
        count = _decode(given)
    except msgspec.DecodeError:
        count = 0
    if not 0 < count < _HOPS_MOST:
        raise InvalidParams(f"{HOPS} must be a whole number from 1")
    return count


def next_hop(given: Raw) -> Raw:
    """What the next hub is told. Errors: InvalidParams."""
    return Raw(b"%d" % (hops(given) + 1))
