"""Vectors from an OpenAI-compatible `/embeddings` endpoint.

What is sent there are the names and descriptions of tools, and what agents look for: the operator chose the endpoint.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import numpy as np

from ..model.search import Embeddings
from .contract import NotEmbedded, Refused

if TYPE_CHECKING:
    from .contract import Vectors

WAIT_S: Final = 10.0
_AT_ONCE: Final = 64
_ABOUT_TEXTS: Final = frozenset({400, 413, 422})
"""What an endpoint answers if it is the text that is wrong, and not the asking."""
_BYTES_MAX: Final = 16 * 1024 * 1024
_SAID_CHARS: Final = 200


class RemoteModel:
    """A model behind a URL. One request at a time takes up to 64 texts."""

    def __init__(self, where: Embeddings) -> None:
        self._where = where
        self._session: aiohttp.ClientSession | None = None

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """The vectors of some texts. Errors: NotEmbedded."""
        rows: list[Any] = []
        for start in range(0, len(texts), _AT_ONCE):
            rows += await self._asked(list(texts[start : start + _AT_ONCE]))
        try:
            made = np.array(rows, dtype=np.float32).reshape(len(texts), -1)
        except (ValueError, TypeError, OverflowError):
            raise NotEmbedded("the embeddings endpoint answered with vectors of different lengths") from None
        length = np.linalg.norm(made, axis=1, keepdims=True)
        if not np.isfinite(made).all():
            raise NotEmbedded("the embeddings endpoint answered with numbers that are none")
        return np.asarray(made / np.maximum(length, 1e-12), dtype=np.float32)

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()

    async def _asked(self, texts: list[str]) -> list[Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        headers = {} if self._where.bearer is None else {"Authorization": f"Bearer {self._where.bearer}"}
        body = {"model": self._where.model, "input": texts}
        try:
            async with (
                asyncio.timeout(WAIT_S),
                self._session.post(self._where.url or "", json=body, headers=headers, allow_redirects=False) as answer,
            ):
                said = await answer.content.read(_BYTES_MAX + 1)
                while len(said) <= _BYTES_MAX and (more := await answer.content.read(_BYTES_MAX + 1 - len(said))):
                    said += more
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = str(error) or f"no answer within {WAIT_S:g} s"
            raise NotEmbedded(f"the embeddings endpoint can't be asked: {why[:_SAID_CHARS]}") from error
        if answer.status in _ABOUT_TEXTS:
            raise Refused(f"the embeddings endpoint refused a text with the status {answer.status}")
        if answer.status != 200:
            raise NotEmbedded(f"the embeddings endpoint answered with the status {answer.status}")
        return _vectors(said, len(texts))


def _vectors(said: bytes, count: int) -> list[Any]:
    """The vectors of an answer, in the order of the texts."""
    try:
        if len(said) > _BYTES_MAX:
            raise ValueError
        rows = sorted(json.loads(said)["data"], key=lambda row: row["index"])
        vectors = [row["embedding"] for row in rows]
        if len(vectors) != count or not all(isinstance(vector, list) and vector for vector in vectors):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NotEmbedded("the embeddings endpoint answered with something that holds no vectors") from None
    return vectors
