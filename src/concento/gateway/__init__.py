"""The data path: what happens to one call between the front and a server.

Read `call.py` first, then `ask.py`: they fit on a screen each. `route.py`, `fanout.py` and `shadow.py` are for tools of
several servers, `once.py` for calls with a key. The room opens no socket and parses no protocol, and what it keeps is
bounded: open listen streams, tasks, replies to calls with keys. Names are resolved by `catalog`, attempts ordered by
`routing`, servers asked through `upstream`.
"""
