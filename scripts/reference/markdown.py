"""Pieces of Markdown."""

from collections.abc import Iterable, Sequence


def paragraphs(*parts: str) -> str:
    """A page of these parts."""
    return "\n\n".join(parts) + "\n"


def sentences(text: str | None) -> str:
    """A docstring as paragraphs without line breaks."""
    assert text
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def first_paragraph(thing: object) -> str:
    """The first paragraph of a docstring."""
    return sentences(thing.__doc__).partition("\n")[0]


def plain(text: str) -> str:
    """Text whose asterisks mean themselves, outside of code."""
    parts = text.split("`")
    return "`".join(part if index % 2 else part.replace("*", "\\*") for index, part in enumerate(parts))


def code(words: Iterable[str]) -> str:
    """Words as code, with commas between."""
    return ", ".join(f"`{word}`" for word in words)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def slug(title: str) -> str:
    """The anchor of a heading, as the site and code hosts make it."""
    kept = "".join(char for char in title.lower() if char.isalnum() or char in " -_")
    return kept.replace(" ", "-")
