"""limits.md and meta.md: constants with what is said below each."""

from concento.model import limits, meta

from .markdown import code, paragraphs, sentences, table
from .source import attribute_docs


def limits_page() -> str:
    """Every hard bound."""
    docs = attribute_docs("model/limits.py")
    rows = [(code([name]), amount(name, getattr(limits, name)), doc) for name, doc in docs.items()]
    return paragraphs("# Limits", sentences(limits.__doc__), table(("name", "value", "meaning"), rows))


def amount(name: str, value: float) -> str:
    """A limit in the unit that its name says."""
    if "BYTES" in name and value % 1024 == 0:
        unit, size = ("MiB", limits.MIB) if value % limits.MIB == 0 else ("KiB", 1024)
        return f"{value / size:g} {unit}" + ("/s" if name.endswith("_S") else "")
    return f"{value:,.0f}" + (" s" if name.endswith("_S") else "")


def meta_page() -> str:
    """Every `_meta` key."""
    rows = [(getattr(meta, name), doc) for name, doc in attribute_docs("model/meta.py").items()]
    own = [(code([key]), doc) for key, doc in rows if key.startswith(meta.OWN_PREFIX)]
    other = [(code([key]), doc) for key, doc in rows if not key.startswith(meta.OWN_PREFIX)]
    return paragraphs(
        "# `_meta` keys",
        sentences(meta.__doc__) + " Other keys of a request or a result are relayed as they are.",
        "## Concento's own",
        table(("key", "meaning"), own),
        "## The specification's",
        table(("key", "meaning"), other),
    )
