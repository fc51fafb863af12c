"""A gateway that hands bytes on, and replaces some in one reply of so many: relay.py PORT SERVER EVERY OLD NEW."""

import asyncio
import sys


async def main(port: int, server: int, every: int, old: bytes, new: bytes) -> None:
    seen = 0

    def spoil(data: bytes) -> bytes:
        nonlocal seen
        seen += 1
        return data.replace(old, new, 1) if seen % every == 0 else data

    async def serve(agent: asyncio.StreamReader, to_agent: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", server)

        async def replies() -> None:
            while data := await from_server.read(65536):
                to_agent.write(spoil(data))

        async with asyncio.TaskGroup() as tasks:
            relaying = tasks.create_task(replies())
            while data := await agent.read(65536):
                to_server.write(data)
            relaying.cancel()
        to_server.close()
        to_agent.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port) as listener:
        await listener.serve_forever()


if __name__ == "__main__":
    _, port, server, every, old, new = sys.argv
    asyncio.run(main(int(port), int(server), int(every), old.encode(), new.encode()))
