"""What a child process is kept in: from checked keys to `model.config.Sandbox`, and what only shows together."""

import sys

from ...model.config import Sandbox
from . import keys
from .kinds import Reader, Table


def build_sandbox(*tables: Table, reader: Reader, beside: bool) -> Sandbox | None:
    """The sandbox of the first table that speaks of one; None for none, or `off`. `beside`: the child serves a URL."""
    speaking = next((table for table in tables if table.given(keys.SANDBOX)), None)
    said = None if speaking is None else speaking.get(keys.SANDBOX)
    if speaking is None or said is None:
        return None
    if said[keys.SANDBOX_KIND] == "container":
        return _container(said, reader)
    for key in said.given(keys.SANDBOX_COMMAND):
        reader.problems.add(said.place_of(key), "'command' is for 'kind: container'")
    if sys.platform != "linux":
        place = speaking.place_of(keys.SANDBOX)
        reader.problems.add(place, "bubblewrap runs on Linux only; use 'kind: container', or remove it")
    if beside and not said[keys.NETWORK]:
        message = "a program that serves 'url' needs 'sandbox: {network: true}', or 'sandbox: off'"
        reader.problems.add(speaking.place_of(keys.SANDBOX), message)
    read_only, writable = (
        tuple(reader.references.path(path) for path in said.get(key) or ()) for key in (keys.READ_ONLY, keys.WRITABLE)
    )
    for path in set(read_only) & set(writable):
        message = f"{path} is in 'read_only' and in 'writable'; remove one of them"
        reader.problems.add(said.place_of(keys.READ_ONLY), message)
    return Sandbox(
        network=said[keys.NETWORK],
        read_only=read_only,
        writable=writable,
        memory_mb=said.get(keys.MEMORY_MB),
        cpu_s=said.get(keys.CPU_S),
        processes_max=said.get(keys.PROCESSES_MAX),
        files_max=said[keys.FILES_MAX],
        tmp_mb=said[keys.TMP_MB],
    )


def _container(said: Table, reader: Reader) -> Sandbox:
    for key in said.given(*keys.ONLY_IN_BUBBLEWRAP):
        message = f"'{key.name}' has no effect with 'kind: container'; say it in 'command'"
        reader.problems.add(said.place_of(key), message)
    command = said.get(keys.SANDBOX_COMMAND) or ("",)
    if not said.given(keys.SANDBOX_COMMAND):
        message = "'kind: container' needs 'command', such as [docker, run, --rm, -i, --network=none, IMAGE]"
        reader.problems.add(said.place_of(keys.SANDBOX_KIND), message)
    elif not command[0]:
        reader.problems.add(said.place_of(keys.SANDBOX_COMMAND), "the program to start is empty")
    elif "/" in command[0]:
        command = (str(reader.references.path(command[0])), *command[1:])
    return Sandbox("container", command=command)
