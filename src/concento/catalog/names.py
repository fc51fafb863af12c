"""Public names: a pure function of the configuration and the server's own names.

`alias__name`; a name that had to be altered or cut ends in `_` and eight hex digits of SHA-256 over alias and own name.
So names are stable over restarts, and no server's names depend on another's. Source: docs/decisions/0004.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass

from ..model.config import Config
from ..model.search import META_TOOLS
from ..model.tenant import DEFAULT_TENANT

SEPARATOR = "__"
_ODD = re.compile(r"[^A-Za-z0-9_-]")
_HASH_CHARS = 8


@dataclass(frozen=True, slots=True)
class Naming:
    """What naming depends on besides a server's own names."""

    chars_max: int = 48
    aliases: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()
    """Names that only the hub itself may give: of logical and meta-tools."""

    @classmethod
    def of(cls, config: Config, tenant: str = DEFAULT_TENANT) -> "Naming":
        """The naming of a tenant's servers. The operator's may be seen beside any tenant's, so theirs avoid all."""
        aliases = frozenset(
            server.alias
            for server in config.servers.values()
            if tenant == DEFAULT_TENANT or server.tenant in (tenant, DEFAULT_TENANT)
        )
        logical = frozenset(
            tool.name
            for tool in config.tools.values()
            if tenant == DEFAULT_TENANT or tool.tenant in (tenant, DEFAULT_TENANT)
        )
        return cls(config.chars_max, aliases, logical | META_TOOLS)


def public_name(alias: str, own: str, naming: Naming, *, prefixed: bool = True, wanted: str | None = None) -> str:
    """The name agents see. `wanted` is the operator's word for the own name; the hash is always of the own name."""
    shown = own if wanted is None else wanted
    plain = _ODD.sub("_", shown)
    name = alias + SEPARATOR + plain if prefixed else plain
    altered = plain != shown or not plain or len(name) > naming.chars_max
    if not prefixed:
        altered = altered or name in naming.reserved or _claims(name, naming.aliases)
    if not altered and not _looks_altered(name):
        return name
    digest = hashlib.sha256(f"{alias}\0{own}".encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARS]
    return f"{name[: naming.chars_max - _HASH_CHARS - 1]}_{digest}"


def may_be_bare(name: str, aliases: Collection[str]) -> bool:
    """Whether this could be the public name of something on the server without prefix."""
    return _ODD.search(name) is None and (_looks_altered(name) or not _claims(name, aliases))


def _claims(name: str, aliases: Collection[str]) -> bool:
    """Whether a bare name starts like a name of some other server."""
    head, separator, _ = name.partition(SEPARATOR)
    return bool(separator) and head in aliases


_HASH_END = re.compile(r"_[0-9a-f]{8}")


def _looks_altered(name: str) -> bool:
    """Whether a name ends like a hash. An unaltered one may not: it could equal another's altered name."""
    return _HASH_END.fullmatch(name[-_HASH_CHARS - 1 :]) is not None
