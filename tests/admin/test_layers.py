"""What was changed at run time over a file that changes, too: nothing stops the hub, and nothing is lost."""

from pathlib import Path

import pytest
from tests.admin.conftest import Desk, desk, written

from concento.control.layers import KEPT_BYTES_MAX, SPACE, NotKept
from concento.model.errors import ConfigError, StartError
from concento.testing.http_server import ScriptedHttpServer


def take_all(after: object) -> None:
    """No objection."""


async def test_a_reload_of_the_file_lays_the_changes_over_it_again(tmp_path: Path, server: ScriptedHttpServer) -> None:
    path = written(tmp_path, f"servers: {{time: {{url: {server.url}}}}}\n")
    async with desk(path) as hub:
        await hub.ask("PUT", "/api/v1/servers/docs", {"url": server.url})
        upstream = hub.hub.upstreams.get("docs")
        written(tmp_path, f"servers: {{clock: {{url: {server.url}}}}}\n")
        await hub.hub.layers.reload(take_all)
        await hub.listed("clock__echo", "docs__echo")
        assert hub.hub.upstreams.get("docs") is upstream, "what did not change stays connected"


async def test_what_fits_no_more_stands_aside_and_comes_back(tmp_path: Path, server: ScriptedHttpServer) -> None:
    both = f"servers: {{time: {{url: {server.url}}}, docs: {{url: {server.url}}}}}\n"
    path = written(tmp_path, both)
    async with desk(path) as hub:
        await hub.ask("PUT", "/api/v1/views/coding", {"include": ["docs.*"]})
        await hub.ask("PUT", "/api/v1/limits/all", {"rate": "5/s"})
        written(tmp_path, f"servers: {{time: {{url: {server.url}}}}}\n")
        await hub.hub.layers.reload(take_all)
        await hub.listed("time__echo")
        told = await hub.get("/api/v1/views/coding")
        assert (told["state"], told["problems"][0]["pointer"]) == ("invalid", "/include/0")
        assert (await hub.get("/api/v1/limits/all"))["state"] == "in force"
        notes = (await hub.get("/api/v1/servers"))["notes"]
        assert any("/views/coding stands aside" in note for note in notes), notes
        assert (await hub.put("/api/v1/limits/more", {"rate": "6/s"})).status == 201
    async with desk(path) as hub:  # and it does not stop a start
        assert (await hub.get("/api/v1/views/coding"))["state"] == "invalid"
        written(tmp_path, both)
        await hub.hub.layers.reload(take_all)
        assert (await hub.get("/api/v1/views/coding"))["state"] == "in force"
        assert "coding" in hub.hub.current.snapshot.config.views


async def test_a_wrong_file_changes_nothing(tmp_path: Path, server: ScriptedHttpServer) -> None:
    path = written(tmp_path, f"servers: {{time: {{url: {server.url}}}}}\n")
    async with desk(path) as hub:
        before = hub.hub.current.snapshot.config
        path.write_text("servers: {time: {urll: x}}\n")
        with pytest.raises(ConfigError):
            await hub.hub.layers.reload(take_all)
        written(tmp_path, "servers: {}\n")
        with pytest.raises(StartError, match="not today"):
            await hub.hub.layers.reload(lambda after: "not today")
        assert hub.hub.current.snapshot.config is before
        assert (await hub.put("/api/v1/limits/all", {"rate": "5/s"})).status == 201


async def test_nothing_is_changed_that_could_not_be_kept(
    tmp_path: Path, server: ScriptedHttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R19: a store that fails is a 503, and what runs is what is kept."""

    async def fails(space: str, key: str, value: bytes) -> None:
        if space == SPACE:
            raise OSError("the disk is full")

    async with desk(written(tmp_path, f"servers: {{time: {{url: {server.url}}}}}\n")) as hub:
        before = hub.hub.current.snapshot.config
        monkeypatch.setattr(hub.hub.store, "put", fails)
        told = await hub.ask("PUT", "/api/v1/limits/all", {"rate": "5/s"})
        assert (told.status, "nothing was changed" in told.value["detail"]) == (503, True)
        with pytest.raises(NotKept):
            await hub.hub.layers.drain("time", None)
        assert hub.hub.current.snapshot.config is before
        assert (await hub.ask("GET", "/api/v1/limits/all")).status == 404
        monkeypatch.undo()


async def test_what_is_kept_is_bounded(tmp_path: Path, server: ScriptedHttpServer) -> None:
    async with desk(written(tmp_path, f"servers: {{time: {{url: {server.url}}}}}\n")) as hub:
        large = {"description": "x" * 100_000}
        status, made = 201, 0
        while status == 201:
            body = {"url": server.url, "tools": {"echo": large, "other": large}}
            status = (await hub.ask("PUT", f"/api/v1/servers/s{made}", {**body, "timeout_s": 1})).status
            made += status == 201
        assert (status, made) == (409, KEPT_BYTES_MAX // 200_000)


async def test_a_hub_that_has_no_file_says_that_it_can_not_be_changed() -> None:
    from tests.hub.conftest import config, running

    from concento.admin.listener import AdminListener
    from concento.model.config import Address

    async with running(config()) as hub:
        listener = AdminListener(hub.hub)
        address = await listener.start(Address("127.0.0.1", 0))
        import aiohttp

        async with aiohttp.ClientSession() as session:
            told = await Desk(hub.hub, hub.mcp, f"http://{address}", session).ask(
                "PUT", "/api/v1/limits/all", {"rate": "5/s"}
            )
        assert told.status == 409
        await listener.close()
