"""What a child sees of the hub's environment: T23, and `design.md`, "A child's environment"."""

from pathlib import Path

import pytest

from concento.model.config import ChildReplica
from concento.transport.child_env import child_environment

BIN = Path("/opt/hub/bin")
HUB = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/home/ada",
    "LANG": "C.UTF-8",
    "XDG_CACHE_HOME": "/var/cache/hub",
    "LC_TIME": "it_IT.UTF-8",
    "https_proxy": "http://proxy:3128",
    "SSL_CERT_FILE": "/etc/ca.pem",
    "UV_INDEX": "inner=https://index.example/simple https://other.example/simple",
    "DOCS_TOKEN": "secret",
    "LD_PRELOAD": "/tmp/evil.so",
    "PYTHONPATH": "/hub/src",
    "SSH_AUTH_SOCK": "/tmp/agent",
    "UV_INDEX_INNER_PASSWORD": "secret",
}
SHOWN = {
    name: HUB[name]
    for name in ("HOME", "LANG", "XDG_CACHE_HOME", "LC_TIME", "https_proxy", "SSL_CERT_FILE", "UV_INDEX")
}


def environment(hub: dict[str, str] = HUB, **fields: object) -> dict[str, str]:
    return child_environment(ChildReplica(command=("server",), **fields), hub, BIN)  # type: ignore[arg-type]


def test_child_sees_only_what_it_needs_to_start_and_reach_the_network() -> None:
    assert environment() == {**SHOWN, "PATH": "/opt/hub/bin:/usr/bin:/bin"}


def test_path_is_complete_where_the_hub_has_none() -> None:
    assert environment({}) == {"PATH": "/opt/hub/bin:/usr/local/bin:/usr/bin:/bin"}


def test_declared_variables_are_set_and_win() -> None:
    seen = environment(env={"DOCS_TOKEN": "mine", "PATH": "/only/here", "HOME": "/jail"})

    assert (seen["DOCS_TOKEN"], seen["PATH"], seen["HOME"]) == ("mine", "/only/here", "/jail")


def test_none_gives_only_what_is_declared() -> None:
    assert environment(env={"A": "1"}, env_inherit="none") == {"A": "1"}


def test_withheld_variable_is_not_inherited_but_can_be_declared() -> None:
    withheld = frozenset({"HOME", "LC_TIME", "PATH"})

    seen = environment(env={"LC_TIME": "C"}, env_withheld=withheld)

    assert "HOME" not in seen
    assert seen["LC_TIME"] == "C"
    assert "/usr/bin:/bin" not in seen["PATH"].removesuffix(":/usr/local/bin:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "http://user:secret@proxy:3128"),
        ("http_proxy", "user:secret@proxy:3128"),
        ("PIP_INDEX_URL", "https://token@index.example/simple"),
        ("PIP_EXTRA_INDEX_URL", "https://plain.example/simple https://u:p@index.example/simple"),
        ("UV_INDEX", "inner=https://u:p@index.example/simple"),
        ("UV_FIND_LINKS", "https://plain.example,https://u:p@wheels.example"),
        ("npm_config_registry", "https://u:p@npm.example/"),
    ],
)
def test_url_with_credentials_is_not_inherited(name: str, value: str) -> None:
    assert name not in environment({name: value})
    assert environment({name: "https://plain.example/simple"})[name] == "https://plain.example/simple"
