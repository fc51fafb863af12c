"""How many of the corpus each detector finds, and where it errs: `python -m tests.policy.detectors`.

`-v` also shows what is missed, and what is found that should not be. Folders count what is found in their text files.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from concento.policy.detectors import DETECTORS, Detector

from .detector_corpus import NEGATIVES, POSITIVES, Sample


class Rate(NamedTuple):
    """Of one detector: what it found and missed of its own, and in which of the harmless texts it found something."""

    found: list[Sample]
    missed: list[Sample]
    false: list[str]


def without(detector: Detector, text: str) -> str:
    """A text without what a detector finds."""
    if not detector.may_find(text):
        return text
    kept, at = "", 0
    for begin, end in detector.spans(text):
        kept, at = f"{kept}{text[at:begin]}[gone]", end
    return kept + text[at:]


def measured() -> dict[str, Rate]:
    """The rate of each detector."""
    rates = {}
    for name, detector in DETECTORS.items():
        own = [sample for sample in POSITIVES if sample.detector == name]
        missed = [sample for sample in own if sample.secret in without(detector, sample.text)]
        false = [text for text in NEGATIVES if without(detector, text) != text]
        rates[name] = Rate([sample for sample in own if sample not in missed], missed, false)
    return rates


def rows() -> list[str]:
    """A row of a table for each detector, as the documentation has it."""
    return [
        f"| `{name}` | {DETECTORS[name].finds} | {len(rate.found)} of {len(rate.found) + len(rate.missed)} "
        f"| {len(rate.false)} of {len(NEGATIVES)} |"
        for name, rate in measured().items()
    ]


def in_folders(folders: list[str]) -> tuple[int, int, Counter[str]]:
    """How many text files there are, how many characters, and how often each detector finds something."""
    files, characters, finds = 0, 0, Counter[str]()
    for path in (path for folder in folders for path in Path(folder).rglob("*") if path.is_file()):
        try:
            text = path.read_text()
        except (OSError, UnicodeError):
            continue
        files, characters = files + 1, characters + len(text)
        for name, detector in DETECTORS.items():
            if detector.may_find(text):
                finds[name] += sum(1 for _ in detector.spans(text))
    return files, characters, finds


def main() -> None:
    """Print the table."""
    folders = [word for word in sys.argv[1:] if not word.startswith("-")]
    if folders:
        files, characters, finds = in_folders(folders)
        print(f"{files} files, {characters} characters: {dict(finds)}")
        return
    print("| detector | finds | found | found in harmless texts |\n|---|---|---|---|")
    print("\n".join(rows()))
    if "-v" in sys.argv:
        for name, rate in measured().items():
            for sample in rate.missed:
                print(f"{name} missed: {sample.text[:150]!r}")
            for text in rate.false:
                print(f"{name} false: {text[:150]!r}")


if __name__ == "__main__":
    main()
