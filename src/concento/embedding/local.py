"""The sentence model of a folder, on a thread of its own: loaded when first needed, asked a few texts at a time."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .contract import NotEmbedded
from .sentence_model import SentenceModel

if TYPE_CHECKING:
    from .contract import Vectors

_AT_ONCE: Final = 4
"""Few, so that an agent's request waits for no more of a catalog's texts than these."""


class LocalModel:
    """A model in this process. Linear algebra leaves the interpreter to others while it runs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._model: SentenceModel | None = None
        self._thread = ThreadPoolExecutor(1, "concento-embedding")

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """The vectors of some texts. Errors: NotEmbedded."""
        import numpy as np

        loop = asyncio.get_running_loop()
        parts = [list(texts[start : start + _AT_ONCE]) for start in range(0, len(texts), _AT_ONCE)]
        try:
            return np.concatenate([await loop.run_in_executor(self._thread, self._encode, part) for part in parts])
        except RuntimeError as error:  # it is closed, as on a reload
            raise NotEmbedded(f"the model was let go: {error}") from error

    async def close(self) -> None:
        """End its thread, after what runs on it."""
        await asyncio.to_thread(self._thread.shutdown)

    def _encode(self, texts: list[str]) -> "Vectors":
        if self._model is None:
            self._model = SentenceModel(self._directory)
        return self._model.encode(texts)
