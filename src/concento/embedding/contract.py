"""What turns texts into vectors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    Vectors = NDArray[float32]
    """One row a text, each of length 1."""


class Embedder(Protocol):
    """A model of meaning. Texts that mean alike become vectors that lie near each other."""

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """The vectors of some texts. Errors: NotEmbedded."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class NotEmbedded(Exception):
    """Why texts did not become vectors, for the operator."""


class Refused(NotEmbedded):
    """Why these texts did not become vectors, where others may."""


NEEDS_EXTRA = "`search.embeddings` needs the extra `semantic`: pip install 'concento[semantic]'"
