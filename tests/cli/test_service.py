"""The hub as a service: what it tells the manager that started it, and what a health check hears."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.cli.test_cli import CONCENTO, run, serving, write_config

WAIT_S = 20.0


class FakeManager:
    """A notification socket as a service manager holds it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        self._socket.settimeout(WAIT_S)

    def hears(self) -> set[str]:
        """The lines of the next message."""
        return set(self._socket.recv(4096).decode().split("\n"))

    def hears_until(self, line: str) -> list[set[str]]:
        """All messages up to the first that holds a line."""
        heard = [self.hears()]
        while line not in heard[-1]:
            heard.append(self.hears())
        return heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeManager]:
    name = f"@concento-test-{os.getpid()}-{tmp_path.name}" if request.param == "abstract" else str(tmp_path / "notify")
    manager = FakeManager(name)
    yield manager
    manager.close()


@contextmanager
def started(config: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    env = {**os.environ, "XDG_STATE_HOME": str(config.parent / "state"), **environment}
    process = subprocess.Popen(
        [CONCENTO, "serve", str(config), "--json"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_manager_hears_that_the_hub_listens_lives_and_stops(manager: FakeManager, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with started(config, NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="100000") as process:
        ready = next(heard for heard in manager.hears_until("READY=1") if "READY=1" in heard)
        (status,) = (line for line in ready if line.startswith("STATUS="))
        address = urlsplit(status.partition(" at ")[2])
        socket.create_connection((address.hostname, address.port), timeout=5).close()
        for _ in range(3):
            manager.hears_until("WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        manager.hears_until("STOPPING=1")
        assert process.wait(WAIT_S) == 0


def test_a_hub_that_can_not_listen_never_says_it_is_ready(tmp_path: Path) -> None:
    manager = FakeManager(str(tmp_path / "notify"))
    config = write_config(tmp_path)
    with serving(config), started(config, NOTIFY_SOCKET=manager.name) as second:
        assert second.wait(WAIT_S) == 1
        manager._socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.hears()
    manager.close()


@pytest.mark.parametrize(
    "environment",
    [{"NOTIFY_SOCKET": "/nowhere/notify"}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": ""}],
    ids=["no socket there", "a kind we do not speak", "empty"],
)
def test_a_manager_that_does_not_listen_changes_nothing(environment: Mapping[str, str], tmp_path: Path) -> None:
    with started(write_config(tmp_path), WATCHDOG_USEC="100000", **environment) as process:
        assert process.stdout is not None
        assert "endpoint" in json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0


# ---- health


def test_health_tells_a_hub_that_is_up_from_none(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    with serving(config) as (_, endpoint, _):
        address = urlsplit(endpoint).netloc
        up = run("health", address, "--wait", "20", cwd=tmp_path)
        assert (up.returncode, up.stdout) == (0, "ready\n")
        assert run("health", address, "--live", cwd=tmp_path).stdout == "live\n"
    down = run("health", address, "--json", cwd=tmp_path)
    assert down.returncode == 1
    assert json.loads(down.stdout)["status"] == "down"
    assert address in down.stderr


def test_health_is_bad_while_a_required_server_is_missing_though_the_hub_lives(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text() + "  gone: {command: [no-such-program], required: true}\n")
    with serving(config) as (_, endpoint, _):
        address = urlsplit(endpoint).netloc
        unready = run("health", address, cwd=tmp_path)
        assert (unready.returncode, unready.stdout) == (1, "")
        assert "required" in unready.stderr
        assert run("health", address, "--live", cwd=tmp_path).returncode == 0


def test_health_names_itself_as_the_hub_wants_to_be_called(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text("hosts: [hub.example.com]\n" + config.read_text())
    with started(config) as process:
        assert process.stdout is not None
        address = urlsplit(json.loads(process.stdout.readline())["endpoint"]).netloc
        refused = run("health", address, cwd=tmp_path)
        assert refused.returncode == 1
        assert "--host" in refused.stderr
        assert run("health", address, "--host", "hub.example.com", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("address", ["7400", "127.0.0.1", "http://127.0.0.1:7400", "127.0.0.1:0", "a@b:1", "h:70000"])
def test_what_is_no_address_is_a_usage_error(address: str, tmp_path: Path) -> None:
    assert run("health", address, cwd=tmp_path).returncode == 2
