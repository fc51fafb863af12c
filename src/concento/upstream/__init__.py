"""Servers, kept connected: one `Upstream` a configured server, with its links, its health and its limits.

What moves at run time lives here (connections, in-flight counts, backoff) and is read elsewhere as values. Which server
a call goes to is decided in `catalog` and `routing`; here the chosen one is asked.
Read next: `link.py` (what a connection offers), `connect.py` (how the era is found), `replica.py` and `server.py` (how
it is kept).
"""
