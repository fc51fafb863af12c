"""What the locked dependencies are licensed under, with the texts that their wheels ship.

Read from the installed packages' own metadata. A licence that is not on the list of `ALLOWED`, or a statement nobody
can read, refuses the release: somebody has to look before users depend on it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

from license_expression import LicenseSymbol, get_spdx_licensing
from packaging.utils import canonicalize_name

from .common import Refused
from .lock import Locked

ALLOWED: Final = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Zlib"}
)
"""Licences that ask of whoever passes Concento on to pass on their text (MPL-2.0: and changes to it), no more."""

# The words of metadata older than PEP 639, for the SPDX identifiers that they mean without doubt.
_MEANT: Final = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_TEXT: Final = re.compile(r"(?i)\b(licen[cs]e|copying|notice)")
_SPDX: Final = get_spdx_licensing()


@dataclass(frozen=True)
class Licence:
    """One dependency's: an SPDX expression, and its texts by file name."""

    name: str
    version: str
    expression: str
    texts: dict[str, str]


def licences(locked: Iterable[Locked], site_packages: Path) -> list[Licence]:
    """The licences of these packages, as installed there. Errors: Refused, with all that can't go out."""
    installed = {canonicalize_name(found.name): found for found in distributions(path=[str(site_packages)])}
    found: list[Licence] = []
    problems: list[str] = []
    for package in locked:
        distribution = installed.get(canonicalize_name(package.name))
        if distribution is None or distribution.version != package.version:
            here = "not there" if distribution is None else distribution.version
            problems.append(f"{package.name}: uv.lock has {package.version}, installed is {here}; run `make env`")
            continue
        try:
            expression = stated(distribution)
        except ValueError as error:
            problems.append(f"{package.name} {package.version}: {error}")
        else:
            found.append(Licence(package.name, package.version, expression, _texts(distribution)))
    if problems:
        raise Refused("\n".join(["licences:", *problems]))
    return found


def stated(distribution: Distribution) -> str:
    """The licence that a package states, as an SPDX expression. Errors: ValueError if it is unclear or not allowed."""
    metadata = distribution.metadata
    prefix = "License :: OSI Approved :: "
    classifiers = [value for value in metadata.get_all("Classifier") or [] if value.startswith(prefix)]
    words = metadata.get_all("License-Expression") or []
    if not words:
        # Of several classifiers nobody says whether they mean "and" or "or": take the stricter.
        words = [value.removeprefix(prefix) for value in classifiers] or metadata.get_all("License") or []
        # The classifier names a family of licences; the older field may say which.
        if words == ["BSD License"]:
            words = [value for value in metadata.get_all("License") or [] if value.startswith("BSD-")] or words
    expression = " AND ".join(sorted(_MEANT.get(word, word) for word in words))
    try:
        parsed = _SPDX.parse(expression, validate=True)
    except Exception as error:
        raise ValueError(f"{expression!r} is no SPDX expression, and no word that is known for one ({error})") from None
    if parsed is None:
        raise ValueError("its metadata states no licence")
    if not _is_allowed(parsed):
        raise ValueError(f"{expression} is not among the allowed licences: {', '.join(sorted(ALLOWED))}")
    return str(parsed)


def _is_allowed(expression: Any) -> bool:
    if isinstance(expression, LicenseSymbol):
        return expression.key in ALLOWED
    parts = [_is_allowed(part) for part in expression.args]
    return any(parts) if isinstance(expression, _SPDX.OR) else all(parts)


def _texts(distribution: Distribution) -> dict[str, str]:
    """Texts kept with the metadata, by their place there."""
    texts: dict[str, str] = {}
    for file in sorted(distribution.files or (), key=str):
        info, _, name = str(file).partition("/")
        if info.endswith(".dist-info") and _TEXT.search(name):
            texts[name.removeprefix("licenses/")] = Path(str(file.locate())).read_text(errors="replace")
    return texts


def as_json(found: Iterable[Licence]) -> list[dict[str, Any]]:
    """The list for programs, without the texts."""
    return [
        {"name": one.name, "version": one.version, "licence": one.expression, "texts": sorted(one.texts)}
        for one in found
    ]


def as_text(found: Iterable[Licence]) -> str:
    """The list for people and for those who pass the packages on: every text in full."""
    rule = "=" * 80
    parts = ["Concento runs with these packages, each under its own licence.\n"]
    for one in found:
        parts.append(f"{rule}\n{one.name} {one.version}: {one.expression}\n{rule}\n")
        if not one.texts:
            parts.append("(Its wheel ships no licence text.)\n")
        parts += [f"---- {name} ----\n\n{text.strip()}\n" for name, text in one.texts.items()]
    return "\n".join(parts)
