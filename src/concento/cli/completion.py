"""`concento completion`: the script by which a shell completes verbs, options, servers and tools."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command(name="completion")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script that makes a shell complete `concento`.

    It completes verbs, options and files, the servers that `add` knows, and the tools of the hub that runs.

    \b
    Example:
      concento completion bash > ~/.local/share/bash-completion/completions/concento
      concento completion zsh > "${fpath[1]}/_concento"
      concento completion fish > ~/.config/fish/completions/concento.fish
    """
    from .main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "concento", "_CONCENTO_COMPLETE").source())
