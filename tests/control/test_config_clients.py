"""The JSON of desktop clients as a configuration."""

import json
import shutil
from pathlib import Path

import pytest

from concento.control.config import load, read
from concento.control.config.clients import slugs
from concento.model.config import ChildReplica, Config, ToolOverride, UrlReplica
from concento.model.errors import ConfigError

CONFIGS = Path(__file__).parent / "configs"
ENV = {"HOME": "/home/ada", "DOCS_TOKEN": "docs-canary", "PLAY_TOKEN": "play-canary"}


def client(servers: object, name: str = "mcpServers", beside: str | None = None) -> Config:
    document = {name: servers} | ({} if beside is None else {beside: {}})
    return read(json.dumps(document, indent=2).encode(), Path("/project/mcp.json"), ENV)


def problem(servers: object, beside: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        client(servers, beside=beside)
    (found,) = caught.value.problems
    return found


def test_claude_desktop() -> None:
    loaded = load(CONFIGS / "claude_desktop_config.json", ENV)
    assert list(loaded.servers) == ["filesystem", "github-work"]
    files, github = (server.replicas[0] for server in loaded.servers.values())
    assert isinstance(files, ChildReplica)
    assert isinstance(github, ChildReplica)
    assert files.command == ("npx", "-y", "@modelcontextprotocol/server-filesystem", "/tmp")
    assert github.env == {"GITHUB_TOKEN": "ghp_literal-token"}
    assert loaded.servers["github-work"].place.endswith("claude_desktop_config.json:5")
    assert "literal-token" not in repr(loaded)


def test_claude_code_with_its_variables() -> None:
    loaded = load(CONFIGS / "claude_code.mcp.json", ENV)
    assert list(loaded.servers) == ["docs", "old-one"]
    assert loaded.servers["docs"].replicas == (
        UrlReplica("https://docs.example.com/mcp", {"authorization": "Bearer docs-canary"}, "http"),
    )
    assert loaded.servers["old-one"].replicas == (UrlReplica("https://old.example.com/sse", transport="sse"),)
    assert loaded.secrets == {"docs-canary"}


def test_vs_code_with_comments_and_its_variables(tmp_path: Path) -> None:
    (tmp_path / ".vscode").mkdir()
    shutil.copy(CONFIGS / "vscode.mcp.json", tmp_path / ".vscode/mcp.json")
    loaded = load(tmp_path / ".vscode/mcp.json", ENV)
    assert list(loaded.servers) == ["play-wright", "remote"]
    replica = loaded.servers["play-wright"].replicas[0]
    assert isinstance(replica, ChildReplica)
    assert replica.command == (
        *("npx", "-y", "@playwright/mcp@latest", f"--root={tmp_path}/site", "https://example.com/#//no-comment"),
    )
    assert replica.env == {"TOKEN": "play-canary", "EMOJI": "\N{GRINNING FACE}", "HOUSE": "/home/ada/x"}


def test_gemini_and_windsurf() -> None:
    loaded = load(CONFIGS / "gemini_settings.json", ENV)
    assert loaded.servers["streamable"].replicas == (UrlReplica("https://example.com/mcp", transport="http"),)
    assert loaded.servers["streamable"].tools == {"drop": ToolOverride(hide=True)}
    assert loaded.servers["windsurf"].replicas == (UrlReplica("https://example.com/other"),)


def test_our_own_configuration_may_be_json() -> None:
    loaded = load(CONFIGS / "own.json", ENV)
    assert list(loaded.servers) == ["time", "docs"]
    assert list(loaded.views) == ["clock"]


def test_our_own_configuration_may_be_yaml_in_braces() -> None:
    text = b"{listen: 127.0.0.1:7500, servers: {a: {url: http://127.0.0.1:1/mcp}}}  # no JSON at all"
    loaded = read(text, Path("/x.yaml"), ENV)
    assert loaded.listen.port == 7500
    assert loaded.servers["a"].replicas == (UrlReplica("http://127.0.0.1:1/mcp"),)


def test_servers_that_only_we_could_mean_are_not_taken_for_vs_codes() -> None:
    for own in (
        {"command": ["x"]},
        {"url": "http://h", "tools": {"a": {"hide": True}}},
        {"url": "http://h", "required": True},
    ):
        with pytest.raises(ConfigError):
            client({"Not An Alias": own}, "servers")
    assert list(client({"An Alias?": {"command": "x"}}, "servers", beside="inputs").servers) == ["an-alias"]


def test_names_become_aliases_by_themselves() -> None:
    names = ["Git Hub", "git-hub", "git_hub", "1password", "日本", "", "Ünïcode", "a" * 30, "a" * 31, "x_" + "y" * 19]
    assert list(slugs(names)) == names
    assert list(slugs(names).values()) == [
        *("git-hub-2", "git-hub", "git-hub-3", "s1password", "server", "server-2", "unicode"),
        *("a" * 20, "a" * 18 + "-2", "x-" + "y" * 18),
    ]


def test_what_a_client_keeps_for_itself_is_left_out() -> None:
    own = {
        "command": "x",
        "alwaysAllow": ["a"],
        "autoApprove": [],
        "timeout": 60,
        "disabled": False,
        "_note": 1,
        "tools": ["*"],
    }
    assert client({"a": own}) == client({"a": {"command": "x"}})


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"command": "x", "comand": "y"}, "did you mean 'command'?"),
        ({"command": "x", "envFile": ".env"}, "write its variables in"),
        ({"url": "http://h", "oauth": {}}, "not available in this version yet"),
        ({"url": "http://h", "headersHelper": "x"}, "can't be carried over"),
        ({"command": "x", "includeTools": ["a"]}, "in a view"),
        ({"command": "x", "tools": ["a"]}, "in a view"),
        ({"command": "x", "sandboxEnabled": True}, "not available in this version yet"),
        ({"command": "x", "disabledTools": [[]]}, "expected the names of tools"),
        ({"command": "x", "type": "ws"}, "unknown transport 'ws'"),
        ({"type": "stdio"}, "needs 'command', 'url'"),
        ({"command": "x", "env": {"A": "${input:token}"}}, "nobody is asked here"),
        ({"command": "x", "env": {"A": "${NONE}"}}, "the environment variable NONE is not set"),
        ({"command": "x", "env": {"A": "${command:pick}"}}, "unknown reference"),
        ({"command": "x", "env": ["A=b"]}, "each key a variable"),
        ("x", "with the keys of a server, found text"),
    ],
)
def test_what_can_not_be_carried_over_is_refused(server: object, words: str) -> None:
    found = problem({"a": server})
    assert words in found
    assert found.startswith("/project/mcp.json:")


@pytest.mark.parametrize("key", ["auth", "policies", "listen", "views", "servers"])
def test_our_keys_are_not_ignored_beside_a_clients(key: str) -> None:
    assert f"'{key}' does not go together with 'mcpServers'" in problem({}, beside=key)


def test_problem_in_commented_json_has_its_place() -> None:
    text = b'{\n  /* a\n     b */ "mcpServers": { // c\n    "x": {"command": "y", "wrong-key": 1}\n  }\n}'
    with pytest.raises(ConfigError) as caught:
        read(text, Path("/mcp.json"), ENV)
    assert caught.value.problems[0].startswith("/mcp.json:4:27: unknown key 'wrong-key'")


def test_servers_of_a_client_that_are_no_mapping() -> None:
    assert "each key a server alias" in problem([])
