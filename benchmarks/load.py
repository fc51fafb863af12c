"""Load: `wrk`, which sends calls as fast as a number of connections can take the answers, and looks at each answer."""

import os
import re
import subprocess
from dataclasses import dataclass

from .process import HERE
from .refused import Refused
from .route import Route
from .upstream import BIG_BYTES, EVENTS

NUMBER = 10_000_000
"""Stands in a message for the number of the call; see `call.lua`."""
TIMEOUT_S = 30
CALLS_MIN = 3
"""Fewer calls than so many a connection are too few to divide by."""


@dataclass(frozen=True)
class Load:
    """What one run of load brought."""

    calls: int
    calls_per_s: float
    p50_ms: float
    p99_ms: float


def load(route: Route, tool: str, connections: int, seconds: int) -> Load:
    """One run. Errors: Refused, if an answer was wrong, a connection broke, or too few calls came back."""
    env = os.environ | {
        "CALL_HEADERS": "".join(f"{name}: {value}\n" for name, value in route.headers(tool).items()),
        "CALL_BODY": route.call(tool, f"hello {NUMBER}", NUMBER, progress=tool == "events").decode(),
        "CALL_TEXT": "" if tool == "big" else f'"hello {NUMBER}"',
        "CALL_EVENTS": str(EVENTS if tool == "events" else 0),
        "CALL_BYTES_MIN": str(BIG_BYTES if tool == "big" else 0),
    }
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT_S}s", "--latency"]
    command += ["-s", str(HERE / "call.lua"), route.url]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=seconds + 2 * TIMEOUT_S)
    return read(done.stdout, connections)


def read(text: str, connections: int) -> Load:
    """What `wrk` and its script have printed."""
    done = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)\b", text)
    latencies = dict(re.findall(r"(50|99)%\s+([\d.]+(?:us|ms|s|m)) *\n", text))
    wrong = re.search(r"wrong answers: (\d+)\n(.*)", text)
    if done is None or wrong is None:
        raise Refused(f"wrk has nothing to tell: {text[-300:]}")
    if int(wrong[1]):
        raise Refused(f"{wrong[1]} of {done[1]} answers were wrong, the first: {wrong[2][:300]}")
    if broken := re.search(r"(Socket errors|Non-2xx).*", text):
        raise Refused(broken[0].strip())
    calls, duration_s = int(done[1]), milliseconds(done[2] + done[3]) / 1000
    if len(latencies) != 2:
        raise Refused(f"wrk tells no latencies: {text[-300:]}")
    if calls < CALLS_MIN * connections:
        raise Refused(f"only {calls} calls in {duration_s} s on {connections} connections: too few to divide by")
    return Load(calls, calls / duration_s, milliseconds(latencies["50"]), milliseconds(latencies["99"]))


def milliseconds(text: str) -> float:
    number, unit = re.findall(r"([\d.]+)(\w+)", text)[0]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[unit]
