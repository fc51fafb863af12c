"""What a shell may complete beside verbs and options: tools of the hub that runs, servers that can be added.

Somebody waits for each: what takes long or goes wrong completes nothing, and says nothing.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

ASK_S = 1.0
ITEMS_MAX = 500
_HELP_CHARS = 80


def tools(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Public names of tools, as the running hub has them; without one the aliases that they begin with."""
    try:
        from ..control.config import find_config, load

        config = load(find_config(ctx.params.get("config"), Path.cwd(), os.environ), os.environ)
        found = _asked(str(config.admin)) if config.admin is not None else None
        if found is None:
            found = [(f"{alias}__", "") for alias in config.servers]
        return _fitting(found, incomplete)
    except Exception:  # a shell waits in the middle of a line: nothing may be printed there
        return []


def well_known(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the servers that are shipped."""
    try:
        from ..onboarding.registry import shipped

        return _fitting(((one.short, one.description) for one in shipped()), incomplete)
    except Exception:  # as above
        return []


def _asked(admin: str) -> list[tuple[str, str]] | None:
    from urllib.error import URLError
    from urllib.request import ProxyHandler, build_opener

    try:
        with build_opener(ProxyHandler({})).open(f"http://{admin}/api/v1/tools?refresh=no", timeout=ASK_S) as reply:
            told: Any = json.loads(reply.read(8 * 1024 * 1024))
    except (URLError, OSError, ValueError):
        return None
    return [(str(one["name"]), str(one["description"] or "")) for one in told["tools"]]


def _fitting(found: Iterable[tuple[str, str]], incomplete: str) -> list[CompletionItem]:
    items = [
        CompletionItem(name, help=" ".join(text.split())[:_HELP_CHARS] or None)
        for name, text in found
        if name.startswith(incomplete)
    ]
    return items[:ITEMS_MAX]
