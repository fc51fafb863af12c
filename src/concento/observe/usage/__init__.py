"""How much was used, by whom and of what: each call counted once, also through a crash; what it costs, told at once.

A call adds to whole numbers in memory; several times a second the sums go into a file in one transaction, with the
number of the last call that is in them. What a crash took of the last moment is counted again from the audit record.
It is no log: single calls are in the audit record. Read next: `meter.py` (what a call adds where), `ledger.py` (the
file), `recover.py` (after a crash), `keeper.py` (what the hub sees of it), `report.py` (reading it).
"""

from .keeper import Usage

__all__ = ["Usage"]
