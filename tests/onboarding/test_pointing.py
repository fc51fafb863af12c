"""Pointing clients at the hub and back: whatever a file is, an undo gives the same bytes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concento.onboarding.clients import CLIENTS, ClientFile
from concento.onboarding.found import read_file
from concento.onboarding.jsonc import plain
from concento.onboarding.pointing import apply, change, undo
from concento.onboarding.save import CantWrite, replace_file

from .test_jsonc import TRIVIA, written

URL = "http://127.0.0.1:7400/mcp"
NAMES = st.sampled_from(["a", "b", "c", 'q"uote', "ü", "//x"])
SERVERS = st.dictionaries(NAMES, st.dictionaries(st.sampled_from(["command", "url", "x"]), st.text(max_size=4)))


@given(data=st.data(), servers=SERVERS, gone=st.sets(NAMES), mark=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_undo_gives_the_same_bytes_back(
    tmp_path: Path, data: st.DataObject, servers: dict[str, Any], gone: set[str], mark: bool
) -> None:
    client = next(one for one in CLIENTS if one.id == "cursor")
    path = tmp_path / "mcp.json"
    text = data.draw(TRIVIA) + data.draw(written({"x": [1], client.key: servers, "y": {}})) + data.draw(TRIVIA)
    path.write_bytes(("\ufeff" if mark else "").encode() + text.encode())
    before = path.read_bytes()
    reading = read_file(path, [], ClientFile(client, path, "user"))
    assert reading.problem is None
    replaced = [found for found in reading.servers if found.name in gone and not found.leads_to(URL)]
    made = change(reading, replaced, client.entry(URL, ("concento",)), URL) if replaced else None
    if made is None:
        return
    assert [one.gone for one in apply([made], tmp_path / "kept")] == [tuple(replaced)]
    after: Any = plain(path.read_bytes().decode("utf-8-sig"))
    left = {name: value for name, value in servers.items() if name not in gone}
    assert after == {"x": [1], client.key: {"concento": {"url": URL}, **left}, "y": {}}
    assert [one.problem for one in undo(tmp_path / "kept")] == [None]
    assert path.read_bytes() == before


def applied(folder: Path, *names: str) -> list[Path]:
    """Files of one apply each: the later one is undone first."""
    client = CLIENTS[0]
    paths = [folder / name for name in names]
    for path in paths:
        path.write_text(json.dumps({client.key: {"a": {"command": "a"}}}))
        reading = read_file(path, [], ClientFile(client, path, "user"))
        made = change(reading, reading.servers, client.entry(URL, ("concento", "stdio")), URL)
        assert made is not None
        assert list(apply([made], folder / "kept")) == [made]
    return paths


def test_undo_takes_back_one_apply_after_the_other(tmp_path: Path) -> None:
    first, second = applied(tmp_path, "first.json", "second.json")
    assert [one.path for one in undo(tmp_path / "kept")] == [second]
    assert "concento" in first.read_text()
    assert [one.path for one in undo(tmp_path / "kept")] == [first]
    with pytest.raises(CantWrite, match="nothing to undo"):
        undo(tmp_path / "kept")


def test_a_record_that_is_damaged_is_named_and_nothing_changed(tmp_path: Path) -> None:
    (path,) = applied(tmp_path, "one.json")
    before = path.read_bytes()
    (record,) = (tmp_path / "kept").glob("*/record.json")
    record.write_text('{"files": [{"path": 1}]}')
    with pytest.raises(CantWrite, match="can't be used"):
        undo(tmp_path / "kept")
    assert path.read_bytes() == before


def test_a_file_that_somebody_writes_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("theirs")
    with pytest.raises(CantWrite, match="changed by somebody"):
        replace_file(path, b"ours", expected=b"as it was read")
    assert path.read_text() == "theirs"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_server_of_another_make_called_concento_is_not_thrown_out(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"concento": {"command": "another"}, "a": {"command": "a"}}}))
    client = CLIENTS[0]
    reading = read_file(path, [], ClientFile(client, path, "user"))
    with pytest.raises(CantWrite, match="rename it"):
        change(reading, [found for found in reading.servers if found.name == "a"], {}, URL)
