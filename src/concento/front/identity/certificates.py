"""Who holds a client certificate: its names, which the listener's authorities have vouched for, to a principal."""

import hashlib
import re
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ...model.auth import Certificate
from ...policy.globs import compiled
from .proof import Proved

_KINDS: Final[Mapping[str, str]] = {"DNS": "dns", "URI": "uri", "email": "email"}
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,256}")
NAMES_MAX: Final = 100
"""Names looked at in one certificate."""


def names_of(certificate: Mapping[str, Any]) -> list[str]:
    """The names in a verified certificate, as `ssl` tells it: `dns:…`, `uri:…`, `email:…`, then `cn:…`.

    Host names are told in small letters. Names with control characters, or longer than 256, are none.
    """
    told = [(_KINDS[kind], name) for kind, name in certificate.get("subjectAltName", ()) if kind in _KINDS]
    told += [("cn", value) for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    names = [f"{kind}:{name.lower() if kind == 'dns' else name}" for kind, name in told if _NAME.fullmatch(name)]
    return names[:NAMES_MAX]


def holder(tls: ssl.SSLObject, rules: Iterable[Certificate], term: int) -> Proved | None:
    """Who is at the other end of a TLS connection; None if no certificate was shown, or no rule knows its names."""
    shown, certificate = tls.getpeercert(binary_form=True), tls.getpeercert()
    if shown is None or not certificate:
        return None
    until_s = float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))
    credential = f"cert:{hashlib.sha256(shown).hexdigest()[:16]}"
    return principal_for(names_of(certificate), rules, credential, until_s, term)


def principal_for(
    names: Iterable[str],
    rules: Iterable[Certificate],
    credential: str = "",
    until_s: float | None = None,
    term: int = 0,
) -> Proved | None:
    """Whom names stand for. The first rule that matches one counts, and of that rule's names the first.

    `*` stands for anything, dots and slashes too, as in every pattern of a configuration.
    """
    names = list(names)
    for rule in rules:
        pattern = compiled(rule.match.lower() if rule.match.startswith("dns:") else rule.match)
        for name in names:
            if pattern.match(name):
                plain = name.partition(":")[2]
                return Proved(
                    rule.subject.replace("{name}", plain),
                    agent=None if rule.agent is None else rule.agent.replace("{name}", plain),
                    tenant=rule.tenant,
                    proof="mtls",
                    roles=frozenset(rule.roles),
                    scopes=frozenset(rule.scopes),
                    credential=credential,
                    until_s=until_s,
                    term=term,
                )
    return None
