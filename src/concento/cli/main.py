"""The command line: which verbs there are. A verb's own module is imported when it runs."""

import importlib
import os
from collections.abc import Mapping
from contextlib import suppress
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VERBS: Final[Mapping[str, str]] = {
    "serve": "Run the hub.",
    "stdio": "Run the hub for one agent, over standard input and output.",
    "add": "Find a server, try it, write it into the configuration.",
    "import": "Bring in the servers that MCP clients have.",
    "check": "Say what is wrong with a configuration.",
    "doctor": "Try every server and client, and say what to do.",
    "servers": "Show what is connected, what is failing and why.",
    "tools": "List or search tools.",
    "views": "Show endpoints, and what their lists cost an agent.",
    "inspect": "Show one tool: definition, server, how to call it.",
    "call": "Call a tool.",
    "explain": "Say whether somebody sees a tool and may call it.",
    "traces": "Show recent calls, and what each spent its time on.",
    "experiments": "Show how the arms of split tools do.",
    "accounts": "Show, connect and disconnect users' accounts at servers.",
    "apply": "Put servers, views and more in place at the hub that runs.",
    "get": "Show objects of the hub that runs, or all of it as YAML.",
    "delete": "Take away an object that was put in place.",
    "drain": "Give a server no new calls, and let those that run end.",
    "key": "Make, list, revoke, rotate and derive API keys.",
    "policy": "Test policies against a table of expected decisions.",
    "replay": "Hold recorded calls against another configuration.",
    "usage": "Show what was used, and write invoices.",
    "audit": "Read the audit record, and verify it.",
    "alerts": "Show what fires; acknowledge, silence, test.",
    "health": "Ask whether a hub is up, for health checks.",
    "completion": "Print the script for completion in a shell.",
    "schema": "Print the JSON Schema of the configuration.",
}


class Verbs(click.Group):
    """Knows the verbs by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        file = "import_" if cmd_name == "import" else cmd_name  # Python has that word for itself
        module = importlib.import_module(f".{file}", __package__)
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] == "help":
            args = [*args[1:2], "--help"]
            if len(args) == 1:
                click.echo(ctx.get_help(), color=ctx.color)
                ctx.exit()
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, 1)
            hint = f" Did you mean {near[0]!r}?" if near else f" Verbs: {', '.join(VERBS)}."
            raise click.UsageError(f"{error.message}{hint}", ctx) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """The verbs, without importing each for its help; options as click does."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(verb, help=text) for verb, text in VERBS.items() if verb.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="concento", message="concento %(version)s")
def cli() -> None:
    """One MCP endpoint in front of many MCP servers.

    \b
    Example:
      concento serve concento.yaml
      concento call time__get_current_time timezone=Europe/Rome
    """


def main() -> None:
    """The entry point. Output that can't be written is told in one line; a reader that has left is no news."""
    try:
        cli(prog_name="concento")
    except OSError as error:
        if not _is_of_output(error):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left of it would fail once more at the end
        with suppress(OSError):
            click.echo(f"concento: standard output can't be written: {error.strerror}", err=True)
        raise SystemExit(1) from None


def _is_of_output(error: OSError) -> bool:
    """Whether it arose where output is written: a stream does not say that it was the one which failed."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return frame.f_globals.get("__name__") in ("click.utils", "rich.console")
