"""What only a person knows is asked for at a terminal, secrets unseen."""

import sys
from pathlib import Path

from tests.cli.terminal import terminal

from concento.control.config import load
from concento.model.config import ChildReplica, UrlReplica

from .conftest import Home
from .homes import ANSWER
from .registry_server import registry

CONCENTO = str(Path(sys.executable).with_name("concento"))


def test_import_asks_for_inputs_and_variables_and_empty_decides_later(home: Home) -> None:
    with terminal([CONCENTO, "import"], home.here, home.env()) as person:
        person.wait("perplexity-key .*Perplexity API key.*: ")
        person.type(f"{ANSWER}\n")
        person.wait("workspaceFolder .*: ")
        person.type("/srv/work\n")
        person.wait("GH_TOKEN .*: ")
        person.type("\n")
        shown = person.wait("Next: concento serve")
    assert ANSWER not in shown
    config = load(home.config, home.env())
    (perplexity,), (workspace,) = (config.servers[alias].replicas for alias in ("perplexity", "workspace"))
    assert isinstance(perplexity, ChildReplica)
    assert isinstance(workspace, ChildReplica)
    assert perplexity.env == {"PERPLEXITY_API_KEY": ANSWER}
    assert workspace.command[-1] == "/srv/work"
    assert ANSWER not in home.config.read_text()
    assert "  # github-2:" in home.config.read_text()


def test_add_lets_a_person_choose_and_asks_for_what_the_server_needs(home: Home) -> None:
    key = {"name": "X-Key", "description": "The key", "isRequired": True, "isSecret": True}
    servers = [
        {
            "name": f"com.acme{number}/fast",
            "description": "Fast",
            "version": "1.0",
            "remotes": [{"type": "streamable-http", "url": f"https://acme{number}.example.com/mcp", "headers": [key]}],
        }
        for number in range(3)
    ]
    with registry(servers) as source:
        command = [CONCENTO, "add", "fast", "--no-try", "--registry", source]
        with terminal(command, home.here, home.env()) as person:
            person.wait("Which one.*: ")
            person.type("2\n")
            person.wait("X-Key .The key.: ")
            person.type(f"{ANSWER}\n")
            shown = person.wait("Next: concento serve")
    assert ANSWER not in shown
    (replica,) = load(home.config, home.env()).servers["fast"].replicas
    assert isinstance(replica, UrlReplica)
    assert replica.url == "https://acme1.example.com/mcp"
    assert replica.headers == {"x-key": ANSWER}
