"""The data path: what happens to one call between the front and a server.

Read `call.py` first: it fits on one screen. It opens no socket, parses no protocol and keeps no state but the open
listen streams; names are resolved by `catalog`, attempts ordered by `routing`, servers asked through `upstream`.
"""
