"""Fuzz one parser under coverage guidance, until a defect or the limit: `python -m tests.fuzz.run TARGET -runs=N`.

TARGET is one of `targets.TARGETS`, or `every`.
Further arguments are libFuzzer's (`-max_total_time=60`, `-seed=1`). A defect ends it with a traceback and the input as
a Python literal, which belongs into `seeds.FOUND`.
"""

import sys
import tempfile
import traceback
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["concento"]):
    from tests.fuzz import seeds, targets


def main() -> None:
    """Run as the arguments say."""
    name, *options = sys.argv[1:]
    target = targets.TARGETS.get(name) or {"every": targets.every, "flawed": targets.flawed}[name]

    def one(data: bytes) -> None:
        try:
            target(data)
        except BaseException:
            traceback.print_exc()
            print(f"FOUND ({name!r}, {data!r})", file=sys.stderr, flush=True)
            raise

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(seeds.of(name)):
            (corpus / f"{number:04}").write_bytes(data)
        words = Path(folder) / "words"
        spelt = ("".join(f"\\x{byte:02x}" for byte in word) for word in seeds.words(name))
        words.write_text("".join(f'"{word}"\n' for word in spelt))
        options = [f"-dict={words}", f"-artifact_prefix={folder}/", "-max_len=4096", "-verbosity=1", *options]
        atheris.Setup([sys.argv[0], *options, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
