"""Many clients' servers → one list: identical ones merged, names made aliases, what can't come along with its reason.

Pure but for `env`, whose values references stand for.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..control.config import read
from ..control.config.clients import free_alias, slugs
from ..control.config.references import FILE_BYTES_MAX
from ..model.config import ChildReplica, Config, Server
from ..model.errors import ConfigError
from .disguise import Answer, disguise, in_full, kept_answer, open_needs, with_defaults
from .found import Found, Reading
from .translate import MARK, Entry, Need, Unusable, translate
from .written import entry_lines


@dataclass(frozen=True, slots=True)
class Taken:
    """One server of the new configuration. `keys` are free of secrets; `origins` are all places that had it."""

    alias: str
    name: str
    keys: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False)
    origins: tuple[Found, ...]
    notes: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    """What a person still has to say; a server that needs something is written, but commented out."""
    is_disabled: bool = False

    @property
    def is_active(self) -> bool:
        """Whether the hub will run it."""
        return not self.needs and not self.is_disabled


@dataclass(frozen=True, slots=True)
class Left:
    """A server that is not taken, and why."""

    found: Found
    reason: str


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that was found, each server in one of the lists. `known`: the configuration has it already."""

    taken: tuple[Taken, ...]
    left: tuple[Left, ...]
    known: tuple[tuple[str, Found], ...] = ()
    asked: tuple[str, ...] = ()
    """The names of all that the files leave open, answered or not."""


def gather(
    readings: Sequence[Reading],
    env: Mapping[str, str],
    answers: Mapping[str, Answer],
    existing: Config,
    path: Path,
) -> Gathered:
    """What a configuration at `path` gains from these files; `existing` is what it has."""
    left: list[Left] = []
    merged: dict[str, tuple[Entry, list[Found]]] = {}
    for found in (found for reading in readings for found in reading.servers):
        if found.leads_to(f"http://{existing.listen}/mcp"):
            continue
        match translate(found, env):
            case Unusable(reason):
                left.append(Left(found, reason))
            case entry:
                key = json.dumps([in_full(entry, with_defaults(entry, answers)), found.is_disabled], sort_keys=True)
                merged.setdefault(key, (entry, []))[1].append(found)
    known: list[tuple[str, Found]] = []
    fresh: list[tuple[Entry, list[Found]]] = []
    for entry, origins in merged.values():
        alias = None
        if not origins[0].is_disabled and open_needs(entry, answers):
            alias = _settled(entry, origins[0], answers, existing, path, env)
        elif not origins[0].is_disabled:
            server = _checked(entry, with_defaults(entry, answers), path, env)
            if isinstance(server, str):
                left += [Left(found, server) for found in origins]
                continue
            alias = same_server(server, existing.servers)
        if alias is not None:
            known += [(alias, found) for found in origins]
        else:
            fresh.append((entry, origins))
    asked = dict.fromkeys(need.name for entry, _ in merged.values() for need in entry.needs)
    return Gathered(tuple(_named(fresh, answers, existing.servers)), tuple(left), tuple(known), tuple(asked))


def _checked(entry: Entry, answers: Mapping[str, Answer], path: Path, env: Mapping[str, str]) -> Server | str:
    """The server as it will be, or why it can't be."""
    secrets = disguise(entry, "server", answers).secrets.values()
    if any(len(value.encode("utf-8", "surrogatepass")) > FILE_BYTES_MAX for value in secrets):
        return f"a secret of it is larger than {FILE_BYTES_MAX // 1024} KiB"
    return server_of("server", in_full(entry, answers), path, env)


def server_of(alias: str, keys: Mapping[str, Any], path: Path, env: Mapping[str, str]) -> Server | str:
    """The server as the loader makes it, or what it has against it."""
    try:
        text = "\n".join(["servers:", *entry_lines(alias, keys)])
        return read(text.encode(), path, env).servers[alias]
    except ConfigError as error:
        return "; ".join(problem.partition(": ")[2] for problem in error.problems)
    except UnicodeEncodeError:
        return "it holds half of a character"


def same_server(server: Server, others: Mapping[str, Server]) -> str | None:
    """The alias under which there is such a server already: the same program or URL, the same credentials."""
    return next((alias for alias, other in others.items() if other.replicas == server.replicas), None)


def _settled(
    entry: Entry, first: Found, answers: Mapping[str, Answer], existing: Config, path: Path, env: Mapping[str, str]
) -> str | None:
    """The alias under which a person has said what this server needs: in the secrets folder, or in the entry itself.

    What stands in an entry counts under the server's own name only: the same program may well run for another folder.
    """
    own = slugs([first.name])[first.name]
    for alias, other in existing.servers.items():
        said = dict(answers)
        for need in open_needs(entry, answers):
            kept = kept_answer(alias, need.name)
            value = None if need.is_secret or alias != own else _said_in(entry, need.name, other)
            said[need.name] = Answer(value, False) if value is not None else kept
        made = server_of(alias, in_full(entry, with_defaults(entry, said)), path, env)
        if isinstance(made, Server) and made.replicas == other.replicas:
            return alias
    return None


def _said_in(entry: Entry, name: str, server: Server) -> str | None:
    """What stands in a server's command or environment in the place of a need that is no secret."""
    if not isinstance(child := server.replicas[0], ChildReplica):
        return None
    places = [*zip(entry.keys.get("command", ()), child.command, strict=False)]
    places += [(text, child.env.get(key, "")) for key, text in entry.keys.get("env", {}).items()]
    for template, text in places:
        before, mark, after = str(template).partition(f"{MARK}{name}{MARK}")
        if mark and len(text) > len(before + after) and text.startswith(before) and text.endswith(after):
            return text[len(before) : len(text) - len(after)]
    return None


def _named(
    fresh: Sequence[tuple[Entry, list[Found]]], answers: Mapping[str, Answer], others: Mapping[str, Server]
) -> list[Taken]:
    """Aliases: a valid name that nobody has yet is kept; of several that want one, the first gets it."""
    wanted = slugs(dict.fromkeys(origins[0].name for _, origins in fresh if not origins[0].is_disabled))
    taken = set(others)
    reserved = set(wanted.values())
    named: list[Taken] = []
    in_order = sorted(fresh, key=lambda one: (one[1][0].is_disabled, bool(open_needs(one[0], answers))))
    for entry, origins in in_order:
        first = origins[0]
        alias, notes = wanted.get(first.name), list(entry.notes)
        if alias is None or alias in taken:
            alias = free_alias(first.name, taken | reserved)
        taken.add(alias)
        if alias != first.name:
            who = next((one for one in named if one.name == first.name), None)
            if who is not None:
                notes.append(f"a different server is called {first.name!r} in {who.origins[0].file.client.name}")
            elif first.name in others:
                notes.append(f"the configuration has a different server called {first.name!r}")
            else:
                notes.append(f"called {first.name!r} in {first.file.client.name}, which is no alias")
        hidden = disguise(entry, alias, with_defaults(entry, answers))
        keys, secrets, needs = hidden.keys, hidden.secrets, open_needs(entry, answers)
        named.append(Taken(alias, first.name, keys, secrets, tuple(origins), tuple(notes), needs, first.is_disabled))
    return named
