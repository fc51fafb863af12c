"""`concento call`: call a tool from the command line."""

import json
import sys
from typing import Any

import click

from ..admin.explain import Question
from . import completing
from .common import config_option, put_json, read_config, tell
from .explain import show
from .inspect import unknown
from .talk import Talk, with_hub


@click.command(name="call")
@click.argument("tool", shell_complete=completing.tools, help="Its public name, as `concento tools` shows it.")
@click.argument(
    "arguments", nargs=-1, metavar="[KEY=VALUE]...", help="Arguments; a value that is no text is read as JSON."
)
@click.option("--json", "json_from", metavar="-|TEXT", help="Arguments as a JSON object; - reads standard input.")
@click.option("--raw", is_flag=True, help="Print the whole result as JSON.")
@click.option("--dry-run", is_flag=True, help="Call nothing: say which server would answer, and what it would get.")
@config_option
def command(
    tool: str, arguments: tuple[str, ...], json_from: str | None, raw: bool, dry_run: bool, config: str | None
) -> None:
    """Call a tool and print what it answers; exit 1 if it failed.

    \b
    Example:
      concento call time__get_current_time timezone=Europe/Rome
      concento call web_search query=tea --dry-run
      echo '{"timezone": "Europe/Rome"}' | concento call time__get_current_time --json -
    """
    given = _object(json_from) if json_from is not None else {}
    _check_once(arguments, given)

    async def ask(talk: Talk) -> dict[str, Any]:
        found = await talk.tool(tool)
        if found is None:
            raise await unknown(talk, tool)
        schema = found["definition"].get("inputSchema") or {}
        values = {**given, **dict(_pair(text, schema) for text in arguments)}
        if dry_run:
            return await talk.explain(Question(tool, "anonymous", arguments=json.dumps(values)))
        return await talk.call(tool, values)

    result = with_hub(read_config(config), ask)
    if dry_run:
        put_json(result) if raw else show(result)
        raise SystemExit(0 if result["callable"] else 1)
    if raw:
        put_json(result)
    else:
        for part in result.get("content") or []:
            click.echo(part["text"] if part.get("type") == "text" else json.dumps(part, ensure_ascii=False))
        if not result.get("content") and "structuredContent" in result:
            put_json(result["structuredContent"])
    if result.get("isError"):
        tell("concento: the tool says that it failed")
        raise SystemExit(1)


def _check_once(arguments: tuple[str, ...], given: dict[str, Any]) -> None:
    """Refuse what is no KEY=VALUE, and what is given twice."""
    seen = dict.fromkeys(given, "in --json and as KEY=VALUE")
    for text in arguments:
        key, equals, _ = text.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{text!r} is not KEY=VALUE")
        if key in seen:
            raise click.UsageError(f"{key!r} is given twice: {seen[key]}; give it once")
        seen[key] = "as KEY=VALUE"


def _object(text: str) -> dict[str, Any]:
    if text == "-":
        text = sys.stdin.read()
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--json: this is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise click.UsageError("--json: the arguments must be an object")
    return value


def _pair(text: str, schema: dict[str, Any]) -> tuple[str, Any]:
    """One KEY=VALUE, its value converted to what the tool's schema says."""
    key, _, value = text.partition("=")
    wanted = (schema.get("properties") or {}).get(key)
    types = wanted.get("type") if isinstance(wanted, dict) else None
    names = types if isinstance(types, list) else [types]
    if "string" in names:
        return key, value
    try:
        converted = json.loads(value)
    except ValueError:
        if any(name in names for name in ("integer", "number", "boolean", "object", "array")):
            raise click.UsageError(f"{key}: {value!r} is no JSON {'/'.join(str(name) for name in names)}") from None
        return key, value
    return key, converted
