"""How calls end, counted as they do: plain numbers that only grow. What they mean over time is made of them later."""

from typing import Final

from ...model.limits import LABELS_MAX
from ..record import Record

Key = tuple[str, str, str | None]
"""Tenant, server, tool."""

ENDS: Final = {"ok": 0, "tool_error": 1, "error": 2, "refused": 3, "cancelled": 4}


class Counts:
    """A sink of closed records. A call costs two look-ups and an addition."""

    def __init__(self) -> None:
        self.cells: dict[Key, list[int]] = {}
        """Of each tenant, server and tool: calls by how they ended (`ENDS`), then those slower than each bound."""
        self.bounds: tuple[float, ...] = ()
        """Seconds."""
        self._least_s = float("inf")

    def bound(self, bounds: tuple[float, ...]) -> None:
        """Count calls that are slower than these, from now on."""
        if bounds != self.bounds:
            self.bounds, self._least_s = bounds, min(bounds, default=float("inf"))
            self.cells = {key: cells[: len(ENDS)] + [0] * len(bounds) for key, cells in self.cells.items()}

    def __call__(self, record: Record) -> None:
        """Take a closed record. A call that chose no server is nobody's."""
        server = record.server
        if server is None:
            return
        key = (record.call.principal.tenant, server, record.tool)
        cells = self.cells.get(key)
        if cells is None:
            cells = self._open(key)
        cells[ENDS[record.end]] += 1
        if record.duration_s > self._least_s:
            for place, bound_s in enumerate(self.bounds, start=len(ENDS)):
                cells[place] += record.duration_s > bound_s

    def _open(self, key: Key) -> list[int]:
        if len(self.cells) >= LABELS_MAX:
            tenant, server, _ = key
            key = (tenant, server, "other") if len(self.cells) < 2 * LABELS_MAX else ("other", "other", "other")
        return self.cells.setdefault(key, [0] * (len(ENDS) + len(self.bounds)))
