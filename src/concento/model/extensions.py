"""The extensions of the protocol that the hub knows: what they are called, and which methods are theirs."""

from collections.abc import Mapping
from typing import Final

SKILLS: Final = "io.modelcontextprotocol/skills"
"""Agent Skills as resources. Source: SEP-2640; ext-skills, specification/stable/skills."""

SKILLS_METHODS: Final = frozenset({"skills/list", "skills/get", "resources/directory/read"})

EVENTS: Final = "io.modelcontextprotocol/events"

NOT_BRIDGED: Final[Mapping[str, str]] = {"events/": EVENTS}
"""Extensions with methods that the hub does not relay, by the prefix of these. It announces none of them."""


def not_bridged(method: str) -> str | None:
    """The extension that a method is of, if it is one that the hub does not relay."""
    return next((name for prefix, name in NOT_BRIDGED.items() if method.startswith(prefix)), None)
