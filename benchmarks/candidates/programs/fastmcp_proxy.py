"""Run in FastMCP's own environment: python fastmcp_proxy.py PORT PROXY.json."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from fastmcp import Client, FastMCP
from fastmcp.client.transports import StdioTransport
from fastmcp.server import create_proxy


async def main(port: int, servers: dict[str, str | list[str]], persistent: bool, options: dict[str, Any]) -> None:
    async with contextlib.AsyncExitStack() as open_clients:
        proxies: dict[str, FastMCP] = {}
        for name, server in servers.items():
            target = server if isinstance(server, str) else StdioTransport(server[0], server[1:])
            if persistent:
                proxies[name] = create_proxy(await open_clients.enter_async_context(Client(target)))
            else:
                proxies[name] = create_proxy(target)
        if len(proxies) == 1:
            (hub,) = proxies.values()
        else:
            hub = FastMCP("hub")
            for name, proxy in proxies.items():
                hub.mount(proxy, namespace=name)
        await hub.run_http_async(
            host="127.0.0.1",
            port=port,
            show_banner=False,
            log_level="error",
            uvicorn_config={"access_log": False},
            **options,
        )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), **json.loads(Path(sys.argv[2]).read_text())))
