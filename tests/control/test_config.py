"""What a configuration means once it loads; what it must not say is in `test_config_refusals.py`."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import pytest
import yaml

from concento.control.config import diff, find_config, json_schema, load, read
from concento.model.config import Address, ChildReplica, Config, Sandbox, ToolOverride, UrlReplica, View
from concento.model.errors import ConfigError

CONFIGS = Path(__file__).parent / "configs"
ENV = {
    "HOME": "/home/ada",
    "DOCS_TOKEN": "docs-canary-1",
    "LOCAL_TOKEN": "local-canary-2",
    "PLAY_TOKEN": "play-canary-3",
}


def config(text: str, env: Mapping[str, str] = ENV, path: Path = Path("/etc/hub/concento.yaml")) -> Config:
    return read(text.encode(), path, env)


def only_server(keys: str, env: Mapping[str, str] = ENV, path: Path = Path("/etc/hub/concento.yaml")) -> Config:
    return config(f"servers:\n  one: {{{keys}}}", env, path)


def child(loaded: Config, alias: str = "one") -> ChildReplica:
    replica = loaded.servers[alias].replicas[0]
    assert isinstance(replica, ChildReplica)
    return replica


def url(loaded: Config, alias: str = "one", index: int = 0) -> UrlReplica:
    replica = loaded.servers[alias].replicas[index]
    assert isinstance(replica, UrlReplica)
    return replica


# -- the whole file


def test_smallest_file_has_every_default() -> None:
    loaded = load(CONFIGS / "minimal.yaml", ENV)
    assert list(loaded.servers) == ["time"]
    assert child(loaded, "time").command == ("uvx", "mcp-server-time")
    assert loaded.state_db is not None
    assert loaded == Config(path=loaded.path, state_db=loaded.state_db, servers=loaded.servers)


def test_full_file_is_read_as_written() -> None:
    loaded = load(CONFIGS / "full.yaml", ENV)
    assert loaded.listen == Address("127.0.0.1", 7400)
    assert loaded.admin == Address("::1", 7401)
    assert loaded.state_db == CONFIGS / "state/concento.db"
    assert loaded.state_folder == CONFIGS / "state"
    assert loaded.hosts == ("localhost", "127.0.0.1", "[::1]", "hub.example.com")
    assert (loaded.chars_max, loaded.page_items_max) == (64, 50)
    assert (loaded.start_wait_s, loaded.list_ttl_s) == (0.5, 300.0)
    assert loaded.access_log == str(CONFIGS / "logs/access.log")
    assert loaded.views == {
        "coding": View("coding", ("local.*", "doc?.read*"), ("local.push*",)),
        "everything": View("everything"),
        "most": View("most", ("*",), ("time.*",)),
    }

    time_ = loaded.servers["time"]
    assert (time_.timeout_s, time_.isolation, time_.prefix) == (20.0, "principal", "alias")

    local = loaded.servers["local"]
    assert child(loaded, "local") == ChildReplica(
        (str(CONFIGS / "bin/server"), "--port", "8080", "--verbose", "true"),
        env={"TOKEN": "local-canary-2", "LEVEL": "3", "DEBUG": "yes", "EMPTY": "", "LITERAL": "${HOME}"},
        env_inherit="none",
        cwd=CONFIGS / "data",
    )
    assert (local.prefix, local.isolation, local.required) == ("never", "session", True)
    assert (local.timeout_s, local.concurrency_max) == (300.0, 1)

    assert url(loaded, "docs").headers == {"authorization": "Bearer docs-canary-1", "x-team": "core"}
    assert url(loaded, "docs").transport == "http"

    search = loaded.servers["search"]
    assert [getattr(replica, "headers", None) for replica in search.replicas] == [
        {"x-zone": "a"},
        {"x-zone": "b"},
        None,
    ]
    assert [replica.weight for replica in search.replicas] == [3, 1, 1]
    assert isinstance(search.replicas[2], ChildReplica)
    assert search.replicas[2].env == {"ZONE": "c", "DEPTH": "2"}
    assert search.balance == "least_busy"
    assert search.tools == {
        "search_v2": ToolOverride("query", "Search the web: all of it."),
        "drop.index": ToolOverride(hide=True),
    }

    beside = loaded.servers["beside"]
    assert url(loaded, "beside").url == "http://127.0.0.1:9100/mcp"
    assert beside.beside is not None
    assert beside.beside.command == ("serve", "--http")
    assert beside.isolation == "session"


def test_idle_time_and_sandbox_are_the_servers_own_or_the_default_or_off() -> None:
    loaded = load(CONFIGS / "full.yaml", ENV)
    servers = loaded.servers
    assert {alias: server.idle_stop_s for alias, server in servers.items()} == {
        "time": None,
        "local": 600.0,
        "docs": None,
        "search": 600.0,
        "contained": 600.0,
        "beside": None,
    }
    assert [alias for alias, server in servers.items() if server.start == "lazy"] == ["time"]
    assert child(loaded, "time").sandbox == Sandbox()
    assert child(loaded, "local").sandbox is None
    kept, contained = servers["search"].replicas[2], child(loaded, "contained")
    assert isinstance(kept, ChildReplica)
    assert kept.sandbox == Sandbox(
        network=True,
        read_only=(Path("/home/ada/notes"), Path("/srv/data")),
        writable=(CONFIGS / "out",),
        memory_mb=512,
        processes_max=32,
    )
    assert contained.sandbox == Sandbox("container", command=("docker", "run", "-i", "--rm", "core"))
    assert contained.command == ("./serve",), "a path inside of the container"


def test_bubblewrap_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    only_server("command: [x], sandbox: {kind: container, command: [docker]}")
    with pytest.raises(ConfigError, match="2:23: bubblewrap runs on Linux only"):
        only_server("command: [x], sandbox: bubblewrap")


def test_default_sandbox_is_every_childs_but_those_that_say_otherwise() -> None:
    text = "defaults: {sandbox: bubblewrap}\nservers:\n  one: {command: [x]}\n  two: {command: [x], sandbox: off}\n"
    loaded = config(text + "  three: {url: 'http://h'}\n")
    assert (child(loaded).sandbox, child(loaded, "two").sandbox) == (Sandbox(), None)
    with pytest.raises(ConfigError, match="1:12: a program that serves 'url' needs"):
        config(text + "  four: {url: 'http://h', command: [x]}\n")


def test_anchors_and_merging_share_definitions() -> None:
    loaded = load(CONFIGS / "anchors.yaml", ENV)
    assert [url(loaded, alias).url for alias in loaded.servers] == [f"http://10.0.0.{n}:9000/mcp" for n in (1, 2, 3)]
    assert all(url(loaded, alias).headers == {"x-team": "core"} for alias in loaded.servers)
    assert [server.timeout_s for server in loaded.servers.values()] == [5.0, 5.0, 30.0]


def test_server_knows_its_place_and_is_equal_without_it() -> None:
    before = config("servers:\n  a: {command: [x]}")
    after = config("# moved\nservers:\n\n  a: {command: [x]}")
    assert before.servers["a"].place == "/etc/hub/concento.yaml:2"
    assert after.servers["a"].place == "/etc/hub/concento.yaml:4"
    assert before.servers == after.servers


def test_words_that_yaml_1_1_takes_for_booleans_are_text() -> None:
    assert list(config("servers: {no: {command: [y, on, 0o17, 1_000, 2024-01-01, 1:30]}}").servers) == ["no"]
    assert child(only_server("command: [y, on, 0o17, 1_000, 2024-01-01, 1:30, 08, 1.0]")).command == (
        *("y", "on", "0o17", "1_000", "2024-01-01", "1:30", "08", "1.0"),
    )


@pytest.mark.parametrize("off", ["off", "false"])
def test_listener_state_and_log_can_be_off(off: str) -> None:
    loaded = config(f"admin: {off}\nstate: {off}\ntelemetry: {{access_log: {off}}}\nservers: {{}}")
    assert (loaded.admin, loaded.state_db, loaded.state_folder, loaded.access_log) == (None, None, None, "off")


def test_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    loaded = read(b"\xef\xbb\xbfservers:\r\n  a:\r\n    command: [x]\r\n", Path("/x.yaml"), ENV)
    assert child(loaded, "a").command == ("x",)


# -- state and discovery


def test_default_state_is_a_folder_of_the_files_own(tmp_path: Path) -> None:
    def folder(name: str, env: Mapping[str, str]) -> Path:
        found = config("servers: {}", env, tmp_path / name).state_folder
        assert found is not None
        return found

    one, other = folder("a.yaml", ENV), folder("b.yaml", ENV)
    assert one.parent == other.parent == Path("/home/ada/.local/state/concento")
    assert one != other
    assert folder("a.yaml", {"XDG_STATE_HOME": "/state"}) == Path("/state/concento") / one.name
    assert folder("a.yaml", {**ENV, "XDG_STATE_HOME": "relative is ignored"}) == one


@pytest.mark.parametrize(
    ("state", "db"),
    [
        ("sqlite:///hub.db", "/etc/hub/hub.db"),
        ("sqlite:///../hub.db", "/etc/hub/../hub.db"),
        ("sqlite:////var/lib/hub.db", "/var/lib/hub.db"),
    ],
)
def test_state_file_is_relative_with_three_slashes_and_absolute_with_four(state: str, db: str) -> None:
    assert config(f"state: {state}\nservers: {{}}").state_db == Path(db)


def test_configuration_is_found_by_name_then_in_the_folder_then_at_home(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    with pytest.raises(ConfigError) as caught:
        find_config(None, tmp_path, env)
    assert "concento import" in str(caught.value)
    assert "servers:" in str(caught.value)

    home = tmp_path / "xdg/concento/concento.yaml"
    home.parent.mkdir(parents=True)
    home.touch()
    assert find_config(None, tmp_path, env) == home
    (tmp_path / "concento.yaml").touch()
    assert find_config(None, tmp_path, env) == tmp_path / "concento.yaml"
    assert find_config("other.yaml", tmp_path, env) == tmp_path / "other.yaml"


# -- references and secrets


def test_references_resolve_wherever_a_server_is_described(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file-canary\n")
    env = {"A": "value-a", "EMPTY": "", "HOME": str(tmp_path)}
    loaded = read(
        b"""servers:
          one:
            command: ["${env:A}/bin", "${env:NONE:-fallback}", "x${env:A}y${env:A}z"]
            env: {FILE: "${file:token}", AT_HOME: "${file:~/token}", EMPTY: "${env:EMPTY}", DEFAULT: "${env:EMPTY:-d}"}
            cwd: ${env:A}/sub
          two: {url: "http://${env:NONE:-localhost}:80/mcp", headers: {X-Key: "k=${env:A}"}}
        """,
        tmp_path / "concento.yaml",
        env,
    )
    assert child(loaded).command == (str(tmp_path / "value-a/bin"), "fallback", "xvalue-ayvalue-az")
    assert child(loaded).env == {
        **{"FILE": "from-file-canary", "AT_HOME": "from-file-canary", "EMPTY": "", "DEFAULT": "d"},
    }
    assert child(loaded).cwd == tmp_path / "value-a/sub"
    assert url(loaded, "two").url == "http://localhost:80/mcp"
    assert url(loaded, "two").headers == {"x-key": "k=value-a"}


def test_no_child_inherits_what_any_reference_names() -> None:
    loaded = config(
        "servers:\n  a: {command: [x]}\n  b: {url: 'http://h', headers: {K: '${env:DOCS_TOKEN}${env:N:-}'}}"
    )
    assert child(loaded, "a").env_withheld == {"DOCS_TOKEN", "N"}


def test_resolved_secrets_show_in_no_repr_and_are_known_for_redaction(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("canary-file")
    names = ("URL", "HEADER", "BEARER", "ENV", "ARG", "CWD")
    env = {"HOME": "/h", **{name: f"canary-{name.lower()}" for name in names}}
    loaded = read(
        b"""servers:
          a: {url: "http://h/${env:URL}", headers: {K: "${env:HEADER}"}, credentials: {bearer: "${env:BEARER}"}}
          b: {command: [x, "--key=${env:ARG}"], env: {T: "${env:ENV}", F: "${file:f}"}, cwd: "${env:CWD}"}
          c: {url: "http://h/", credentials: {bearer: canary-literal}}
          d: {url: "http://h/", headers: {Authorization: "Basic canary-basic"}}
        """,
        tmp_path / "concento.yaml",
        env,
    )
    assert loaded.secrets == {*(env[name] for name in names), "canary-file", "canary-literal", "canary-basic"}
    for shown in (repr(loaded), str(loaded), repr(list(loaded.servers.values()))):
        assert "canary" not in shown
    assert "http://h/${env:URL}" in repr(loaded)
    assert "x '--key=${env:ARG}'" in repr(loaded)


def test_short_values_are_not_taken_for_secrets() -> None:
    assert only_server("command: [x], env: {DEBUG: '${env:DEBUG}'}", {"DEBUG": "1", "HOME": "/"}).secrets == frozenset()


# -- reload


def test_difference_names_what_a_reload_touches() -> None:
    old = config("servers:\n  gone: {command: [x]}\n  kept: {command: [x]}\n  other: {command: [x]}")
    new = config(
        """servers:
          new: {url: 'http://h', headers: {K: '${env:DOCS_TOKEN}'}}
          other: {command: [y]}
          kept: {command: [x]}
        """
    )
    found = diff(old, new)
    assert (found.added, found.removed, found.changed, found.unchanged) == (("new",), ("gone",), ("other",), ("kept",))


@pytest.mark.parametrize(
    "change",
    [
        "env: {A: b}",
        "env_inherit: none",
        "cwd: x",
        "args: [y]",
        "tools: {t: {hide: true}}",
        "timeout_s: 1",
        "required: true",
        "prefix: never",
        "isolation: session",
        "url: 'http://h'",
        "concurrency_max: 3",
        "start: lazy",
        "idle_stop_s: 60",
        "sandbox: bubblewrap",
    ],
)
def test_every_key_of_a_server_counts_as_a_change(change: str) -> None:
    assert diff(only_server("command: [x]"), only_server(f"command: [x], {change}")).changed == ("one",)


def test_secret_that_changed_counts_as_a_change() -> None:
    text = "url: 'http://h', credentials: {bearer: '${env:DOCS_TOKEN}'}"
    assert diff(only_server(text), only_server(text, {**ENV, "DOCS_TOKEN": "other"})).changed == ("one",)


# -- schema, speed


def test_schema_is_valid_and_takes_the_examples() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for path in sorted(CONFIGS.glob("*.yaml")):
        assert list(validator.iter_errors(yaml.safe_load(path.read_text()))) == [], path.name


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"servers": {"Bad Alias": {"command": ["x"]}}},
        {"servers": {"a": {"comand": ["x"]}}},
        {"servers": {"a": {"command": "x"}}},
        {"servers": {"a": {"command": ["x"], "timeout_s": 0}}},
        {"servers": {"a": {"command": ["x"], "timeout_s": 301}}},
        {"servers": {"a": {"command": ["x"], "balance": "random"}}},
        {"servers": {"a": {"command": ["x"], "start": "never"}}},
        {"servers": {"a": {"command": ["x"], "idle_stop_s": 0}}},
        {"servers": {"a": {"command": ["x"], "sandbox": "chroot"}}},
        {"servers": {"a": {"command": ["x"], "sandbox": {"memory_mb": 1}}}},
        {"servers": {}, "shared": {}},
        {"servers": {}, "names": {"chars_max": 200}},
    ],
)
def test_schema_refuses_what_the_loader_refuses(bad: dict[str, object]) -> None:
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(bad)
    with pytest.raises(ConfigError):
        config(yaml.safe_dump(bad))


def test_every_key_of_the_schema_is_described() -> None:
    def undescribed(schema: object, at: str = "") -> list[str]:
        if isinstance(schema, list):
            return [path for item in schema for path in undescribed(item, at)]
        if not isinstance(schema, dict):
            return []
        missing = [f"{at}/{key}" for key, value in schema.get("properties", {}).items() if not value.get("description")]
        return missing + [path for key, value in schema.items() for path in undescribed(value, f"{at}/{key}")]

    assert undescribed(json_schema()) == []


def test_two_hundred_servers_load() -> None:
    one = """
  s{n}:
    command: [uvx, "mcp-server@1.{n}", --port, {n}]
    env: {{TOKEN: "${{env:DOCS_TOKEN}}", LEVEL: 3, NAME: server-{n}}}
    timeout_s: 12.5
    tools: {{search: {{rename: find, description: "Find things."}}, drop: {{hide: true}}}}
"""
    text = "servers:" + "".join(one.format(n=n) for n in range(200))
    assert len(config(text).servers) == 200


def test_importing_the_loader_brings_in_little() -> None:
    code = "import sys, concento.control.config; print(*sys.modules)"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    modules = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert not {"asyncio", "msgspec", "jsonschema", "ssl"} & set(modules.stdout.split())
