"""Build the image from its Containerfile as it is, with buildah, and run it the way it is meant to run.

The base it names is a registry's; here a small Debian made on the spot stands in for it, with another way to the same
Python. What runs is the image's own entry point with its own user, variables and health check, on a read-only root file
system with only the volume and /tmp writable. Needs root, to make a Debian and to change users.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mcp import Client

from .common import ROOT, Refused, run
from .debian import CERTIFICATES, debian
from .venv import TIME, must_answer, serving, write_config

BASE: Final = "localhost/concento-base"
IMAGE: Final = "localhost/concento"


def try_it(dist: Path, version: str, folder: Path) -> None:
    """Build the image out of `dist`, run it, call through it. Errors: Refused."""
    with images(folder) as buildah, mounted(buildah, dist, version) as (root, config):
        must_be_slim(root)
        state, etc = folder / "state", folder / "etc"
        state.mkdir()
        uid, gid = (int(part) for part in config["User"].split(":"))
        os.chown(state, uid, gid)
        etc.mkdir()
        write_config(etc, f"{{time: {{command: [uvx, {TIME}]}}}}")
        inside = sandbox(root, config, uid, gid, state, etc)
        refused_to_write(inside)
        with serving([*inside, *config["Entrypoint"], *config["Cmd"]], etc, launched=True) as hub:
            must_answer(Client(hub.endpoint), "time__get_current_time", {"timezone": "Europe/Rome"}, "Europe/Rome")
            run([*inside, *config["Healthcheck"]["Test"][1:], hub.address])
        if not list(state.glob("*/concento.db")):
            raise Refused(f"the hub in the image kept no state in its volume; there is {os.listdir(state)}")


def must_be_slim(root: Path) -> None:
    """Nothing is left of what only the build needed. Errors: Refused."""
    left = [path for path in (root / "tmp/dist", root / "opt/concento/bin/pip") if path.exists()]
    if left:
        raise Refused(f"the image still holds {', '.join(map(str, left))}")


def sandbox(root: Path, config: dict[str, Any], uid: int, gid: int, state: Path, etc: Path) -> list[str]:
    """What runs a command in the image as its configuration says: bubblewrap in the place of a container engine."""
    volumes = list(config["Volumes"])
    if volumes != ["/var/lib/concento"] or uid == 0 or gid == 0:
        raise Refused(f"the image declares the volumes {volumes} and the user {uid}:{gid}")
    mounts = f"--ro-bind {root} / --proc /proc --dev /dev --perms 1777 --tmpfs /tmp --bind {state} {volumes[0]}"
    mounts += f" --ro-bind {etc} /etc/concento"
    mounts += "".join(f" --ro-bind {path} {path}" for path in (CERTIFICATES, "/etc/resolv.conf", "/etc/hosts"))
    apart = "--unshare-pid --unshare-ipc --unshare-uts --die-with-parent --as-pid-1 --clearenv"
    # Proxy and index settings of whoever builds; an image has none of its own.
    ours = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    ours["UV_SYSTEM_CERTS"] = "true"  # a company's own authority is often only there
    for name, value in [*ours.items(), *(pair.split("=", 1) for pair in config["Env"])]:
        apart += f" --setenv {name} {value}"
    become = f"setpriv --reuid={uid} --regid={gid} --clear-groups --no-new-privs --bounding-set=-all"
    rights = "--cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_SETPCAP"
    return f"bwrap {mounts} {apart} {rights} --chdir {config['WorkingDir']} -- {become} --".split()


def refused_to_write(inside: list[str]) -> None:
    """Errors: Refused, if the user can write where it must not, or can't where it must."""
    wanted = "65532 1 1 0 0"
    probe = (
        'printf %s "$(id -u)"; for at in /opt/concento /etc . /tmp; do touch $at/x 2>/dev/null; printf " %s" $?; done'
    )
    told = run([*inside, "sh", "-c", probe])
    if told != wanted:
        raise Refused(f"uid and writability of /opt/concento, /etc, the volume, /tmp: {told!r}, not {wanted!r}")


# ---- building


@contextmanager
def images(folder: Path) -> Iterator[list[str]]:
    """Buildah with a storage of its own, which has the base image."""
    store = ROOT / ".tools/images"
    buildah = ["buildah", "--root", str(store), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]
    if BASE not in run([*buildah, "images", "--format", "{{.Name}}"]).split():
        container = run([*buildah, "from", "scratch"]).strip()
        run([*buildah, "add", "--quiet", container, debian(), "/"])
        run([*buildah, "commit", "--quiet", "--rm", container, BASE])
    try:
        yield buildah
    finally:
        run([*buildah, "rm", "--all"])
        for image in ("--prune", IMAGE):
            run([*buildah, "rmi", "--force", image])


@contextmanager
def mounted(buildah: list[str], dist: Path, version: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The image, built; its root file system and its configuration."""
    roots = f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"
    build = ["bud", "--quiet", "--isolation=chroot", "--format=docker", roots, "--tag", IMAGE]
    arguments = {"BASE": BASE, "VERSION": version, "PIP_INDEX_URL": os.environ.get("PIP_INDEX_URL", "")}
    run([*buildah, *build, *(f"--build-arg={name}={value}" for name, value in arguments.items() if value), str(dist)])
    told = json.loads(run([*buildah, "inspect", "--type", "image", IMAGE]))
    container = run([*buildah, "from", IMAGE]).strip()
    yield Path(run([*buildah, "mount", container]).strip()), told["Docker"]["config"]
