"""What the verbs share that look at and change single objects of a running hub."""

from typing import Any
from urllib.parse import quote

import click
import yaml

from ..control.config.parts import KINDS
from ..model.tenant import DEFAULT_TENANT

SEGMENTS = {kind: "logical-tools" if kind == "tools" else kind for kind in KINDS}
"""What each kind is called in the admin API's paths."""


class Kind(click.Choice[str]):
    """A kind of objects, in the plural or the singular."""

    def __init__(self) -> None:
        super().__init__([*KINDS])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).removeprefix("logical-")
        plural = f"{text[:-1]}ies" if text.endswith("y") else f"{text}s"
        return super().convert(plural if text not in KINDS and plural in KINDS else text, param, ctx)


kind_argument = click.argument("kind", type=Kind(), help=f"What kind: {', '.join(KINDS)}.")
tenant_option = click.option("--tenant", metavar="T", help="Whose; by default the operator's own.")
reason_option = click.option("--reason", metavar="TEXT", help="Why; it is recorded.")


def path_of(kind: str, name: str, tenant: str | None) -> str:
    """The path at which an object is."""
    whose = "" if tenant in (None, DEFAULT_TENANT) else f"/tenants/{quote(str(tenant), safe='')}"
    return f"/api/v1{whose}/{SEGMENTS[kind]}/{quote(name, safe='')}"


def as_yaml(value: Any) -> str:
    """A value for a person."""
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110)
    return text.rstrip("\n")
