"""Several servers' results as one. Pure: results in, result out.

Every item bears the alias of the server that it came from: content items in their `_meta`, items of a merged list in
the `_meta` of the whole, in the list's order, so that structured content keeps its schema.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from ..model import meta
from ..model.call import Result
from ..model.errors import BadReply
from ..model.logical import Merge

_encode = msgspec.json.Encoder().encode
_RANK_K: Final = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher 2009): how little a first place outweighs."""
ITEMS_MAX: Final = 10_000
"""Items of one list that are merged."""

Branch = tuple[str, Result]
"""A server's alias, and what it answered."""


def merged(branches: Sequence[Branch], merge: Merge, about: dict[str, Any]) -> Result:
    """One result. `about` goes into its `_meta`. Errors: BadReply, if no branch has the list that is to be merged."""
    if not merge.path:
        return _content(branches, about)
    lists = [(alias, found) for alias, result in branches if (found := _list_in(result, merge.path)) is not None]
    if not lists:
        missing = f"None of the servers returned a list at {'.'.join(merge.path)!r}, to be merged"
        raise BadReply(missing, outcome="failed")
    items = _MERGED[merge.by]([(alias, found[1]) for alias, found in lists], merge.key)[:ITEMS_MAX]
    whole = lists[0][1][0]
    inner = whole
    for name in merge.path[:-1]:
        inner = inner[name]
    inner[merge.path[-1]] = [item for _, item in items]
    told = {**about, meta.ORIGINS: [alias for alias, _ in items]}
    text = _encode(whole)
    content = [{"type": "text", "text": text.decode()}]
    return Result(Raw(_encode({"content": content, "structuredContent": Raw(text), "_meta": told})))


def _content(branches: Sequence[Branch], about: dict[str, Any]) -> Result:
    """All content items, one branch after the other."""
    items: list[Any] = []
    for alias, result in branches:
        for item in _decoded(result).get("content") or ():
            if isinstance(item, dict):
                own = item.get("_meta")
                items.append({**item, "_meta": {**(own if isinstance(own, dict) else {}), meta.SERVER: alias}})
    return Result(Raw(_encode({"content": items[:ITEMS_MAX], "_meta": about})))


def _decoded(result: Result) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(result.raw)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _list_in(result: Result, path: Sequence[str]) -> tuple[dict[str, Any], list[Any]] | None:
    """A branch's structured content, or the JSON of its first text, and the list at a path of it."""
    answer = _decoded(result)
    whole = answer.get("structuredContent")
    if whole is None:
        try:
            whole = msgspec.json.decode(answer["content"][0]["text"])
        except (LookupError, TypeError, msgspec.DecodeError, RecursionError):
            return None
    found = _at(whole, path)
    return (whole, found) if isinstance(whole, dict) and isinstance(found, list) else None


def _at(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


Lists = Sequence[tuple[str, list[Any]]]
Items = list[tuple[str, Any]]


def _concat(lists: Lists, key: Sequence[str]) -> Items:
    return [(alias, item) for alias, items in lists for item in items]


def _union(lists: Lists, key: Sequence[str]) -> Items:
    """Each item once: the first that has it keeps it. An item without the key is like no other."""
    seen: dict[Hashable, tuple[str, Any]] = {}
    for number, (alias, item, identity) in enumerate(_identified(lists, key)):
        seen.setdefault(("", number) if identity is None else identity, (alias, item))
    return list(seen.values())


def _rank(lists: Lists, key: Sequence[str]) -> Items:
    """Each item once, best first: what several servers rank high goes before what one does."""
    scores: dict[Hashable, float] = {}
    kept: dict[Hashable, tuple[str, Any]] = {}
    number = 0
    for alias, items in lists:
        places: set[Hashable] = set()
        for place, (_, item, found) in enumerate(_identified([(alias, items)], key), start=1):
            number += 1
            identity: Hashable = ("", number) if found is None else found
            if identity in places:
                continue  # twice in one list is no second voice
            places.add(identity)
            scores[identity] = scores.get(identity, 0.0) + 1 / (_RANK_K + place)
            kept.setdefault(identity, (alias, item))
    return [kept[identity] for identity in sorted(scores, key=lambda one: -scores[one])]


def _identified(lists: Lists, key: Sequence[str]) -> Iterator[tuple[str, Any, Hashable]]:
    """Items with what makes them the same as others; None where they lack it."""
    for alias, items in lists:
        for item in items:
            found = _at(item, key)
            yield alias, item, None if found is None else _encode(found)


def _least(lists: Lists, key: Sequence[str]) -> Items:
    return _extreme(lists, key, 1)


def _most(lists: Lists, key: Sequence[str]) -> Items:
    return _extreme(lists, key, -1)


def _extreme(lists: Lists, key: Sequence[str], sign: int) -> Items:
    """The one item with the least (or most) of a number; of several, the first. None, if no item has one."""
    numbered = [
        (sign * number, place, alias, item)
        for place, (alias, item) in enumerate(_concat(lists, key))
        if isinstance(number := _at(item, key), int | float) and not isinstance(number, bool)
    ]
    return [min(numbered, key=lambda one: one[:2])[2:]] if numbered else []


_MERGED: Final = {"concat": _concat, "union": _union, "rank": _rank, "least": _least, "most": _most}
