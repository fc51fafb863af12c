"""The only sockets and child processes toward servers. Knows bytes, lines and HTTP; no MCP.

Read next: `http.py` (a pool to one origin), `reply.py` (what comes back on it), `stdio.py` (a child in lines),
`watchdog.py` (no child outlives us).
"""
