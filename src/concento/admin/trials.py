"""Experiments, for the operator: how the arms do, and the word that ends one. Whatever is changed is audited."""

from typing import Any

from ..model.logical import LogicalTool
from ..model.principal import Principal
from ..observe.experiments import likeness, reading, told
from .describe import Hub


class NoSuchThing(Exception):
    """What was named is not there; the message says what is."""


def experiments(hub: Hub) -> dict[str, Any]:
    """`{"experiments": [{tool, strategy, sticky, arms, reading, promoted}, ...]}`: how the arms of each do so far."""
    return {"experiments": [_told(hub, key, tool) for key, tool in _trials(hub).items()]}


def _told(hub: Hub, key: str, tool: LogicalTool) -> dict[str, Any]:
    weights = {f"{bound.alias}.{bound.own}": bound.weight for bound in tool.bind}
    arms = {name: hub.experiments.arm(key, name) for name in weights}
    rows = [{**row, "weight": weights[row["arm"]]} for row in told(arms)]
    said = reading(arms) if tool.strategy == "split" else f"{likeness(arms)} {reading(arms)}"
    promotion = hub.promotions.of(key)
    promoted = None
    if promotion is not None:
        promoted = {
            "arm": promotion.tool,
            "by": promotion.by,
            "since": promotion.since_s,
            "there": promotion.tool in weights,
        }
    return {
        "tool": key,
        "strategy": tool.strategy,
        "sticky": tool.sticky,
        "arms": rows,
        "reading": said,
        "promoted": promoted,
    }


async def promote(hub: Hub, tool: str, arm: str, by: Principal) -> dict[str, Any]:
    """Give an arm all calls from now on. Errors: NoSuchThing."""
    trial = _trial(hub, tool)
    names = [f"{bound.alias}.{bound.own}" for bound in trial.bind]
    if arm not in names:
        raise NoSuchThing(f"{arm[:128]!r} is no arm of {tool!r}; its arms: {', '.join(names)}")
    return await _gives(hub, tool, arm, by, "promote")


async def rollback(hub: Hub, tool: str, by: Principal) -> dict[str, Any]:
    """Give all calls back to the first arm, which stood before the experiment. Errors: NoSuchThing."""
    first = _trial(hub, tool).bind[0]
    return await _gives(hub, tool, f"{first.alias}.{first.own}", by, "rollback")


async def resume(hub: Hub, tool: str, by: Principal) -> dict[str, Any]:
    """Let the configured weights decide again. Errors: NoSuchThing."""
    trial = _trial(hub, tool)
    hub.changed(by, "experiments/resume", tool, "as configured")
    await hub.promotions.resume(tool)
    return _told(hub, tool, trial)


async def _gives(hub: Hub, tool: str, arm: str, by: Principal, how: str) -> dict[str, Any]:
    hub.changed(by, f"experiments/{how}", tool, f"all calls to {arm}")
    await hub.promotions.promote(tool, arm, by.subject)
    return _told(hub, tool, _trial(hub, tool))


def _trials(hub: Hub) -> dict[str, LogicalTool]:
    tools = hub.current.snapshot.config.tools
    return {key: tool for key, tool in tools.items() if tool.strategy in ("split", "shadow")}


def _trial(hub: Hub, tool: str) -> LogicalTool:
    trials = _trials(hub)
    if tool not in trials:
        raise NoSuchThing(f"there is no experiment with {tool[:128]!r}; there are: {', '.join(trials) or 'none'}")
    return trials[tool]
