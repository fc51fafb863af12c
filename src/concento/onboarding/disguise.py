"""Take what is secret out of an entry: the text that goes into the configuration, and the values that go elsewhere.

Each secret gets a file of its own, `concento.secrets/ALIAS.NAME`, which the configuration refers to as `${file:…}`: so
`concento serve` works at once, with nothing to set first. Pure.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .secrets import Kind, secret_spans
from .translate import MARK, Entry, Need

SECRETS_FOLDER: Final = "concento.secrets"
"""Beside the configuration, mode 0700."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said to a need."""

    value: str = field(repr=False)
    is_secret: bool = True


@dataclass(frozen=True, slots=True)
class Disguised:
    """Keys as they may be shown; `secrets` are file names below SECRETS_FOLDER and what has to be in them."""

    keys: Mapping[str, Any]
    secrets: Mapping[str, str] = field(repr=False)


def disguise(entry: Entry, alias: str, answers: Mapping[str, Answer]) -> Disguised:
    """The entry without its secrets. A need without an answer stays a reference that can't be resolved yet."""
    names = {need.name: need.kind for need in entry.needs}
    hider = _Hider(alias, answers, names)
    return Disguised(_walk(entry.keys, hider.hidden), hider.secrets)


def in_full(entry: Entry, answers: Mapping[str, Answer]) -> dict[str, Any]:
    """The entry with its secrets in it: to compare and to check, never to write down."""

    def shown(text: str, kind: Kind | None, name: str) -> str:
        return _MARKED.sub(lambda match: _literal(answers[match[1]].value) if match[1] in answers else match[0], text)

    return _walk(entry.keys, shown)


_MARKED = re.compile(f"{MARK}([^{MARK}]*){MARK}")


def with_defaults(entry: Entry, answers: Mapping[str, Answer]) -> dict[str, Answer]:
    """The answers, and the defaults of what nobody has to be asked."""
    defaults = {n.name: Answer(n.default, False) for n in entry.needs if n.default is not None and not n.is_secret}
    return {**defaults, **answers}


def open_needs(entry: Entry, answers: Mapping[str, Answer]) -> tuple[Need, ...]:
    """What still has to be said."""
    said = with_defaults(entry, answers)
    return tuple(need for need in entry.needs if need.name not in said)


_OWN_REFERENCE = re.compile(r"\$\{(env|file):[^{}]+\}")


def _literal(value: str) -> str:
    """What a person said, as text that means just this; a reference of ours is meant as one."""
    return value if _OWN_REFERENCE.fullmatch(value) else value.replace("${", "$${")


def _walk(keys: Mapping[str, Any], leaf: Callable[[str, Kind | None, str], str]) -> dict[str, Any]:
    """The same keys with every text replaced; `leaf` is told what it is and under which name it stands."""
    made: dict[str, Any] = {}
    for key, value in keys.items():
        match key, value:
            case "command", [*parts]:
                before = ["", *parts]
                made[key] = [
                    leaf(part, "arg" if number else None, _option(before[number])) if isinstance(part, str) else part
                    for number, part in enumerate(parts)
                ]
            case "env" | "headers", Mapping():
                kind: Kind = "env" if key == "env" else "header"
                made[key] = {n: leaf(text, kind, n) if isinstance(text, str) else text for n, text in value.items()}
            case "credentials", {"bearer": str(token)}:
                made[key] = {"bearer": leaf(token, "header", "Authorization")}
            case "url", str():
                made[key] = leaf(value, "url", "")
            case _, str():
                made[key] = leaf(value, None, "")
            case _:
                made[key] = value
    return made


def _option(before: Any) -> str:
    """The option whose value comes next, if it is one."""
    return before.lstrip("-") if isinstance(before, str) and before.startswith("-") and "=" not in before else ""


class _Hider:
    """Replaces secrets by references to files, and keeps what they were."""

    def __init__(self, alias: str, answers: Mapping[str, Answer], needs: Mapping[str, str]) -> None:
        self._alias = alias
        self._answers = answers
        self._needs = needs
        self.secrets: dict[str, str] = {}

    def hidden(self, text: str, kind: Kind | None, name: str) -> str:
        """The text as it may be shown."""
        spans = [] if kind is None else secret_spans(text, name, kind)
        label = name or {"arg": "ARGUMENT", "url": "URL"}.get(kind or "", "VALUE")
        made, position = "", 0
        for start, end in spans:
            made += text[position:start] + self._reference(label, text[start:end].replace("$${", "${"))
            position = end
        return _MARKED.sub(lambda match: self._need(match[1]), made + text[position:])

    def _need(self, name: str) -> str:
        answer = self._answers.get(name)
        if answer is not None and (not answer.is_secret or _OWN_REFERENCE.fullmatch(answer.value)):
            return _literal(answer.value)
        if answer is not None:
            return self._reference(name, answer.value)
        if self._needs.get(name) == "env":
            return f"${{env:{name}}}"
        return _in_folder(self._alias, name)

    def _reference(self, label: str, value: str) -> str:
        file, number = self._file(label), 1
        while self.secrets.get(file, value) != value:
            number += 1
            file = self._file(f"{label}-{number}")
        self.secrets[file] = value
        return f"${{file:{SECRETS_FOLDER}/{file}}}"

    def _file(self, label: str) -> str:
        return _file_name(self._alias, label)


def kept_answer(alias: str, name: str) -> Answer:
    """The answer that a person gave earlier, if it was kept: a reference to its file."""
    return Answer(_in_folder(alias, name))


def _in_folder(alias: str, label: str) -> str:
    return f"${{file:{SECRETS_FOLDER}/{_file_name(alias, label)}}}"


def _file_name(alias: str, label: str) -> str:
    return f"{alias}.{re.sub(r'[^A-Za-z0-9_-]+', '-', label)[:80].strip('-') or 'VALUE'}"
