"""Who holds a client certificate: its names, which the listener's authorities have vouched for, to a principal."""

import hashlib
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

from ...model.auth import Certificate
from ...model.principal import Principal
from ...policy.globs import compiled

_KINDS: Mapping[str, str] = {"DNS": "dns", "URI": "uri", "email": "email"}


def names_of(certificate: Mapping[str, Any]) -> list[str]:
    """The names in a verified certificate, as `ssl` tells it: `dns:…`, `uri:…`, `email:…`, then `cn:…`."""
    names = [f"{_KINDS[kind]}:{name}" for kind, name in certificate.get("subjectAltName", ()) if kind in _KINDS]
    for part in certificate.get("subject", ()):
        names += [f"cn:{value}" for key, value in part if key == "commonName"]
    return names


def holder(tls: ssl.SSLObject, known: Iterable[Certificate]) -> Principal | None:
    """Who is at the other end of a TLS connection; None if no certificate was shown, or no rule knows its names.

    The first rule that matches any of its names counts.
    """
    shown, certificate = tls.getpeercert(binary_form=True), tls.getpeercert()
    if shown is None or not certificate:
        return None
    names = names_of(certificate)
    for rule in known:
        for name in names:
            if compiled(rule.match).match(name):
                plain = name.partition(":")[2]
                return Principal(
                    rule.subject.replace("{name}", plain),
                    rule.agent if rule.agent is None else rule.agent.replace("{name}", plain),
                    rule.tenant,
                    "mtls",
                    frozenset(rule.roles),
                    frozenset(rule.scopes),
                    credential=f"cert:{hashlib.sha256(shown).hexdigest()[:16]}",
                    until_s=ssl.cert_time_to_seconds(str(certificate["notAfter"])),
                )
    return None
