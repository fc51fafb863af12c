"""`search:` and `expose:` of a configuration."""

from pathlib import Path

import pytest
from tests.control.test_config_logical import built, told

from concento.model.search import Embeddings, Search


def test_by_default_all_is_listed_and_words_decide() -> None:
    config = built("views: {v: {include: ['brave.*']}}")
    assert (config.expose, config.views["v"].expose, config.search) == ("all", "all", Search())


def test_everything_that_can_be_said() -> None:
    config = built(
        """
expose: both
views: {v: {include: ["brave.*"], expose: search}}
search: {fits: 0.2, sure: 1, embeddings: {directory: models/small}}
tools:
  find: {bind: [brave.search, tavily.find], capability: search the web, tags: [news], strategy: split, feedback: true}
""",
        "servers: {tavily: {command: [x]}, brave: {command: [x], tools: {search: {capability: c, tags: [t, u]}}}}\n",
    )
    assert (config.expose, config.views["v"].expose) == ("both", "search")
    assert config.search == Search(0.2, 1.0, Embeddings(directory=Path("/etc/models/small")))
    assert (config.tools["find"].capability, config.tools["find"].tags) == ("search the web", ("news",))
    assert config.tools["find"].feedback
    override = config.servers["brave"].tools["search"]
    assert (override.capability, override.tags) == ("c", ("t", "u"))


def test_an_endpoints_token_is_a_secret() -> None:
    text = 'search: {embeddings: {url: "https://m.example.com/v1/embeddings", model: small, bearer: "${env:HOME}"}}'
    config = built(text)
    embeddings = config.search.embeddings
    assert embeddings is not None
    assert embeddings.bearer == "/home/me"
    assert "/home/me" in config.secrets
    assert "/home/me" not in repr(embeddings)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("expose: none", "2:9: expected one of all, search, both"),
        ("search: {fits: 2}", "2:16: expected a number from 0 to 1, found 2"),
        ("search: {embeddings: {}}", "2:22: embeddings need either 'url' or 'directory'"),
        (
            "search: {embeddings: {directory: a, url: 'http://x/', model: m}}",
            "embeddings need either 'url' or 'directory'",
        ),
        ("search: {embeddings: {url: 'http://x/'}}", "'url' needs 'model'"),
        ("search: {embeddings: {directory: a, model: m}}", "'model' has no effect without 'url'"),
        ("tools: {find_tools: {bind: [brave.search]}}", "'find_tools' is a name of the hub's own; take another"),
        ("tools: {x: {bind: [brave.search], feedback: true}}", "'feedback' has no effect without 'strategy: split'"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(text: str, problem: str) -> None:
    assert any(problem in line for line in told(text)), told(text)


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concento.embedding.opening.find_spec", lambda name: None)
    (problem,) = told("search: {embeddings: {directory: a}}")
    assert "pip install 'concento[semantic]'" in problem


def test_what_does_not_fit_can_not_be_sure() -> None:
    assert "2:29: 'sure' is below 'fits'" in told("search: {fits: 0.9,         sure: 0.1}")[0]
