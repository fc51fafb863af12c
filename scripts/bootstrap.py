"""Make `.venv` match `uv.lock`, starting from nothing but a Python with pip.

Run by the Makefile as `python3 scripts/bootstrap.py GROUP`. It needs no root and no `venv` module, and leaves the
system's Python alone: pip puts uv (the version and hashes that `uv.lock` names) under `.tools/`, and uv does the rest.
When nothing has changed since the last run it returns at once.

The syntax stays old enough for an old Python to say that it is too old.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this file is read by whatever Python there is
    version = sys.version.split()[0]
    sys.stderr.write(
        f"Concento needs Python 3.11 or newer, and {sys.executable} is {version}: "
        "name another one, as in `make PYTHON=python3.12 serve`\n"
    )
    sys.exit(2)

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
STAMPS = ROOT / ".venv" / "synced"
PYTHON = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
"""The interpreter itself: the same whether `.venv`, or another environment, is activated or not."""
GROUPS = {"serve": "what serving needs", "dev": "all development tools"}


def main() -> None:
    group = sys.argv[1]
    stamp = STAMPS / fingerprint(group)
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once: the second waits and then finds the work done
        if stamp.exists() or (STAMPS / fingerprint("dev")).exists():
            return
        uv = installed_uv()
        say(f"bringing .venv up to date ({GROUPS[group]})")
        shutil.rmtree(STAMPS, ignore_errors=True)  # first, so that an interrupted sync is not taken for a finished one
        sync(uv, group)
        STAMPS.mkdir()
        stamp.touch()


def fingerprint(group: str) -> str:
    """All that decides what `.venv` holds: the lock, the project's own metadata, the interpreter and the place."""
    seen = hashlib.sha256()
    for part in (group, PYTHON, sys.version, str(ROOT)):
        seen.update(part.encode() + b"\0")
    for name in ("uv.lock", "pyproject.toml"):
        seen.update((ROOT / name).read_bytes() + b"\0")
    return seen.hexdigest()[:20]


def installed_uv() -> Path:
    version, requirement = locked_uv()
    home = TOOLS / f"uv-{version}"
    if not home.exists():
        say(f"installing uv {version} into {home.relative_to(ROOT)}/")
        with tempfile.TemporaryDirectory(dir=TOOLS) as scratch:
            (Path(scratch) / "uv.txt").write_text(requirement)
            pip = [PYTHON, "-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--require-hashes"]
            # A user's pip configuration stays in force (indexes, certificates), but for what can't go with --target.
            run(
                [*pip, "--target", f"{scratch}/uv", "-r", f"{scratch}/uv.txt"],
                "pip could not install uv; Concento's make targets need a Python that has pip",
                PIP_USER="0",
                PIP_REQUIRE_VIRTUALENV="0",
            )
            (Path(scratch) / "uv").rename(home)
    return home / "bin" / "uv"


def locked_uv() -> tuple[str, str]:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    uv = next(package for package in packages if package["name"] == "uv")
    hashes = " ".join("--hash=" + wheel["hash"] for wheel in uv["wheels"])
    return uv["version"], f"uv=={uv['version']} {hashes}\n"


def sync(uv: Path, group: str) -> None:
    command = [str(uv), "sync", "--frozen"]
    if group == "serve":
        command.append("--inexact")  # development tools that are there stay there
    run(
        [*command, "--no-default-groups", "--group", group, "--python", PYTHON],
        "uv could not install the locked dependencies",
        UV_PROJECT_ENVIRONMENT=str(ROOT / ".venv"),
        UV_PYTHON_DOWNLOADS="never",
        # The roots that pip trusts on Debian; a company's own authority is often only there.
        UV_SYSTEM_CERTS=os.environ.get("UV_SYSTEM_CERTS", "true"),
    )


def run(command: list[str], complaint: str, **environment: str) -> None:
    """Run quietly; on failure show all that the command said, then the complaint."""
    inherited = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        command, cwd=ROOT, env=inherited | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        sys.stderr.write(f"{done.stdout}{complaint}\n")
        sys.exit(2)


def say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
