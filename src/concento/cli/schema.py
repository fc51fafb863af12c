"""`concento schema`: the JSON Schema of the configuration, for editors and checks."""

import click

from ..control.config import json_schema
from .common import put_json


@click.command(name="schema")
def command() -> None:
    """Print the JSON Schema of the configuration.

    \b
    Example:
      concento schema > concento.schema.json
    """
    put_json(json_schema())
