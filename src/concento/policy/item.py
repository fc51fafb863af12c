"""What a decision is about."""

from collections.abc import Mapping
from typing import Final

from ..model.policy import ItemKind
from .hints import WORST, shared

ItemKey = tuple[ItemKind, str, str, int]


class Item:
    """One tool, prompt or resource of a server: by its alias, its own name or URI there, and the hints that count."""

    __slots__ = ("alias", "annotations", "key", "kind", "own")

    def __init__(self, kind: ItemKind, alias: str, own: str, annotations: Mapping[str, bool] = WORST) -> None:
        self.kind: Final = kind
        self.alias: Final = alias
        self.own: Final = own
        self.annotations, number = (WORST, 0) if annotations is WORST else shared(annotations)
        self.key: Final[ItemKey] = (kind, alias, own, number)
        """What decisions are kept by: items that are equal share them."""

    def __repr__(self) -> str:
        return f"Item({self.kind}, {self.alias}.{self.own})"
