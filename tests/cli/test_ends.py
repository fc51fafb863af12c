"""Standard input and output that are no pipes: files, devices, terminals, full disks, and none at all."""

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from tests.cli.test_cli import CONCENTO

PING = '{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "concento.yaml").write_text("servers: {}\n")
    (tmp_path / "asked").write_text(PING)
    return tmp_path


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "CONCENTO": CONCENTO}
    return subprocess.run(["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "command",
    [
        "$CONCENTO stdio < asked",
        "$CONCENTO stdio < asked > answered && cat answered",
        "cat asked | $CONCENTO stdio > answered && cat answered",
    ],
)
def test_the_sidecar_reads_and_writes_files(folder: Path, command: str) -> None:
    done = shell(command, folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"jsonrpc": "2.0", "id": 1, "result": {}}


def test_the_sidecar_ends_well_where_there_is_nothing_to_read(folder: Path) -> None:
    done = shell("$CONCENTO stdio < /dev/null", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_sidecar_answers_whoever_types_at_a_terminal(folder: Path) -> None:
    typed, terminal = pty.openpty()
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    with subprocess.Popen([CONCENTO, "stdio"], cwd=folder, env=env, stdin=terminal, stdout=subprocess.PIPE) as process:
        os.close(terminal)
        os.write(typed, PING.encode())
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["result"] == {}
        os.write(typed, b"\x04")  # Ctrl-D
    os.close(typed)
    assert process.returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&- < asked"])
def test_the_sidecar_refuses_a_closed_end_in_one_sentence(folder: Path, closed: str) -> None:
    done = shell(f"$CONCENTO stdio {closed}", folder)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "is closed" in done.stderr


def test_the_sidecar_says_that_its_answers_can_not_be_written(folder: Path) -> None:
    done = shell("$CONCENTO stdio < asked > /dev/full", folder)
    assert done.returncode == 1
    assert done.stderr == "concento: standard output can't be written: No space left on device\n"


@pytest.mark.parametrize("verb", ["schema", "check concento.yaml --json", "servers", "--help"])
def test_output_that_can_not_be_written_is_told_in_one_line(folder: Path, verb: str) -> None:
    done = shell(f"$CONCENTO {verb} > /dev/full", folder)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "concento: standard output can't be written: No space left on device"
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize("verb", ["schema", "tools"])
def test_a_reader_that_has_left_is_no_news(folder: Path, verb: str) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    done = subprocess.run([CONCENTO, verb], cwd=folder, env=env, stdout=writes, stderr=subprocess.PIPE, text=True)
    os.close(writes)
    assert done.returncode == 1
    assert done.stderr.startswith("no hub is running here" if verb == "tools" else "")
    assert len(done.stderr.splitlines()) == (verb == "tools")
