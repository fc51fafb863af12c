"""Concento gives an agent one MCP endpoint for the tools, prompts and resources of many MCP servers.

This package root holds the version and nothing else, so that importing it costs nothing. Start reading in
`concento.gateway`, the path of one call; `tests/test_layering.py` lists the rooms and what each may import.
"""

__version__ = "0.1.0.dev0"
