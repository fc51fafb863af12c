"""Whether a replica that keeps failing is given calls. Pure: a state, what happened and the time in, a state out.

As in Envoy's outlier detection: after five failures in a row it gets none for a while, the longer the oftener that
happened; then one call tries it, and what comes of that decides for all. Source: hardening R7.
"""

from typing import Final, Literal

from msgspec import Struct

FAILURES_MAX: Final = 5
BASE_S: Final = 30.0
LONGEST_S: Final = 300.0
SLOW_START_S: Final = 10.0
"""After it was closed again, a replica gets its whole share of calls only after so long."""
WARMTH_LEAST: Final = 0.1
JITTER: Final = 0.1
"""Of the time, so that replicas that failed together are not tried together."""

Standing = Literal["closed", "open", "half_open"]
"""`closed`: it gets calls. `open`: none. `half_open`: the next one tries it."""


class Circuit(Struct, frozen=True):
    """What is remembered of one replica."""

    failures: int = 0
    """In a row."""
    ejections: int = 0
    """How often it was given no calls, less one for each spell of `BASE_S` in which it was well."""
    until_s: float = 0.0
    """When it may be tried again; 0 while it is closed."""
    probing: bool = False
    """Whether a call tries it just now."""
    since_s: float = 0.0
    """When it was closed last."""


CLOSED: Final = Circuit()


def standing(circuit: Circuit, now_s: float) -> Standing:
    """How it stands at a moment."""
    if not circuit.until_s:
        return "closed"
    return "open" if circuit.probing or now_s < circuit.until_s else "half_open"


def begun(circuit: Circuit, now_s: float) -> Circuit:
    """A call begins: of one that is half open, it is the one that tries it."""
    if not circuit.until_s or standing(circuit, now_s) != "half_open":
        return circuit
    return Circuit(circuit.failures, circuit.ejections, circuit.until_s, True)


def succeeded(circuit: Circuit, now_s: float) -> Circuit:
    """A reply came, whatever it says."""
    if circuit.until_s:
        return Circuit(ejections=circuit.ejections, since_s=now_s)
    if circuit.ejections and now_s - circuit.since_s >= BASE_S:
        well = int((now_s - circuit.since_s) // BASE_S)
        return Circuit(ejections=max(0, circuit.ejections - well), since_s=now_s)
    return circuit if not circuit.failures else Circuit(0, circuit.ejections, since_s=circuit.since_s)


def failed(circuit: Circuit, now_s: float, draw: float) -> Circuit:
    """No reply came, or none that is one. `draw`: a random number from 0 to 1."""
    failures = circuit.failures + 1
    if circuit.until_s and not circuit.probing and now_s < circuit.until_s:
        return circuit  # a call that began before it was opened says nothing new
    if failures < FAILURES_MAX and not circuit.until_s:
        return Circuit(failures, circuit.ejections, since_s=circuit.since_s)
    ejections = circuit.ejections + 1
    pause_s = min(LONGEST_S, BASE_S * ejections) * (1 + JITTER * draw)
    return Circuit(failures, ejections, now_s + pause_s)


def ended(circuit: Circuit) -> Circuit:
    """The call that tried it ended without an answer to the question, as when its caller gave up."""
    return Circuit(circuit.failures, circuit.ejections, circuit.until_s) if circuit.probing else circuit


def restored(circuit: Circuit, now_s: float) -> Circuit:
    """It was connected anew, and is well."""
    return CLOSED if circuit is CLOSED else Circuit(ejections=circuit.ejections, since_s=now_s)


def warmth(circuit: Circuit, now_s: float) -> float:
    """Which part of its share of calls it gets, from `WARMTH_LEAST` to 1: less for a while after it failed."""
    if not circuit.since_s or circuit.until_s:
        return 1.0
    return min(1.0, max(WARMTH_LEAST, (now_s - circuit.since_s) / SLOW_START_S))
