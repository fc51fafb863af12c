"""Frozen values that every room shares: calls, replies, inventories, configuration, errors, limits, time.

Nothing here does I/O, knows a protocol revision or imports another room.
Read next: `call.py` (what travels down the data path), then `errors.py`.
"""
