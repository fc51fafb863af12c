"""A hub's two records that kill themselves at one step of their work: `usage_killed.py FOLDER MODE STEP COUNT`.

Steps of usage begin with `usage `. What a server would execute is noted in `executed` before anything is counted.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.observe import audit_kit, usage_kit

from concento.observe.audit import AuditLog
from concento.observe.usage import Usage

CALLS = 40


async def both(folder: Path, mode: str, hook: Callable[[str], None]) -> tuple[Usage, AuditLog]:
    """The two, opened as a hub opens them."""
    path = folder / "audit.db"
    log = await audit_kit.opened(path, mode, hook=hook)
    usage = await usage_kit.opened(
        folder / "usage.db",
        audit=path,
        intents=log.number,
        horizon_s=300.0 if mode == "strict" else 0.0,
        audited=log.written if mode == "strict" else None,
        hook=lambda step: hook(f"usage {step}"),
    )
    return usage, log


async def main(folder: Path, mode: str, step: str, count: int) -> None:
    left = count

    def hook(at: str) -> None:
        nonlocal left
        if at == step:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    usage, log = await both(folder, mode, hook)
    with (folder / "executed").open("a") as executed:
        first = int(executed.tell() > 0) * CALLS
        for number in range(first, first + CALLS):
            record = audit_kit.call(number, attempts=1, duration_s=0.0125, reply_bytes=400)
            written = log.intent(record)
            if written is not None:
                await written
            executed.write(f"t{number}\n")
            executed.flush()
            os.fsync(executed.fileno())
            hook("executed")
            usage(record)
            hook("metered")
            log(record)
            hook("taken")
            await asyncio.sleep(0.004)  # so that some are written while others come
        await usage.flush()
    hook("before closing")
    await usage.close()
    hook("between closing")
    await log.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
