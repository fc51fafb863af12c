"""Public resource URIs: the server's alias in the authority, reversibly.

`s://authority/p` is `s://alias!authority/p`, `file:///x` is `file://alias!/x`; `skill://path` is `skill://alias!/path`,
for the last segment of a skill's path, which may be its only one, is the skill's name. A URI without authority, and a
template that begins with a variable, is percent-encoded under `concento://alias!/`. Source: decisions 0004, 0007.
"""

import re
from urllib.parse import quote, unquote

_WITH_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_ALIAS = re.compile(r"([a-z][a-z0-9-]{0,19})!(.*)", re.DOTALL)
_OWN_SCHEME = "concento"
_SKILL_SCHEME = "skill"
_EXPRESSION = re.compile(r"(\{[^{}]*\})")


def publish_uri(alias: str, uri: str) -> str:
    """The URI agents see for a server's own."""
    match = _WITH_AUTHORITY.fullmatch(uri)
    if match is not None and match[1] != _OWN_SCHEME:
        return f"{match[1]}://{_marked(match[1], alias)}{match[2]}"
    return f"{_OWN_SCHEME}://{alias}!/{_encoded(uri)}"


def publish_template(alias: str, template: str) -> str:
    """The template agents see; expanding it and resolving gives what expanding the server's own gives.

    Exact where the template begins with `scheme://`. Of any other only the literals are encoded, for an expression must
    stay one; what its expansion percent-encodes is then decoded once too much: `urn:{id}` with `a b` resolves to
    `urn:a b`, not `urn:a%20b`.
    """
    scheme, separator, rest = template.partition("://")
    if separator and "{" not in scheme and scheme != _OWN_SCHEME and _WITH_AUTHORITY.fullmatch(template):
        return f"{scheme}://{_marked(scheme, alias)}{rest}"
    parts = _EXPRESSION.split(template)
    encoded = "".join(part if index % 2 else _encoded(part) for index, part in enumerate(parts))
    return f"{_OWN_SCHEME}://{alias}!/{encoded}"


def resolve_uri(uri: str) -> tuple[str, str] | None:
    """The alias and the server's own URI behind a public one; None if it is not public."""
    match = _WITH_AUTHORITY.fullmatch(uri)
    owner = _ALIAS.fullmatch(match[2]) if match is not None else None
    if match is None or owner is None:
        return None
    if match[1] == _SKILL_SCHEME:
        return (owner[1], f"{_SKILL_SCHEME}://{owner[2][1:]}") if owner[2].startswith("/") else None
    if match[1] != _OWN_SCHEME:
        return owner[1], f"{match[1]}://{owner[2]}"
    try:
        return owner[1], unquote(owner[2].removeprefix("/"), errors="surrogatepass")
    except UnicodeDecodeError:
        return None


def _marked(scheme: str, alias: str) -> str:
    return f"{alias}!/" if scheme == _SKILL_SCHEME else f"{alias}!"


def _encoded(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")
