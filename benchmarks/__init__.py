"""What a call costs through an MCP gateway: a comparison that anybody can repeat on one machine.

Deliberately not a test: no figure here decides whether anything passes. Read next: `README.md` for what is measured and
how to read it, `__main__.py` for the run, `scenarios/` for what is measured, `candidates/` for whom.
"""
