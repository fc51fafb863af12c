"""Who may call what, and how much of it: decisions over values, never I/O.

One decision point serves lists and calls alike, so that what is listed can be called and what is hidden can't. The room
knows no transport, no session and no server's answer, waits for nothing, and may only narrow what the catalog offers.

Read next: `decide.py` (all rules of a tenant, and what they decide), `rule.py` (one of them, compiled), `conditions.py`
with `paths.py`, `values.py` and `expressions.py` (what a rule looks at when a call comes), `engines.py` (others' word),
`sight.py` (what a view shows), `arguments.py` (a tool's own schema), `limits.py` (rates, caps and quotas).
"""
