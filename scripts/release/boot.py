"""Run the unit under a real systemd: install it as docs/deploy.md says, call through it, hang it, break it, stop it.

Systemd runs as process 1 of namespaces of its own, on a Debian of its own; the network is this machine's, so that the
official client reaches the hub. Needs root. What is written in the page is what runs here, but for versions and ports.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mcp import Client

from .common import ROOT, Refused, environ, run
from .debian import CERTIFICATES, copy
from .venv import START_WAIT, TIME, free_port, must_answer, only_child

PAGE: Final = ROOT / "docs/deploy.md"
NOTE: Final = "<!-- no-run: `make release` runs it on a Debian of its own -->"
BOOT_S: Final = 60.0
HUNG_AFTER_S: Final = 6
RESTART_S: Final = 60.0

_BLOCK: Final = re.compile(re.escape(NOTE) + r"\n```sh\n(.*?)```", re.DOTALL)
_CONFIG: Final = "/etc/concento/concento.yaml"

# A root with what a container's has: its own /dev, /proc and /run, the kernel's /sys to read, a control group to fill.
_START: Final = """
mount --bind "$1" "$1" && cd "$1"
mount -t proc proc proc && mount -t sysfs -o ro sysfs sys && mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run && mount -t tmpfs tmpfs tmp && mount -t tmpfs -o mode=755 tmpfs dev
mkdir -p dev/pts dev/shm old && mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm && ln -s pts/ptmx dev/ptmx && ln -s /proc/self/fd dev/fd
for node in null zero full random urandom tty; do touch dev/$node && mount --bind /dev/$node dev/$node; done
pivot_root . old && umount -l old && mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --unit=basic.target --show-status=no
"""


def try_it(dist: Path, version: str, folder: Path) -> None:
    """Everything. Errors: Refused."""
    root = copy(folder / "machine")
    shutil.copytree(dist, root / "root/release")
    port = free_port()
    config = f"listen: 127.0.0.1:{port}\nadmin: {{listen: 127.0.0.1:{free_port()}}}{START_WAIT}"
    config += f"servers:\n  time: {{command: [uvx, {TIME}]}}\n"
    (root / "root/release/concento.yaml").write_text(config)
    (root / "root/release/docs-token").write_text("canary-4c1f\n")
    etc = root / "etc/concento"
    etc.mkdir()
    (etc / "environment").write_text("UV_SYSTEM_CERTS=true\n")
    with booted(root) as machine, machine.explaining():
        for block in page():
            ours = re.sub(r"\b0\.[12]\.0\b", version, block)
            machine.run(ours.replace("concento health", f"concento health 127.0.0.1:{port}"))
        endpoint = f"http://127.0.0.1:{port}/mcp"
        must_call(endpoint)
        must_be_confined(machine)
        must_hand_over_secrets(machine, etc / "concento.yaml")
        must_be_restarted_when_hung(machine)
        must_call(endpoint)
        must_stop_in_order(machine)
        must_stay_down_when_wrong(machine, etc / "concento.yaml")


def page() -> list[str]:
    """What the page tells a person to type, in its order. Errors: Refused, if it is not there."""
    blocks: list[str] = _BLOCK.findall(PAGE.read_text())
    if len(blocks) < 3:
        raise Refused(f"{PAGE.name} should show how to install, upgrade and go back, each block below {NOTE}")
    return blocks


def must_call(endpoint: str) -> None:
    """A server brought by `uvx` answers the official client. Errors: Refused."""
    must_answer(Client(endpoint), "time__get_current_time", {"timezone": "Europe/Rome"}, "Europe/Rome")


def must_be_confined(machine: "Machine") -> None:
    """An unprivileged user without capabilities, behind a system call filter. Errors: Refused."""
    status = dict(
        line.split(":\t", 1) for line in machine.run(f"cat /proc/{machine.show('MainPID')}/status").splitlines()
    )
    found = (status["Uid"].split()[0] != "0", status["CapEff"], status["NoNewPrivs"], status["Seccomp"])
    if found != (True, "0" * 16, "1", "2"):
        raise Refused(f"the service is not confined: unprivileged, capabilities, no new ones, seccomp: {found}")


def must_hand_over_secrets(machine: "Machine", config: Path) -> None:
    """A reference to the page's credential is found where the page says. Errors: Refused."""
    credential = "${file:/run/credentials/concento.service/docs-token}"
    docs = f'  docs: {{url: "http://127.0.0.1:9/mcp", credentials: {{bearer: "{credential}"}}}}\n'
    if credential not in PAGE.read_text():
        raise Refused(f"{PAGE.name} does not say that a credential is at {credential}")
    config.write_text(config.read_text() + docs)
    machine.run("systemctl restart concento")
    if "canary" in machine.journal():
        raise Refused("the journal shows a secret")


def must_be_restarted_when_hung(machine: "Machine") -> None:
    """Errors: Refused."""
    machine.run(f"kill -STOP {machine.show('MainPID')}")
    machine.wait_until("a hung hub is replaced", RESTART_S, NRestarts="1", ActiveState="active")


def must_stop_in_order(machine: "Machine") -> None:
    """Errors: Refused."""
    machine.run("systemctl stop concento")
    machine.wait_until("the service stops", RESTART_S, ActiveState="inactive", Result="success", ExecMainStatus="0")


def must_stay_down_when_wrong(machine: "Machine", config: Path) -> None:
    """A wrong configuration is told once, not every two seconds. Errors: Refused."""
    config.write_text("serverz: {}\n")
    machine.run("systemctl start concento 2>&1 || true")
    machine.wait_until("it fails for good", RESTART_S, ActiveState="failed", NRestarts="0", ExecMainStatus="2")
    if "did you mean 'servers'?" not in machine.journal():
        raise Refused(f"the journal does not say what is wrong with {_CONFIG}")


# ---- the machine


class Machine:
    """A Debian that systemd has booted."""

    def __init__(self, pid: int) -> None:
        self._inside = ["nsenter", "--all", "--target", str(pid), "env", "-i", "PATH=/usr/sbin:/usr/bin", "HOME=/root"]

    def run(self, script: str) -> str:
        """What a script printed, run by root in the folder with the release's files. Errors: Refused."""
        certificates = f"SSL_CERT_FILE={CERTIFICATES}"
        return run([*self._inside, certificates, "sh", "-euc", f"cd /root/release 2>/dev/null || cd /\n{script}"])

    def show(self, *properties: str) -> str:
        """Properties of the service, one a line."""
        return self.run(f"systemctl show concento --value --property {','.join(properties)}").strip()

    def journal(self) -> str:
        """What the service wrote."""
        return self.run("journalctl --unit concento --no-pager --lines 60")

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Whatever is refused meanwhile comes with what the service wrote."""
        try:
            yield
        except Refused as error:
            raise Refused(f"{error}\nThe service wrote:\n{self.journal()}") from None

    def wait_until(self, what: str, within_s: float, **wanted: str) -> None:
        """Errors: Refused."""
        end_s = time.monotonic() + within_s
        while any(self.show(name) != value for name, value in wanted.items()):
            if time.monotonic() > end_s:
                found = ", ".join(f"{name}={self.show(name)}" for name in wanted)
                raise Refused(f"waited {within_s:.0f} s in vain until {what}: {found}")
            time.sleep(0.2)


@contextmanager
def booted(root: Path) -> Iterator[Machine]:
    """A machine that is up while the context is open."""
    group = control_group()
    apart = "unshare --mount --pid --fork --cgroup --ipc --uts --propagation private"
    command = ["sh", "-ec", f'echo $$ > "$1/cgroup.procs"; shift; exec {apart} sh -ec "$0" sh "$@"', _START]
    log = root.with_suffix(".log")
    with log.open("w") as told:
        process = subprocess.Popen([*command, str(group), str(root)], env=environ(), stdout=told, stderr=told)
    try:
        machine = up(process, log)
        drop_in = "/etc/systemd/system/concento.service.d"
        machine.run(f"mkdir -p {drop_in}; printf '[Service]\\nWatchdogSec={HUNG_AFTER_S}\\n' > {drop_in}/hung.conf")
        yield machine
    finally:
        with suppress(OSError, ValueError):
            os.kill(only_child(process.pid), signal.SIGKILL)  # process 1 takes all in its namespaces with it
        process.wait()
        remove(group)


def up(process: subprocess.Popen[bytes], log: Path) -> Machine:
    """The machine, once systemd has started what everything else needs. Errors: Refused."""
    end_s = time.monotonic() + BOOT_S
    while True:
        try:
            machine = Machine(only_child(process.pid))
            machine.run("systemctl is-active --quiet basic.target")
            return machine
        except (Refused, ValueError, OSError) as error:
            if process.poll() is not None or time.monotonic() > end_s:
                raise Refused(f"systemd did not boot: {error}\n{log.read_text()}") from None
        time.sleep(0.2)


def control_group() -> Path:
    """A new control group of the second version, wherever this machine has it."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    place = next((Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"), None)
    if place is None:
        raise Refused("this machine has no control groups of the second version, which systemd needs")
    group = place / f"concento-release-{os.getpid()}"
    group.mkdir()
    return group


def remove(group: Path) -> None:
    """Once nothing runs in them, control groups go like folders, innermost first."""
    for folder, _, _ in os.walk(group, topdown=False):
        os.rmdir(folder)
