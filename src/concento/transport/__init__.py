"""The only sockets and child processes toward servers. Knows bytes, lines and HTTP; no MCP.

Read next: `http.py` (a pool to one origin), `stdio.py` (a child spoken to in lines), `watchdog.py` (no child outlives
us).
"""
