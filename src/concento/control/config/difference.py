"""What a reload changes: a pure comparison of two configurations."""

from dataclasses import dataclass

from ...model.config import Config


@dataclass(frozen=True, slots=True)
class Difference:
    """Aliases of servers by what a reload does to them, in the order of the new configuration (`removed`: the old)."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


def diff(old: Config, new: Config) -> Difference:
    """Compare the servers of two configurations. Unchanged ones stay connected, wherever in the file they moved."""
    both = [alias for alias in new.servers if alias in old.servers]
    return Difference(
        added=tuple(alias for alias in new.servers if alias not in old.servers),
        removed=tuple(alias for alias in old.servers if alias not in new.servers),
        changed=tuple(alias for alias in both if old.servers[alias] != new.servers[alias]),
        unchanged=tuple(alias for alias in both if old.servers[alias] == new.servers[alias]),
    )
