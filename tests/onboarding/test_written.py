"""Whatever clients have, what is written of it loads and means the same; what stood in a file before stays."""

import json
import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concento.control.config import read
from concento.model.config import ChildReplica, Config, UrlReplica
from concento.onboarding.clients import CLIENTS, ClientFile
from concento.onboarding.disguise import SECRETS_FOLDER
from concento.onboarding.found import Reading, read_file
from concento.onboarding.gather import Gathered, gather
from concento.onboarding.insert import CantInsert, NewServer, fresh, inserted
from concento.onboarding.save import save_configuration

ENV = {"HOME": "/home/ada", "SET": "from the environment"}

TEXT = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "~", "no", "12:30", "0x1f", "- a", "a: b", "#", "${SET}", "${UNSET}", "$${x}", "${", "${x", "a,]"]
    ),
    st.sampled_from(
        ["ghp_0123456789abcdefABCDEF0123", "Bearer x", "{a}", "'", '"', "\\", "*x", "&x", "!x", "%", "@", "`"]
    ),
    st.sampled_from(["${input:a}", "${workspaceFolder}", "${config:x}", "$(id)", "\x85", "\u2028", "\ufeff", "\ud800"]),
)
NAMES = st.one_of(st.text(max_size=24), st.sampled_from(["github", "GitHub", "a" * 30, "1", "concento", "ü", "--"]))
SERVER = st.fixed_dictionaries(
    {},
    optional={
        "command": TEXT | st.none() | st.integers(),
        "args": st.lists(TEXT, max_size=4) | st.none(),
        "env": st.dictionaries(TEXT, TEXT | st.integers() | st.booleans() | st.none(), max_size=3) | st.none(),
        "url": st.sampled_from(
            ["https://x.example.com/mcp", "http://ada:pw@x/mcp", "ftp://x", "https://x/?key=${SET}"]
        ),
        "headers": st.dictionaries(st.sampled_from(["Authorization", "X-Key", "Host", "é"]), TEXT, max_size=2),
        "type": st.sampled_from(["stdio", "http", "sse", "nonsense", 4]),
        "cwd": TEXT,
        "disabled": st.booleans(),
        "autoApprove": st.just([]),
        "unheard-of": TEXT,
    },
)
FILES = st.lists(st.dictionaries(NAMES, SERVER | TEXT | st.none(), max_size=4), min_size=1, max_size=3)


def gathered(folder: Path, files: list[dict[str, Any]], existing: Config | None = None) -> Gathered:
    readings = list[Reading]()
    for number, servers in enumerate(files):
        client = CLIENTS[number % len(CLIENTS)]
        path = folder / f"{number}.json"
        path.write_text(json.dumps({client.key: servers, "inputs": [{"id": "a", "default": "b"}]}))
        readings.append(read_file(path, [], ClientFile(client, path, "user")))
        assert readings[-1].problem is None
    return gather(readings, ENV, {}, existing or Config(), folder / "concento.yaml")


@given(files=FILES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_clients_have_what_is_written_loads(tmp_path: Path, files: list[dict[str, Any]]) -> None:
    found = gathered(tmp_path, files)
    active = [taken for taken in found.taken if taken.is_active]
    text = fresh([NewServer(taken.alias, taken.keys, taken.notes) for taken in active])
    secrets = {name: value for taken in active for name, value in taken.secrets.items()}
    for old in (tmp_path / "concento.yaml", *(tmp_path / SECRETS_FOLDER).glob("*")):
        old.unlink(missing_ok=True)
    config = save_configuration(tmp_path / "concento.yaml", text.encode(), secrets, ENV, expected=None)
    assert set(config.servers) == {taken.alias for taken in active}
    every = sum(len(servers) for servers in files)
    hub = sum(found.leads_to("http://127.0.0.1:7400/mcp") for found in _all(tmp_path, files))
    assert sum(len(taken.origins) for taken in found.taken) + len(found.left) == every - hub
    again = gathered(tmp_path, files, config)
    assert not any(taken.is_active for taken in again.taken)


def _all(folder: Path, files: list[dict[str, Any]]) -> list[Any]:
    return [
        found
        for number in range(len(files))
        for found in read_file(folder / f"{number}.json", [], ClientFile(CLIENTS[number], folder, "user")).servers
    ]


VALUE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(
    args=st.lists(VALUE, max_size=4),
    env=st.dictionaries(st.from_regex("[A-Z_]{1,9}", fullmatch=True), VALUE, max_size=3),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_program_gets_the_arguments_and_variables_it_had(
    tmp_path: Path, args: list[str], env: dict[str, str]
) -> None:
    """Whatever they contain: here, as in Claude Desktop, only `${…}` means something."""
    args = [one.replace("${", "{") for one in args]
    env = {name: value.replace("${", "{") for name, value in env.items()}
    (taken,) = gathered(tmp_path, [{"one": {"command": "program", "args": args, "env": env}}]).taken
    text = fresh([NewServer(taken.alias, taken.keys)])
    (tmp_path / "concento.yaml").unlink(missing_ok=True)
    config = save_configuration(tmp_path / "concento.yaml", text.encode(), taken.secrets, ENV, expected=None)
    (replica,) = config.servers["one"].replicas
    assert isinstance(replica, ChildReplica)
    assert replica.command == ("program", *args)
    assert replica.env == env


# -- adding to what is there

NEW = NewServer("new", {"command": ["npx", "-y", "@x/y"], "env": {"A": "1", "B": "x y"}}, ("why",))
STANDING = [
    "servers: {}\n",
    "servers:\n",
    "servers: {} # none\nlisten: 127.0.0.1:1\n",
    "listen: 127.0.0.1:7400",
    "",
    "# only a comment\n",
    "servers:\n  a: {command: [x]} # c\n  # tail of a\n\nviews:\n  v: {include: ['a.*']}\n",
    "servers:\n    a:\n        command: [x]\n        env:\n           K: |\n             t\n             more\n# end\n",
    "servers: {a: {command: [x]},}\n",
    "servers: { a: {command: [x]} }",
    "servers:\n  a:\n    command:\n    - x\n    - y\n\n\n# views\nviews: {}\n",
    "servers:\r\n  a: {url: 'http://x/y'}\r\n",
    "\ufeffservers:\n  a: {command: [x]}\n",
    "---\nservers:\n  a: &a {command: [x]}\n  b: *a\n...\n",
    "servers:\n  a: {command: [x]}\n  b: {command: ['ü', '\U0001f600']}\n",
]


@pytest.mark.parametrize("text", STANDING)
def test_a_server_is_added_and_every_line_stays(text: str) -> None:
    made = inserted(text, [NEW])
    config = read(made.encode(), Path("/x/concento.yaml"), ENV)
    (replica,) = config.servers["new"].replicas
    assert isinstance(replica, ChildReplica)
    assert replica.env == MappingProxyType({"A": "1", "B": "x y"})
    assert set(config.servers) - {"new"} == set(re.findall(r"\b([ab]): ", re.sub(r":\r?\n", ": ", text)))
    rest = iter(made)
    kept = text.replace("servers: {}", "servers:")
    assert all(char in rest for char in kept)  # all of it, in its order
    assert ("\r\n" in made) == ("\r\n" in text)
    assert "\n" not in made.replace("\r\n", "") or "\r\n" not in text


@pytest.mark.parametrize("text", ['{"servers": {}}', "servers: *x\n", "servers: [a]\n", "[a]\n", "servers: {a: [}\n"])
def test_a_text_without_a_place_for_a_server_is_refused(text: str) -> None:
    with pytest.raises(CantInsert):
        inserted(text, [NEW])


def test_a_url_with_a_user_is_left_with_its_reason(tmp_path: Path) -> None:
    found = gathered(tmp_path, [{"a": {"url": "https://ada:pw@x.example.com/mcp"}, "b": {"url": "https://x/mcp"}}])
    assert [left.found.name for left in found.left] == ["a"]
    assert "pw" not in found.left[0].reason
    (taken,) = found.taken
    assert isinstance(
        read(fresh([NewServer("b", taken.keys)]).encode(), tmp_path / "c.yaml", ENV).servers["b"].replicas[0],
        UrlReplica,
    )
