"""Measure, and write RESULTS.md; or fit.

python -m benchmarks.search
python -m benchmarks.search --fit
"""

import argparse
import asyncio

from . import fit, measure
from .labelled import HERE
from .report import report


def main() -> None:
    """Exit code 0: measured."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fit", action="store_true", help="say what the weights of evidence should be")
    if parser.parse_args().fit:
        print("BY_WORDS", fit.fitted(asyncio.run(measure.found("tuning"))))
        print("BY_MEANING", fit.fitted(asyncio.run(measure.found("tuning", measure.model()))))
        return
    words = asyncio.run(measure.found("held-out"))
    meaning = asyncio.run(measure.found("held-out", measure.model()))
    text = report(measure.plainly("held-out"), words, meaning, asyncio.run(measure.speed()))
    (HERE / "RESULTS.md").write_text(text)
    print(text)


main()
