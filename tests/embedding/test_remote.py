"""Vectors from a URL: a real HTTP server that answers as such endpoints do, or does not."""

import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from concento.embedding import remote
from concento.embedding.contract import NotEmbedded
from concento.embedding.remote import RemoteModel
from concento.model.search import Embeddings


class Endpoint:
    """What it was asked, and what it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, Any], str | None]] = []
        self.answer: Any = None
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append((body, request.headers.get("Authorization")))
        if self.answer is not None:
            answer = self.answer(body)
            return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)
        rows = [{"index": n, "embedding": [float(len(text)), 1.0]} for n, text in enumerate(body["input"])]
        return web.json_response({"data": rows[::-1]})


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    one = Endpoint()
    app = web.Application()
    app.router.add_post("/v1/embeddings", one.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/embeddings"
    yield one
    await runner.cleanup()


def model(endpoint: Endpoint) -> RemoteModel:
    return RemoteModel(Embeddings(url=endpoint.url, model="small", bearer="a-token"))


async def test_vectors_come_in_the_order_of_the_texts_whatever_the_endpoints(endpoint: Endpoint) -> None:
    asked = model(endpoint)
    made = await asked.embed([f"{'x' * number}" for number in range(1, 101)])
    await asked.close()
    assert made.shape == (100, 2)
    assert np.allclose(np.linalg.norm(made, axis=1), 1.0)
    assert (np.diff(made[:, 0]) > 0).all()
    assert [len(body["input"]) for body, _ in endpoint.asked] == [64, 36]
    assert {body["model"] for body, _ in endpoint.asked} == {"small"}
    assert {bearer for _, bearer in endpoint.asked} == {"Bearer a-token"}


def rows(*vectors: Any) -> Any:
    return lambda body: {"data": [{"index": n, "embedding": vector} for n, vector in enumerate(vectors)]}


@pytest.mark.parametrize(
    "answer",
    [
        lambda body: web.Response(status=500),
        lambda body: web.Response(status=302, headers={"Location": "http://169.254.169.254/"}),
        lambda body: web.Response(text="no JSON"),
        lambda body: {"data": []},
        lambda body: [1],
        rows([1.0], [1.0, 2.0]),
        rows([1.0], "text"),
        rows([], []),
        rows(["a"], ["b"]),
        lambda body: web.Response(text=json.dumps(rows([1.0], [float("nan")])(body))),
        rows([1.0]),
    ],
)
async def test_what_is_no_answer_is_told_and_nothing_else(endpoint: Endpoint, answer: Any) -> None:
    endpoint.answer = answer
    asked = model(endpoint)
    with pytest.raises(NotEmbedded, match="embeddings endpoint") as caught:
        await asked.embed(["a", "b"])
    await asked.close()
    assert "a-token" not in str(caught.value)
    assert len(endpoint.asked) == 1


async def test_an_answer_without_end_is_cut(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_BYTES_MAX", 1000)
    endpoint.answer = lambda body: web.Response(text="x" * 100_000)
    asked = model(endpoint)
    with pytest.raises(NotEmbedded):
        await asked.embed(["a"])
    await asked.close()


async def test_nobody_there_is_told(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = RemoteModel(Embeddings(url="http://127.0.0.1:9/v1/embeddings", model="small"))
    with pytest.raises(NotEmbedded, match="can't be asked"):
        await asked.embed(["a"])
    await asked.close()
