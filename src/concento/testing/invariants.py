"""What has to hold whatever happens: tried over random sequences of steps, and shrunk to the shortest that breaks it.

    async def trial(steps):           # from a fresh start, each time
        world = await World.start()
        for step in steps:
            await world.do(step)
        if world.lost:
            return f"{world.lost} calls were lost"

    await hold(trial, ["call", "kill a", "start a"], seed=7)

Steps are values, so that what is found can be written down and done again: `hold` raises `Broken` with the steps, the
seed, and what the trial said. A trial that raises has failed as well.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

S = TypeVar("S")

Trial = Callable[[Sequence[S]], Awaitable[str | None]]
"""Does some steps and says what does not hold; None if everything does."""


class Broken(AssertionError, Generic[S]):
    """What does not hold, and the fewest steps that show it."""

    def __init__(self, problem: str, steps: Sequence[S], seed: int, trials: int) -> None:
        lines = "".join(f"\n  {step!r}" for step in steps)
        super().__init__(f"{problem}\nafter (seed {seed}, shrunk in {trials} trials):{lines}")
        self.problem = problem
        self.steps = list(steps)


async def hold(
    trial: Trial[S], steps: Sequence[S], *, seed: int, sequences: int = 20, length: int = 30, shrinks_max: int = 200
) -> None:
    """Try a trial over random sequences of these steps: the same ones for the same seed. Errors: Broken."""
    draw = random.Random(seed)
    for _ in range(sequences):
        sequence = draw.choices(steps, k=draw.randint(1, length))
        if (problem := await _tried(trial, sequence)) is not None:
            problem, shortest, trials = await _shrunk(trial, sequence, problem, shrinks_max)
            raise Broken(problem, shortest, seed, trials)


async def _tried(trial: Trial[S], steps: Sequence[S]) -> str | None:
    try:
        return await trial(steps)
    except Exception as error:  # whatever a trial ends with is a finding
        return f"{type(error).__name__}: {error}"


async def _shrunk(trial: Trial[S], steps: Sequence[S], problem: str, most: int) -> tuple[str, Sequence[S], int]:
    """The shortest part of some steps that still shows a problem: halves are left out, then quarters, then single ones.

    Source: Zeller, Hildebrandt 2002 (delta debugging).
    """
    trials, size = 0, max(1, len(steps) // 2)
    while True:
        at, before = 0, len(steps)
        while at < len(steps) and trials < most:
            fewer = [*steps[:at], *steps[at + size :]]
            trials += 1
            found = await _tried(trial, fewer) if fewer else None
            if found is None:
                at += size
            else:
                steps, problem = fewer, found
        if trials >= most or (size == 1 and len(steps) == before):
            return problem, steps, trials
        size = max(1, size // 2)  # single steps until none can go: one may need another that went later
