"""From a configuration file to `model.config.Config`, or to every problem in it at once, each with its place.

A file passes through: `document.py` (text → nodes that know line and column), `clients.py` (the JSON of desktop clients
→ the same nodes), `root.py` with `keys.py` and its neighbours (the one table of keys, from which checking and
`json_schema` both follow; what a kind of value accepts is in `kinds.py`), `references.py` (`${env:…}`, `${file:…}`),
and `build.py` with `servers.py` and the others' own `build_…` (what only shows when several keys are seen together). It
starts nothing, asks no server and watches no file.
Read next: `load.py`, then `keys.py`.
"""

from .difference import Difference, diff
from .load import find_config, load, read
from .root import json_schema

__all__ = ["Difference", "diff", "find_config", "json_schema", "load", "read"]
