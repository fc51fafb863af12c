"""How agents find tools by what they need, as configured."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

Expose = Literal["all", "search", "both"]
"""What an endpoint lists: its tools; the meta-tools that find and call them; or both."""

FIND_TOOLS: Final = "find_tools"
USE_CAPABILITY: Final = "use_capability"
FEEDBACK: Final = "feedback"
CONNECT_ACCOUNT: Final = "connect_account"
DISCONNECT_ACCOUNT: Final = "disconnect_account"
META_TOOLS: Final = frozenset({FIND_TOOLS, USE_CAPABILITY, FEEDBACK, CONNECT_ACCOUNT, DISCONNECT_ACCOUNT})
"""Names that are the hub's own at every endpoint of several servers, whether it lists them there or not."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Where texts become vectors: at an OpenAI-compatible `url`, or here, by the sentence model in `directory`."""

    url: str | None = None
    model: str = ""
    bearer: str | None = field(default=None, repr=False)
    directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """How sure the hub has to be of a tool. Both are probabilities, from 0 to 1, as calibrated in `benchmarks/`."""

    fits: float = 0.15
    """Below it, the answer is that nothing fits."""
    sure: float = 0.85
    """From it on, `use_capability` calls a read-only tool without asking back."""
    embeddings: Embeddings | None = None
    """None: words alone decide."""
