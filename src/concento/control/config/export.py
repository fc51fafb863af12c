"""A configuration as YAML that is read as the same configuration again. Pure."""

from collections.abc import Callable
from typing import Any, Final

import yaml

from .document import Node, plain_value
from .parts import KINDS, Where, json_of, named
from .policy import POLICIES
from .tenants import TENANTS

DEFAULT: Final = Where("", "").tenant
Remark = Callable[[Where], str]
"""What is to be said of an object, in a comment; empty: nothing."""
Show = Callable[[Any], Any]
"""A value as it may be shown."""


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 would take for something else than text, and shares nothing."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_text = plain_value(text) == text and isinstance(plain_value(text), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_text else '"')


_Dumper.add_representer(str, _text)


def exported(root: Node, show: Show, remark: Remark = lambda where: "") -> str:
    """A whole configuration, with references as written."""
    value = show(json_of(root))
    assert isinstance(value, dict)
    blocks = []
    for key, inner in value.items():
        if key == TENANTS.name and inner:
            blocks.append(f"{key}:\n" + "".join(_tenant(root, name, one, remark) for name, one in inner.items()))
        elif key in KINDS and inner:
            blocks.append(f"{key}:\n" + _objects(root, key, inner, DEFAULT, remark))
        else:
            blocks.append(_yaml({key: inner}))
    return "".join(blocks)


def _tenant(root: Node, name: str, value: Any, remark: Remark) -> str:
    head = _comment(remark(Where(TENANTS.name, name)))
    if not value:
        return _indented(f"{head}{_yaml({name: value})}")
    parts = [
        f"{key}:\n{_objects(root, key, inner, name, remark)}" if key in KINDS and inner else _yaml({key: inner})
        for key, inner in value.items()
    ]
    return _indented(f"{head}{_yaml({name: None}).replace(' null', '')}{_indented(''.join(parts))}")


def _objects(root: Node, kind: str, value: Any, tenant: str, remark: Remark) -> str:
    pairs: list[tuple[str, Any]]
    if kind == POLICIES.name:
        names = [name for name, _ in named(root, kind, tenant)]
        pairs = [(name, [rule]) for name, rule in zip(names, value, strict=True)]
    else:
        pairs = [(name, {name: one}) for name, one in value.items()]
    return "".join(_indented(_comment(remark(Where(kind, name, tenant))) + _yaml(one)) for name, one in pairs)


def _comment(text: str) -> str:
    return f"# {text}\n" if text else ""


def _yaml(value: Any) -> str:
    """Inner mappings and lists of plain values on a line of their own each; the outermost never."""
    inner = next(iter(value.values())) if isinstance(value, dict) else value
    style = None if isinstance(inner, dict | list) else False
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=style)


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.removesuffix("\n").split("\n"))
