"""MCP without I/O: bytes in, values out, and back. Both eras, JSON-RPC, mirrored headers, SSE framing.

It opens no socket, knows no server, no catalog and no policy. Read next: `jsonrpc.py` (messages), then `modern.py` and
`legacy.py`, which turn each era's requests into the one era-free `Call` and write a `Request` the way that era's
servers expect it.
"""
