"""The protocol revisions the hub speaks, and which era each belongs to."""

from typing import Final, Literal

Era = Literal["modern", "legacy"]

MODERN: Final = ("2026-07-28",)
"""Stateless revisions: every request carries its own envelope."""

LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Session revisions, newest first."""

ASSUMED_LEGACY: Final = "2025-03-26"
"""What a legacy HTTP request without a version header speaks, by the specification."""


def is_modern(version: str) -> bool:
    """Whether a revision is of the stateless era, including those not written yet (they are dated)."""
    return version >= MODERN[0]


def negotiate(requested: str) -> str:
    """The legacy revision to answer an `initialize` with: the requested one, else our newest."""
    return requested if requested in LEGACY else LEGACY[0]
