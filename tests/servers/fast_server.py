"""A small server on FastMCP, an implementation that is independent of both the hub and the official SDK's server.

    python tests/servers/fast_server.py --transport stdio|http [--port N] [--skills FOLDER]

Over HTTP, `--port 0` picks a port; the first line on standard output is `PORT n`.
"""

import argparse
import asyncio
import socket
from pathlib import Path

import uvicorn
from fastmcp import Context, FastMCP
from fastmcp.skills.provider import SkillsDirectoryProvider

server: FastMCP = FastMCP("fast", instructions="A small FastMCP server.")


@server.tool
def add(a: int, b: int) -> int:
    """Adds two integers."""
    return a + b


@server.tool
def echo(text: str) -> str:
    """Says it again."""
    return text


@server.tool
async def count(n: int, ctx: Context) -> str:
    """Counts with progress notifications."""
    for step in range(1, n + 1):
        await ctx.report_progress(step, n)
    return str(n)


@server.resource("fast://static/text")
def text() -> str:
    """A short text."""
    return "A short text."


@server.resource("fast://item/{id}")
def item(id: str) -> str:
    """One item."""
    return f"item {id}"


@server.prompt
def greet(name: str) -> str:
    """Greets."""
    return f"Please greet {name}"


async def serve_http(port: int) -> None:
    """Listen on 127.0.0.1 and say where."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    print(f"PORT {listener.getsockname()[1]}", flush=True)
    app = server.http_app(path="/mcp")
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transport", choices=["stdio", "http"], default="stdio")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--skills", type=Path, help="a folder of skills to serve, too")
    options = parser.parse_args()
    if options.skills is not None:
        server.add_provider(SkillsDirectoryProvider(options.skills))
    if options.transport == "stdio":
        server.run(transport="stdio", show_banner=False)
    else:
        asyncio.run(serve_http(options.port))


if __name__ == "__main__":
    main()
