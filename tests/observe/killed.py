"""A program with an audit record that kills itself at one step of its work: `killed.py FOLDER MODE STEP COUNT`.

What a server would execute is noted in `executed`, and each note is on disk before the next step.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.observe.audit_kit import call, opened

CALLS = 40


async def main(folder: Path, mode: str, step: str, count: int) -> None:
    left = count

    def hook(at: str) -> None:
        nonlocal left
        if at == step:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    keep_days = 1.0 if "prun" in step else None
    log = await opened(folder / "audit.db", mode, hook=hook, anchor=folder / "anchor", keep_days=keep_days)
    with (folder / "executed").open("a") as executed:
        for number in range(CALLS):
            age_s = 2 * 86_400 if "prun" in step and number < 20 else 0
            record = call(number)
            record.wall_s -= age_s
            written = log.intent(record)
            if written is not None:
                await written
            executed.write(f"s__t{number}\n")
            executed.flush()
            os.fsync(executed.fileno())
            hook("executed")
            log(record)
            hook("taken")
            await asyncio.sleep(0.005)
        log._writer._pruned_s = -1e9  # as if a minute had passed
        await asyncio.sleep(0.2)
    hook("before closing")
    await log.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
