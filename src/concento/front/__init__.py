"""Serving agents: the HTTP listener, stdio, legacy sessions, and who is calling.

Nothing here chooses a server or knows one. Read next: `http.py` (bytes to requests), `agent.py` (requests to calls).
"""
