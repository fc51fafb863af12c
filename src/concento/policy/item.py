"""What a decision is about."""

from collections.abc import Mapping

from ..model.policy import WORST, ItemKind


class Item:
    """One tool, prompt or resource of a server: by its alias, its own name or URI there, and the hints that count.

    Made once for each and kept, so that decisions are found by it.
    """

    __slots__ = ("alias", "annotations", "kind", "own")

    def __init__(self, kind: ItemKind, alias: str, own: str, annotations: Mapping[str, bool] = WORST) -> None:
        self.kind = kind
        self.alias = alias
        self.own = own
        self.annotations = annotations

    def __repr__(self) -> str:
        return f"Item({self.kind}, {self.alias}.{self.own})"
