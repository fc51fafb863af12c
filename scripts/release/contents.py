"""Check what is inside the archives: all that belongs there, with the right bytes, and nothing else.

Each check yields what is wrong, one line a problem; `check` refuses if there is any.
"""

import csv
import re
import tarfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from email import message_from_bytes
from hashlib import sha256
from pathlib import Path
from typing import Final
from zipfile import ZipFile

from packaging.metadata import Metadata

from .build import Built
from .common import ROOT, Refused

NOT_IN_SDIST: Final = (".ci/",)
INFO: Final = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")

_SECRETS: Final = {
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{16}"),
    "an access token": re.compile(rb"\b(?:gh[pousr]_\w{36}|github_pat_\w{22}|xox[bpars]-\w{10}|AKIA[0-9A-Z]{16})"),
    "an API key": re.compile(rb"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32}"),
    "a folder of the machine it was built on": re.compile(re.escape(str(ROOT).encode()) + rb"\b"),
}

Files = Mapping[str, bytes]


def check(built: Built, sources: Path) -> None:
    """Compare both archives with the sources they were built from. Errors: Refused."""
    source = files_of(sources)
    problems = [*wheel_problems(wheel_files(built.wheel), source), *sdist_problems(sdist_files(built.sdist), source)]
    if problems:
        raise Refused("\n".join(["the archives are not as they should be:", *problems]))


def wheel_problems(wheel: Files, source: Files) -> Iterator[str]:
    """A wheel is the package and its metadata."""
    info = next((name.partition("/")[0] for name in wheel if name.endswith(".dist-info/METADATA")), "")
    if not info:
        yield "wheel: no METADATA"
        return
    package = {name.removeprefix("src/"): data for name, data in source.items() if name.startswith("src/concento/")}
    described = {f"{info}/{name}": wheel.get(f"{info}/{name}", b"") for name in INFO}
    yield from _differences("wheel", wheel, {**package, **described})
    if wheel.get("concento/py.typed") is None:
        yield "wheel: without concento/py.typed no type checker looks at the package"
    if wheel.get(f"{info}/licenses/LICENSE") != source["LICENSE"]:
        yield "wheel: its licence is not LICENSE"
    if (tag := message_from_bytes(wheel[f"{info}/WHEEL"])["Tag"]) != "py3-none-any":
        yield f"wheel: it is tagged {tag}, not py3-none-any"
    yield from _record_problems(wheel, f"{info}/RECORD")
    yield from _metadata_problems("wheel", wheel[f"{info}/METADATA"], info.removesuffix(".dist-info").split("-")[1])
    yield from _secrets("wheel", wheel)


def sdist_problems(sdist: Files, source: Files) -> Iterator[str]:
    """An sdist is all that is committed, but for this repository's own automation, and its metadata."""
    wanted = {name: data for name, data in source.items() if not name.startswith(NOT_IN_SDIST)}
    yield from _differences("sdist", sdist, {**wanted, "PKG-INFO": sdist.get("PKG-INFO", b"")})
    if "PKG-INFO" in sdist:
        yield from _metadata_problems("sdist", sdist["PKG-INFO"])
    yield from _secrets("sdist", sdist)


def _differences(what: str, found: Files, wanted: Files) -> Iterator[str]:
    for name in sorted(found.keys() - wanted.keys()):
        yield f"{what}: {name} does not belong there"
    for name in sorted(wanted.keys() - found.keys()):
        yield f"{what}: {name} is missing"
    for name in sorted(found.keys() & wanted.keys()):
        if found[name] != wanted[name]:
            yield f"{what}: {name} has other bytes than its source"


def _metadata_problems(what: str, text: bytes, version: str | None = None) -> Iterator[str]:
    try:
        metadata = Metadata.from_email(text, validate=True)
    except ExceptionGroup as group:
        for error in group.exceptions:
            yield f"{what}: metadata: {error}"
        return
    if version is not None and str(metadata.version) != version:
        yield f"{what}: its name says {version}, its metadata {metadata.version}"
    if metadata.license_expression != "Apache-2.0" or metadata.description_content_type != "text/markdown":
        yield f"{what}: metadata: the licence or the README's type is missing"


def _record_problems(wheel: Files, record: str) -> Iterator[str]:
    recorded = {row[0]: row[1] for row in csv.reader(wheel[record].decode().splitlines())}
    for name, data in wheel.items():
        hashed = "sha256=" + urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
        if name != record and recorded.get(name) != hashed:
            yield f"wheel: RECORD does not vouch for {name}"


def _secrets(what: str, files: Files) -> Iterator[str]:
    for name, data in files.items():
        for kind, pattern in _SECRETS.items():
            if pattern.search(data):
                yield f"{what}: {name} holds {kind}"


# ---- reading


def sha256_of(path: Path) -> str:
    """A file's digest in hexadecimal."""
    return sha256(path.read_bytes()).hexdigest()


def files_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wheel_files(wheel: Path) -> dict[str, bytes]:
    """What a wheel holds."""
    with ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sdist_files(sdist: Path) -> dict[str, bytes]:
    """What an sdist holds below its one folder. Errors: Refused for a link, a device or a second folder."""
    root = sdist.name.removesuffix(".tar.gz") + "/"
    found: dict[str, bytes] = {}
    with tarfile.open(sdist) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() else None
            if content is None or not member.name.startswith(root):
                raise Refused(f"{sdist.name}: {member.name} is no plain file below {root}")
            found[member.name.removeprefix(root)] = content.read()
    return found
