"""What pages quote and name is there: messages, verbs, keys of clients, endpoints."""

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest
from scripts.reference.source import said

from concento.cli.main import VERBS
from concento.front.agent import endpoint_of
from concento.onboarding.clients import CLIENTS, Client

from .runner import ROOT, blocks

WRITTEN = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
TROUBLES = (ROOT / "docs" / "troubleshoot.md").read_text()
QUOTED = [match[2].strip() for match in re.finditer(r"^### (`+) ?(.+?) ?\1$", TROUBLES, re.MULTILINE)]
OTHER_ENDPOINTS = {"/sse", "/messages", "/health/live", "/health/ready"}


@cache
def source_messages() -> str:
    """Every text that the source may say, a line each; `…` for what varies. Docstrings are not among them."""
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text())
        silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if id(node) in silent:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
                found.append(node.value.decode(errors="replace"))
            elif isinstance(node, ast.JoinedStr | ast.Constant) and (text := said(node)):
                found.append(text)
    return "\n".join(found)


def test_every_trouble_has_a_heading_that_quotes() -> None:
    assert len(QUOTED) == len(re.findall(r"^### ", TROUBLES, re.MULTILINE)) > 20


@pytest.mark.parametrize("message", QUOTED)
def test_quoted_message_is_one_that_the_code_says(message: str) -> None:
    shown = "\n".join(block.text for block in blocks(ROOT / "docs" / "troubleshoot.md") if block.language == "text")
    as_shown = re.compile(".+".join(map(re.escape, message.split("…"))))
    assert message in source_messages() or as_shown.search(shown), f"nothing says {message!r} any more"


@pytest.mark.parametrize("part", TROUBLES.split("\n### ")[1:], ids=QUOTED)
def test_trouble_has_a_cause_and_a_remedy(part: str) -> None:
    assert "**Cause.**" in part
    assert "**Remedy.**" in part


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_every_verb_that_a_page_names_exists(page: Path) -> None:
    for verb in re.findall(r"`concento ([a-z]+)", page.read_text()):
        assert verb in VERBS, f"{page.name} names `concento {verb}`"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_every_url_of_the_hub_leads_somewhere(page: Path) -> None:
    for path in re.findall(r"(?:127\.0\.0\.1|localhost):7400(/[\w/.-]*\w)", page.read_text()):
        of = path.removeprefix("/.well-known/oauth-protected-resource")
        assert path in OTHER_ENDPOINTS or endpoint_of(of) is not None, f"{page.name}: nothing is at {path}"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.id)
def test_client_is_shown_as_the_table_of_clients_has_it(client: Client) -> None:
    """What the page has a person write is what the hub would write itself; it may say more."""
    page = (ROOT / "docs" / "connect.md").read_text()
    section = page.partition(f"\n## {client.name}\n")[2].partition("\n## ")[0]
    shown = json.loads(re.findall(r"```json\n(.*?)```", section, re.DOTALL)[0])
    entry = client.entry("http://127.0.0.1:7400/mcp", ("concento", "stdio", "/path/to/concento.yaml"))
    assert shown[client.key]["concento"].items() >= entry.items()
    places = [place.partition("/")[2] for place in (*client.user[:1], *filter(None, [client.project]))]
    assert any(Path(place).name in section for place in places)
