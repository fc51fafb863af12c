"""The audit record: who called what, what was decided, how it ended; in a chain that shows what is missing or changed.

A call only appends to a list; a thread of its own writes. It is no log to debug by: one entry a call, refused ones
too, of facts that the closing record has. Read next: `entry.py` (what is recorded), `chain.py` (how entries hang
together and are checked), `writer.py` (how they get to the disk), `log.py` (what the hub sees of it).
"""

from .log import AuditLog

__all__ = ["AuditLog"]
