"""Other policy engines, by name: what an entry point of `concento.policies` makes from the options of a rule.

    class Weekly:
        def __init__(self, options: Mapping[str, Any]) -> None: ...

        def check(self, principal: Principal, item: Item, facts: Facts) -> bool:
            return item.own != "deploy" or is_release_week(facts.now_s)

An engine may only narrow: it is asked by a rule that denies, which applies to whatever it does not agree to.
"""

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any, Final, Protocol

from ..model.principal import Principal
from .conditions import Check, Facts
from .item import Item

ENGINES: Final = "concento.policies"
"""The entry points: `(options) -> Engine`. One that raises refuses its options."""


class Engine(Protocol):
    """Another policy engine."""

    def check(self, principal: Principal, item: Item, facts: Facts) -> bool:
        """Whether a call may pass: anything but True refuses it, and so does raising. It must not wait for anything."""
        ...


Engines = Mapping[str, Callable[[Mapping[str, Any]], Engine]]
"""What makes an engine from its options, by name."""


class Installed(Engines):
    """The engines that are installed, each imported when it is first used."""

    def __getitem__(self, name: str) -> Callable[[Mapping[str, Any]], Engine]:
        for point in metadata.entry_points(group=ENGINES, name=name):
            factory: Callable[[Mapping[str, Any]], Engine] = point.load()
            return factory
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({point.name for point in metadata.entry_points(group=ENGINES)}))

    def __len__(self) -> int:
        return len(list(iter(self)))


def engine_check(name: str, options: Mapping[str, Any], engines: Engines) -> Check:
    """A condition that holds unless an engine agrees to a call. Errors: ValueError, if there is no such engine."""
    try:
        factory = engines[name]
    except KeyError:
        near = difflib.get_close_matches(name, list(engines), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"installed: {', '.join(engines) or 'none'}"
        raise ValueError(f"unknown engine {name!r}; {hint}") from None
    except Exception as error:  # whatever its import does, the configuration is what can't be used
        raise ValueError(f"the engine {name!r} can't be imported: {type(error).__name__}") from None
    try:
        check = factory(options).check
    except Exception as error:
        raise ValueError(f"the engine {name!r} does not take its options: {str(error)[:200]}") from None
    if inspect.iscoroutinefunction(check):
        raise ValueError(f"the engine {name!r} waits for something in 'check', and a call can't wait for it")
    return lambda item, facts: check(facts.principal, item, facts) is not True
