"""Temporary."""
import asyncio, sys
from contextlib import asynccontextmanager
from pathlib import Path
HERE = Path(__file__).parent / "servers"
@asynccontextmanager
async def sdk_http_server(era, transport="http"):
    p = await asyncio.create_subprocess_exec(sys.executable, str(HERE/"sdk_server.py"), "--transport", transport, "--era", era, "--port", "0", stdout=asyncio.subprocess.PIPE)
    line = await p.stdout.readline()
    try: yield f"http://127.0.0.1:{line.split()[1].decode()}/" + ("sse" if transport == "sse" else "mcp")
    finally: p.kill(); await p.wait()
@asynccontextmanager
async def fast_http_server():
    yield ""
@asynccontextmanager
async def everything_server():
    yield ""
