"""Write the pages that are not up to date, and name them."""

import sys

from . import FOLDER, pages, read

FOLDER.mkdir(exist_ok=True)
for name, text in pages().items():
    if text != read(name):
        (FOLDER / name).write_text(text)
        print(f"  docs/reference/{name}", file=sys.stderr)
