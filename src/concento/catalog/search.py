"""Find tools by words, in memory: as somebody types a name, or by what an agent needs.

BM25 over weighted fields: a word of the name says more than one of a long description. What an agent needs is seldom
said in the tool's words, so that words of like meaning count, too, but less.
"""

import heapq
import re
import sqlite3
from array import array
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..protocol.jsonrpc import EMPTY_OBJECT, read_object, read_string
from .slices import Entry
from .thesaurus import every_word, neighbours

_WORD: Final = re.compile(r"[^\W_]+")
_JOINT: Final = re.compile(r"[_\-.:/]+|(?<=[a-z0-9])(?=[A-Z])")
_WORDS_MAX: Final = 10
"""Words of a request that count: what comes after is seldom what matters."""
_TYPED_MAX: Final = 32
_LIKE_MAX: Final = 6
"""Words of like meaning that stand for one that was said."""
_READ_CHARS: Final = 2000
"""Of a text, to see what a tool speaks of: who says more says it in the beginning."""
_KNOWN_MAX: Final = 4096
"""Words whose tools are known by heart."""
_LIKE: Final = 0.5
"""What a word of like meaning counts, of the one that was said."""
_SAYS_NOTHING: Final = """
a an and any are as at be but by can could do does for from had has have how i if in into is it its me my of on or
our out please should so some than that the their them then there these they this to up us was we were what when
which who will with would you your need want like using use via
"""
_STOP: Final = frozenset(_SAYS_NOTHING.split())
_WEIGHTS: Final = (6.0, 2.0, 1.0, 1.0, 0.3, 3.0)
"""Of the name, the title, the description, the names of parameters, what they say, and what the operator says."""
_BM25: Final = f"bm25(tools, {', '.join(map(str, _WEIGHTS))})"
_FIELDS: Final = "name, title, description, parameters, meanings, purpose"
_SUFFIXES: Final = ("ations", "ation", "ings", "ing", "ies", "ed", "es", "s", "e", "y")


class Scored(NamedTuple):
    """A tool's place in the index it was found in, and how well its words fit: more is better."""

    place: int
    score: float


class Cover(NamedTuple):
    """Which share of a request's words a tool has: in its name, title and purpose, and anywhere. Other than a score it
    does not depend on what else there is."""

    named: float = 0.0
    anywhere: float = 0.0


class _Texts(NamedTuple):
    name: str
    title: str
    description: str
    parameters: str
    meanings: str
    purpose: str


class ToolIndex:
    """An index of some tools. Building it costs about 20 µs a tool; it may be used from one thread at a time."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._db.execute(f"CREATE VIRTUAL TABLE tools USING fts5({_FIELDS}, tokenize = 'porter unicode61')")
        self._known: dict[str, tuple[array[int], array[float]]] = {}
        self._db.executemany("INSERT INTO tools VALUES (?, ?, ?, ?, ?, ?)", map(_texts, self.entries))

    def search(self, query: str, limit: int = 20) -> list[Entry]:
        """The tools that fit what somebody types, best first; the beginnings of words are enough."""
        words = _WORD.findall(query)[:_TYPED_MAX]
        if not words:
            return []
        match = " OR ".join(f'"{word}"*' for word in words)
        rows = self._db.execute(
            f"SELECT rowid FROM tools WHERE tools MATCH ? ORDER BY {_BM25} LIMIT ?", (match, max(0, limit))
        )
        return [self.entries[row - 1] for (row,) in rows]

    def ranked(self, need: str, limit: int) -> list[Scored]:
        """The tools that fit best what somebody needs, best first.

        A word counts as it was said, or by the word of like meaning that fits best: never by several of them, or a
        tool would be found for having many.
        """
        words = significant(need)
        whole: dict[int, float] = {}
        for said in words:
            best = dict(zip(*self._scores(said), strict=True))
            for like in neighbours(said)[:_LIKE_MAX]:
                if like not in words:
                    for place, score in zip(*self._scores(like), strict=True):
                        if _LIKE * score > best.get(place, 0.0):
                            best[place] = _LIKE * score
            for place, score in best.items():
                whole[place] = whole.get(place, 0.0) + score
        first = heapq.nsmallest(limit, whole.items(), key=lambda one: (-one[1], one[0]))
        return [Scored(place, score) for place, score in first]

    def _scores(self, word: str) -> tuple["array[int]", "array[float]"]:
        """The places of the tools that have a word, and how well it fits each. SQLite says it once for each word."""
        known = self._known.get(word)
        if known is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            found = self._db.execute(f"SELECT rowid - 1, -{_BM25} FROM tools WHERE tools MATCH ?", (f'"{word}"',))
            places, scores = array("I"), array("f")
            for place, score in found:
                places.append(place)
                scores.append(score)
            known = self._known[word] = (places, scores)
        return known

    def learn(self) -> None:
        """Know the words that stand for others by heart, so that no search has to ask for many. Costs about as
        much as building it."""
        for word in every_word():
            self._scores(word)

    def cover(self, need: str, place: int) -> Cover:
        """How much of what somebody needs a tool speaks of."""
        words = [_stem(word) for word in significant(need)]
        if not words:
            return Cover()
        texts = _texts(self.entries[place])
        named = _stems(texts.name, texts.title, texts.purpose)
        anywhere = named | _stems(texts.description, texts.parameters, texts.meanings)
        return Cover(_share(words, named), _share(words, anywhere))

    def close(self) -> None:
        """Let the memory go."""
        self._db.close()


def significant(text: str) -> list[str]:
    """The words of a request that say what it is about, each once."""
    words = [word.lower() for word in _WORD.findall(_JOINT.sub(" ", text[:4000]))]
    telling = [word for word in words if word not in _STOP]
    return list(dict.fromkeys(telling or words))[:_WORDS_MAX]


def meanings_of(entry: Entry) -> tuple[str, str]:
    """What a tool is, as two texts that a sentence model reads: its name in words, and what is said of it."""
    texts = _texts(entry)
    name = _JOINT.sub(" ", f"{entry.alias} {entry.own}").strip()
    said = ". ".join(part.strip() for part in (texts.title, texts.purpose, texts.description) if part.strip())
    return name, said[:2000] or name


def _texts(entry: Entry) -> _Texts:
    """What a tool says, by field. A part that can't be read says nothing, and takes nothing from the others."""
    members = read_object(entry.raw) or {}
    schema = read_object(members.get("inputSchema", EMPTY_OBJECT)) or {}
    parameters = read_object(schema.get("properties", EMPTY_OBJECT)) or {}
    described = (read_string((read_object(one) or {}).get("description")) for one in parameters.values())
    return _Texts(
        f"{entry.public} {_JOINT.sub(' ', entry.public)}",
        read_string(members.get("title")) or "",
        read_string(members.get("description")) or "",
        _JOINT.sub(" ", " ".join(parameters)),
        " ".join(text for text in described if text),
        entry.purpose,
    )


def _stems(*texts: str) -> set[str]:
    return {_stem(word.lower()) for text in texts for word in _WORD.findall(text[:_READ_CHARS])}


def _stem(word: str) -> str:
    """A word without its ending, roughly: enough to know it again."""
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            return word[: -len(suffix)]
    return word


def _share(words: Sequence[str], among: set[str]) -> float:
    return sum(word in among for word in words) / len(words)
