"""Bring the servers that are shipped with Concento up to date with the official MCP registry.

Usage: .venv/bin/python scripts/refresh_registry.py [--registry URL]

Each entry of src/concento/onboarding/registry.json is looked up by its full name and replaced by what the registry has;
one that the registry does not have stays as it was compiled by hand, and is named.
"""

import argparse
import asyncio
import datetime
import json
import sys
from pathlib import Path

from concento.onboarding.registry import OFFICIAL, Listing, NotReached, find, shipped

FILE = Path(__file__).parent.parent / "src/concento/onboarding/registry.json"


def refresh(file: Path, source: str) -> list[str]:
    """Rewrite the file; returns the names that the registry does not have. Errors: NotReached, and nothing changed."""
    listings = shipped()
    newer = asyncio.run(_ask(listings, source))
    document = json.loads(file.read_text(encoding="utf-8"))
    document["_meta"]["dev.concento/registry"]["updated"] = datetime.date.today().isoformat()
    servers = [{"server": newer.get(one.name, one).content} for one in listings]
    document |= {"servers": servers, "metadata": {"count": len(servers)}}
    file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [one.name for one in listings if one.name not in newer]


async def _ask(listings: list[Listing], source: str) -> dict[str, Listing]:
    return {one.name: found for one in listings for found in await find(one.name, source)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", default=OFFICIAL)
    arguments = parser.parse_args()
    try:
        absent = refresh(FILE, arguments.registry)
    except NotReached as error:
        sys.exit(str(error))
    print("\n".join(f"not in the registry, kept as it was: {name}" for name in absent) or "all are in the registry")


if __name__ == "__main__":
    main()
