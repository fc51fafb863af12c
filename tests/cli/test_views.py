"""`concento views`: what lists cost, and what is saved where tools are found."""

import json
from pathlib import Path

from tests.cli.test_cli import run, write_config


def test_what_each_endpoint_lists_costs_and_saves_is_shown(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    more = "views: {few: {include: ['s.*'], expose: search}, two: {include: ['s.e*'], expose: both}}\n"
    config.write_text(config.read_text() + more)
    views = {one["endpoint"]: one for one in json.loads(run("views", "--json", cwd=tmp_path).stdout)["views"]}
    assert list(views) == ["/mcp", "/views/few/mcp", "/views/two/mcp"]
    assert [one["expose"] for one in views.values()] == ["all", "search", "both"]
    whole, few, both = views.values()
    assert whole["tokens"] == whole["tokens_of_all"] == few["tokens_of_all"] > 0
    assert few["tools"] == whole["tools"]
    assert both["tokens"] == few["tokens"] + both["tokens_of_all"]
    shown = run("views", cwd=tmp_path).stdout
    assert "/views/few/mcp" in shown


def test_a_folder_without_a_model_is_told_by_check(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text() + "search: {embeddings: {directory: models}}\n")
    checked = run("check", cwd=tmp_path)
    assert checked.returncode == 0
    assert f"search.embeddings: {tmp_path / 'models'} holds no sentence model" in checked.stderr
