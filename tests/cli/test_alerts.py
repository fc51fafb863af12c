"""`concento alerts` at a hub in a process of its own whose server does not start, with a real receiver."""

import asyncio
import json
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from tests.cli.test_cli import free_port, run, serving
from tests.observe.alerts.kit import Receiver, receiver

from concento.testing.waiting import until


def write_config(folder: Path, hook: Receiver) -> Path:
    path = folder / "concento.yaml"
    path.write_text(
        f"""listen: 127.0.0.1:{free_port()}
admin: {{listen: 127.0.0.1:{free_port()}}}
servers: {{down: {{command: [/bin/false]}}}}
alerts:
  rules: {{server_down: {{for_s: 0}}}}
  channels:
    ops: {{webhook: {{url: '{hook.url}', secret: "0123456789abcdef"}}}}
  routes: [{{channels: [ops], wait_s: 0}}]
"""
    )
    return path


@asynccontextmanager
async def hub_serving(config: Path) -> AsyncIterator[subprocess.Popen[str]]:
    hub = serving(config, "failing")
    process, *_ = await asyncio.to_thread(hub.__enter__)
    try:
        yield process
    finally:
        await asyncio.to_thread(hub.__exit__, None, None, None)


async def command(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return await asyncio.to_thread(run, "alerts", *words, cwd=cwd)


def changes(folder: Path) -> list[str]:
    """What operators changed, as the audit record has it."""
    (path,) = folder.glob("state/concento/*/audit.db")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        entries = [json.loads(bytes(body)) for (body,) in database.execute("SELECT body FROM entries ORDER BY seq")]
    return [entry["method"] for entry in entries if entry["kind"] == "changed"]


async def test_a_server_that_does_not_start_is_told_once_shown_acknowledged_and_silenced(tmp_path: Path) -> None:
    async with receiver() as hook:
        config = write_config(tmp_path, hook)
        async with hub_serving(config):
            await until(lambda: len(hook.got) == 1, "the webhook was called")
            assert "server_down" in (await command(cwd=tmp_path)).stdout
            said = await command("ack", "server_down", "--note", "I look at it", cwd=tmp_path)
            assert said.stdout.startswith("acknowledged: ")
            silence = await command("silence", "server=down", "--for", "2h", "--why", "a move", "--json", cwd=tmp_path)
            id = json.loads(silence.stdout)["id"]
            await until(lambda: changes(tmp_path) == ["alerts/ack", "alerts/silence"], "it is in the audit record")
        async with hub_serving(config):  # killed before, and started anew
            (alert,) = json.loads((await command("list", "--json", cwd=tmp_path)).stdout)["alerts"]
            assert (alert["state"], alert["told"]) == ("acknowledged", ["ops"])
            assert alert["acknowledged"]["note"] == "I look at it"
            assert (await command("unsilence", id, cwd=tmp_path)).stdout == f"silence {id} is over\n"
            hook.statuses = [500]
            refused = await command("test", "ops", cwd=tmp_path)
            assert (refused.returncode, refused.stdout) == (1, "ops: not delivered: it answered with the status 500\n")
    assert [json.loads(body)["what"] for _, body in hook.got] == ["firing", "test"]


def test_without_a_hub_that_runs_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "concento.yaml").write_text(f"servers: {{}}\nadmin: {{listen: 127.0.0.1:{free_port()}}}\n")
    done = run("alerts", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no hub is running here, or its admin listener is off; start it with `concento serve`" in done.stderr
