"""Measure, and write RESULTS.md; or fit.

python -m benchmarks.search
python -m benchmarks.search --tuning
python -m benchmarks.search --fit
"""

import argparse
import asyncio

from . import fit, measure
from .labelled import HERE, Half
from .report import report


def main() -> None:
    """Exit code 0: measured."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fit", action="store_true", help="say what the weights of evidence should be")
    parser.add_argument("--tuning", action="store_true", help="show how it is on the tuning half; write nothing")
    asked = parser.parse_args()
    if asked.fit:
        print("BY_WORDS", fit.fitted(asyncio.run(measure.found("tuning"))))
        print("BY_MEANING", fit.fitted(asyncio.run(measure.found("tuning", measure.model()))))
        return
    half: Half = "tuning" if asked.tuning else "held-out"
    words = asyncio.run(measure.found(half))
    meaning = asyncio.run(measure.found(half, measure.model()))
    text = report(half, measure.plainly(half), words, meaning, asyncio.run(measure.speed()))
    if not asked.tuning:
        (HERE / "RESULTS.md").write_text(text)
    print(text)


main()
