"""A trial of one server: real child processes and real HTTP servers, those that work and those that don't."""

import asyncio
import sys
from pathlib import Path

import pytest
from tests.hub.conftest import free_port
from tests.peers import fast_http_server, sdk_command

from concento.model.config import ChildReplica, Server, UrlReplica
from concento.onboarding.trial import REDACTED, try_server
from concento.testing.stdio_child import child_command, recorded

CANARY = "canary-4242-swordfish"


def child(*command: str, **options: object) -> Server:
    return Server("tried", (ChildReplica(command, **options),))  # type: ignore[arg-type]


async def test_a_trial_of_a_child_tells_era_and_tools() -> None:
    trial = await try_server(child(*sdk_command("legacy")))
    assert trial.works
    assert (trial.era, trial.error, trial.last_words) == ("legacy", None, ())
    assert trial.tools
    assert all(tool.name == f"tried__{tool.own_name}" for tool in trial.tools)


async def test_a_server_that_would_sleep_is_tried_all_the_same() -> None:
    server = Server("tried", (ChildReplica(tuple(child_command("plain"))),), start="lazy", idle_stop_s=1.0)
    trial = await try_server(server)
    assert trial.works
    assert trial.tools


async def test_a_trial_of_a_url_tells_era_and_tools() -> None:
    async with fast_http_server() as url:
        trial = await try_server(Server("tried", (UrlReplica(url),)))
    assert trial.works
    assert trial.tools


async def test_a_server_that_ends_is_told_with_its_last_words_but_no_secret() -> None:
    code = f"import sys; sys.stderr.write('\\x1b[31mno key {CANARY} here\\n'); sys.exit(3)"
    trial = await try_server(child(sys.executable, "-c", code), secrets={CANARY})
    assert not trial.works
    assert any(REDACTED in line for line in trial.last_words)
    assert CANARY not in repr(trial)
    assert "\x1b" not in repr(trial.last_words)


@pytest.mark.parametrize("command", [("no-such-program-anywhere",), (sys.executable, "-c", "print('no JSON')")])
async def test_what_is_no_server_is_an_error_in_the_trial(command: tuple[str, ...]) -> None:
    trial = await try_server(child(*command))
    assert trial.error is not None
    assert trial.tools == ()


async def test_a_url_where_nobody_listens_is_an_error_in_the_trial() -> None:
    trial = await try_server(Server("tried", (UrlReplica(f"http://127.0.0.1:{free_port()}/mcp"),)))
    assert trial.error is not None


async def test_a_server_that_never_answers_ends_with_the_wait(tmp_path: Path) -> None:
    waited: list[float] = []
    command = [
        sys.executable,
        "-c",
        "import sys; sys.stderr.write('still thinking\\n'); sys.stderr.flush(); input(); input()",
    ]
    trial = await try_server(child(*command), wait_s=1.5, on_wait=waited.append)
    assert trial.error == "The server 'tried' did not answer within 1.5 s"
    assert waited


async def test_a_trial_leaves_no_process_behind(tmp_path: Path) -> None:
    record = tmp_path / "record"
    trial = await try_server(child(*child_command("ignore_eof_and_term", record=record)))
    assert trial.works
    assert recorded(record)
    ps = await asyncio.create_subprocess_exec("pgrep", "-f", str(record), stdout=asyncio.subprocess.PIPE)
    out, _ = await ps.communicate()
    assert out == b""
