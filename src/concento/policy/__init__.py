"""Who may call what, and how much of it: decisions over values, never I/O.

One decision point serves lists and calls alike, so that what is listed can be called and what is hidden can't. The room
knows no transport, no session and no server's answer; it may only narrow what the catalog offers.

Read next: `decide.py` (roles and rules, compiled), `conditions.py` (what they look at), `sight.py` (what a view shows),
`arguments.py` (a tool's own schema), `limits.py` (rates, caps and quotas).
"""
