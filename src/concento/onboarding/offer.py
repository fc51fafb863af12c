"""What a registry's `server.json` offers: the ways to run one server, each as an entry of ours.

`packages` are programs that a launcher fetches and starts (npx, uvx, docker, dnx), `remotes` are URLs. Inputs that have
a value are written, those that are required and have none become needs; optional ones are left to the server's
defaults unless a person names them. Pure; nothing of it is run here, and no shell ever sees it.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from .secrets import is_secret_name
from .translate import MARK, Entry, Need

LAUNCHERS: Final[Mapping[str, str]] = {"npm": "npx", "pypi": "uvx", "oci": "docker", "nuget": "dnx"}
"""Kind of package → the program that fetches and starts it."""

KINDS: Final = (*LAUNCHERS, "remote")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a server. `needs` of the entry are what has to be said; `optional` what may be."""

    kind: str
    entry: Entry
    optional: tuple[Need, ...]

    def takes(self, names: Collection[str]) -> bool:
        """Whether it knows all of these inputs."""
        return set(names) <= {need.name for need in (*self.entry.needs, *self.optional)}

    @property
    def launcher(self) -> str | None:
        """The program it needs; None for a URL."""
        return LAUNCHERS.get(self.kind)


def ways(content: Mapping[str, Any], named: Collection[str] = ()) -> Iterator[Way]:
    """The ways there are, as the registry orders them; `named` are the inputs that a person will give.

    Packages that are no program of a launcher we know, and remotes of a transport we don't, are left out.
    """
    for package in _objects(content.get("packages")):
        way = _Inputs(frozenset(named)).package(package)
        if way is not None:
            yield way
    for remote in _objects(content.get("remotes")):
        way = _Inputs(frozenset(named)).remote(remote)
        if way is not None:
            yield way


def choose(all_ways: list[Way], has: Callable[[str], bool], kind: str | None = None) -> Way | None:
    """The way to take: of the kind asked for, else the first whose launcher is here, else a URL, else the first."""
    if kind is not None:
        return next((way for way in all_ways if way.kind == kind), None)
    ready = (way for way in all_ways if way.launcher is not None and has(way.launcher))
    remotes = (way for way in all_ways if way.launcher is None)
    return next(ready, None) or next(remotes, None) or next(iter(all_ways), None)


class _Inputs:
    """Reads the inputs of one way, and notes what is needed for it."""

    def __init__(self, named: frozenset[str]) -> None:
        self._named = named
        self._needs: dict[str, Need] = {}
        self._optional: dict[str, Need] = {}

    def _way(self, kind: str, keys: Mapping[str, Any]) -> Way:
        entry = Entry(MappingProxyType(dict(keys)), tuple(self._needs.values()))
        return Way(kind, entry, tuple(self._optional.values()))

    def package(self, package: Mapping[str, Any]) -> Way | None:
        kind, identifier, version = (_text(package.get(key)) for key in ("registryType", "identifier", "version"))
        transport = package.get("transport")
        is_stdio = isinstance(transport, dict) and transport.get("type") == "stdio"
        is_plain = kind in LAUNCHERS and _IDENTIFIERS[kind].fullmatch(identifier) and _VERSION.fullmatch(version)
        if not is_stdio or not is_plain:
            return None
        runtime = [*self._arguments(package.get("runtimeArguments"))]
        own = [*self._arguments(package.get("packageArguments"))]
        env = self._pairs(package.get("environmentVariables"))
        match kind:
            case "npm":
                start = ["npx", *(["-y"] if "-y" not in runtime else []), *runtime, _at(identifier, "@", version)]
            case "pypi":
                start = ["uvx", *runtime, _at(identifier, "==", version)]
            case "nuget":
                start = ["dnx", *runtime, _at(identifier, "@", version), "--yes", *(["--"] if own else [])]
            case _:
                passed = [part for name in env for part in ("-e", name)]
                image = identifier if ":" in identifier.rpartition("/")[2] else _at(identifier, ":", version)
                start = ["docker", "run", "-i", "--rm", *passed, *runtime, image]
        return self._way(kind, {"command": [*start, *own], **({"env": env} if env else {})})

    def remote(self, remote: Mapping[str, Any]) -> Way | None:
        url, kind = _text(remote.get("url")), remote.get("type")
        if kind not in ("streamable-http", "sse") or not url.startswith(("http://", "https://")):
            return None
        keys: dict[str, Any] = {"url": self._filled(url, remote.get("variables"))}
        if kind == "sse":
            keys["transport"] = "sse"
        headers = self._pairs(remote.get("headers"))
        for name in list(headers):
            scheme, _, token = headers[name].partition(" ")
            if name.lower() == "authorization" and scheme.lower() == "bearer" and token:
                del headers[name]
                keys["credentials"] = {"bearer": token}
        if headers:
            keys["headers"] = headers
        return self._way("remote", keys)

    def _pairs(self, inputs: Any) -> dict[str, str]:
        pairs: dict[str, str] = {}
        for one in _objects(inputs):
            name = _text(one.get("name"))
            value = self._value(one, name) if name else None
            if value is not None:
                pairs[name] = value
        return pairs

    def _arguments(self, inputs: Any) -> Iterator[str]:
        for one in _objects(inputs):
            if one.get("type") == "named":
                flag = _literal(_text(one.get("name")))
                if one.get("isRequired") is True and not _TAKES_VALUE & one.keys():
                    yield flag
                elif (value := self._value(one, flag.lstrip("-"))) is not None:
                    yield from (flag, value)
            elif (value := self._value(one, _text(one.get("valueHint")) or "argument")) is not None:
                yield value

    def _value(self, one: Mapping[str, Any], name: str) -> str | None:
        """The text of an input, with marks where a person has a say; None if it is not to be written."""
        if isinstance(value := one.get("value"), str):
            return self._filled(value, one.get("variables"))
        need = _need(name, one)
        if name in self._named or one.get("isRequired") is True:
            self._needs[name] = need
            return f"{MARK}{name}{MARK}"
        self._optional[name] = need
        return None

    def _filled(self, template: str, variables: Any) -> str:
        """A template with its variables: what has no variable stays as it is."""
        known = variables if isinstance(variables, dict) else {}
        made, literal = "", ""
        for part in _VARIABLE_OR_NOT.findall(template):
            name = part[1:-1] if _VARIABLE.fullmatch(part) else ""
            one = known.get(name)
            if not isinstance(one, dict):
                literal += part
            elif isinstance(value := one.get("value"), str):
                literal += value
            else:
                self._needs[name] = _need(name, one)
                made, literal = f"{made}{_literal(literal)}{MARK}{name}{MARK}", ""
        return made + _literal(literal)


_IDENTIFIERS: Final = {
    "npm": re.compile(r"(@[\w.~-]{1,100}/)?\w[\w.~-]{0,200}", re.ASCII),
    "pypi": re.compile(r"[A-Za-z0-9][\w.-]{0,200}(\[[\w.,-]{1,100}\])?", re.ASCII),
    "oci": re.compile(r"[A-Za-z0-9][\w.-]*(:\d+)?(/[\w.-]+)*(:[\w.-]+)?(@sha256:[a-f0-9]{64})?", re.ASCII),
    "nuget": re.compile(r"[A-Za-z0-9][\w.-]{0,200}", re.ASCII),
}
"""Names of packages only: launchers take options, files and addresses in the same place. No registry has names in other
letters; what looks like one is another."""
_VERSION: Final = re.compile(r"([A-Za-z0-9][\w.+-]{0,100})?", re.ASCII)
_TAKES_VALUE: Final = frozenset(
    ("value", "valueHint", "default", "format", "choices", "placeholder", "isSecret", "variables")
)
_VARIABLE = re.compile(r"\{[\w.-]+\}")
_VARIABLE_OR_NOT = re.compile(r"\{[\w.-]+\}|[^{]+|\{")


def _need(name: str, one: Mapping[str, Any]) -> Need:
    said = [_text(one.get("description"))]
    if isinstance(choices := one.get("choices"), list) and choices:
        said.append(f"one of {', '.join(str(choice) for choice in choices[:12])}")
    elif placeholder := _text(one.get("placeholder")):
        said.append(f"such as {placeholder}")
    default = one.get("default")
    return Need(
        name,
        "input",
        "; ".join(filter(None, said)),
        one.get("isSecret") is True or is_secret_name(name),
        default if isinstance(default, str) else None,
    )


def _at(identifier: str, sign: str, version: str) -> str:
    return f"{identifier}{sign}{version}" if version and version != "latest" else identifier


def _literal(text: str) -> str:
    """What a registry says is text: no reference of ours, which would hand it what is in a file or variable here."""
    return text.replace(MARK, "").replace("${", "$${")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
