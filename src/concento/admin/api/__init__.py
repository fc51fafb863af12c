"""The resources of the admin API: a module for each, with its types, its handlers and its rows of the table.

They decide little: what they ask and change is in `control`, `front`, `observe` and the modules above this room.
"""

from typing import Final

from ..operations import Operation
from . import accounts, alerts, approvals, audit, catalog, experiments, keys, objects, system, traces, usage, whole

OPERATIONS: Final[tuple[Operation, ...]] = (
    *system.OPERATIONS,
    *catalog.OPERATIONS,
    *objects.OPERATIONS,
    *whole.OPERATIONS,
    *experiments.OPERATIONS,
    *approvals.OPERATIONS,
    *accounts.OPERATIONS,
    *keys.OPERATIONS,
    *audit.OPERATIONS,
    *alerts.OPERATIONS,
    *traces.OPERATIONS,
    *usage.OPERATIONS,
)
"""The whole API."""
