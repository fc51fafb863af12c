"""The software bill of materials: CycloneDX 1.6, from `uv.lock` and the licences that the packages state.

The same commit gives the same bytes: the time is the commit's and the serial number follows from the content.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from .build import Built, commit_time_s
from .common import Refused
from .contents import sha256_of
from .licences import Licence
from .lock import Locked, direct

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "pkg:pypi/concento")


def sbom(built: Built, locked: Iterable[Locked], licences: Mapping[str, Licence]) -> str:
    """The document as JSON text. Errors: Refused if it does not follow CycloneDX's schema."""
    locked = list(locked)
    ours = _purl("concento", built.version)
    purls = {package.name: _purl(package.name, package.version) for package in locked}
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(commit_time_s(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": ours,
                "name": "concento",
                "version": built.version,
                "purl": ours,
                "licenses": [{"expression": "Apache-2.0"}],
                "hashes": [{"alg": "SHA-256", "content": sha256_of(built.wheel)}],
            },
        },
        "components": [_component(package, licences[package.name]) for package in locked],
        "dependencies": [
            {"ref": ours, "dependsOn": [purls[name] for name in direct()]},
            *({"ref": purls[one.name], "dependsOn": [purls[name] for name in one.needs]} for one in locked),
        ],
    }
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(_NAMESPACE, json.dumps(document))}"
    text = json.dumps(document, indent=2) + "\n"
    if (error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)) is not None:
        raise Refused(f"the SBOM breaks the schema of CycloneDX 1.6: {error}")
    return text


def _component(package: Locked, licence: Licence) -> dict[str, Any]:
    purl = _purl(package.name, package.version)
    return {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        "scope": "optional" if package.optional else "required",
        "licenses": [{"expression": licence.expression}],
        "purl": purl,
        "externalReferences": [
            {"type": "distribution", "url": url, "hashes": [{"alg": "SHA-256", "content": digest}]}
            for url, digest in package.files
        ],
    }


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"
