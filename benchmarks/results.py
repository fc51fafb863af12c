"""What was measured, kept as JSON: one entry a candidate and case, written as soon as it is there."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Spread = dict[str, float]
Entry = dict[str, Any]
"""`scenario`, `case`, `candidate`, and either `figures` (name → spread) with the `rounds` they are made of, or
`missing`: why there is none."""


class Results:
    """All entries of a run, with what is needed to judge them."""

    def __init__(self, about: dict[str, Any], entries: Sequence[Entry] = (), path: Path | None = None) -> None:
        self.about = about
        self.entries = list(entries)
        self._path = path

    @classmethod
    def read(cls, path: Path) -> "Results":
        known = json.loads(path.read_text())
        return cls(known["about"], known["entries"])

    def add(self, scenario: str, case: str, candidate: str, **more: Any) -> Entry:
        """Keep one entry."""
        entry = {"scenario": scenario, "case": case, "candidate": candidate, **more}
        self.entries.append(entry)
        self.write()
        return entry

    def write(self) -> None:
        """Replace the file by all that is known."""
        if self._path is not None:
            half = self._path.with_suffix(".half")
            half.write_text(json.dumps({"about": self.about, "entries": self.entries}, indent=1) + "\n")
            half.replace(self._path)

    def of(self, scenario: str, case: str | None = None) -> list[Entry]:
        """The entries of a scenario, or of one case of it."""
        return [one for one in self.entries if one["scenario"] == scenario and case in (None, one["case"])]

    def cases(self, scenario: str) -> list[str]:
        """The cases of a scenario, as they were measured."""
        return list(dict.fromkeys(entry["case"] for entry in self.of(scenario)))

    def figure(self, scenario: str, case: str, candidate: str, name: str) -> Spread | None:
        """One figure, if there is one."""
        for entry in self.of(scenario, case):
            if entry["candidate"] == candidate and "figures" in entry:
                found: Spread | None = entry["figures"].get(name)
                return found
        return None


def spread(values: Iterable[float]) -> Spread:
    """Median, minimum and maximum; five significant digits are more than any of them is worth."""
    known = list(values)
    return {
        name: float(f"{value:.5g}")
        for name, value in (("median", statistics.median(known)), ("min", min(known)), ("max", max(known)))
    }


def summarize(rounds: Sequence[Mapping[str, float]], reference: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """The spread of each figure, and of the ratio of CPU to the reference's in the same round."""
    figures = {name: spread(one[name] for one in rounds) for name in rounds[0]}
    if "cpu_us" in figures and len(reference) >= len(rounds):
        figures["ratio"] = spread(one["cpu_us"] / base["cpu_us"] for one, base in zip(rounds, reference, strict=False))
    return figures
