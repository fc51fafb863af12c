"""Open the model that a configuration names."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..model.search import Embeddings
from ..store.contract import Store
from .contract import NEEDS_EXTRA, Embedder, NotEmbedded

if TYPE_CHECKING:
    from .vectors import CatalogVectors

MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_PACKAGES = ("numpy", "safetensors", "tokenizers")


def lacks_extra() -> bool:
    """Whether packages that models need are not installed."""
    return any(find_spec(package) is None for package in _PACKAGES)


def problem(embeddings: Embeddings) -> str | None:
    """Why a model can't be opened, as far as that shows without opening it."""
    if lacks_extra():
        return NEEDS_EXTRA
    directory = embeddings.directory
    if directory is None:
        return None
    missing = [name for name in MODEL_FILES if not (directory / name).is_file()]
    return f"{directory} holds no sentence model: it has no {' and no '.join(missing)}" if missing else None


def opened(
    embeddings: Embeddings, store: Store, now: Callable[[], float], on_problem: Callable[[str], None]
) -> "CatalogVectors":
    """The model, and what it made before. Errors: NotEmbedded, if it can't be."""
    if (lack := problem(embeddings)) is not None:
        raise NotEmbedded(lack)
    from .local import LocalModel
    from .remote import RemoteModel
    from .vectors import CatalogVectors

    model: Embedder
    if embeddings.directory is not None:
        weights = (embeddings.directory / "model.safetensors").stat()
        model, name = (
            LocalModel(embeddings.directory),
            f"{embeddings.directory} {weights.st_size} {weights.st_mtime_ns}",
        )
    else:
        model, name = RemoteModel(embeddings), f"{embeddings.url} {embeddings.model}"
    return CatalogVectors(model, name, store, now, on_problem)
