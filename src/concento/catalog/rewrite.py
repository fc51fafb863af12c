"""Resource URIs in results, notifications and completion references: the server's own made public, and back.

Only where the protocol carries a URI; text and structured content are the server's business. A result without any is
returned as the very bytes it came in.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from ..model.errors import BadReply, InvalidParams, Unavailable
from ..model.policy import ItemKind
from ..protocol.jsonrpc import check_spelling, raw, read_object, read_once, read_string
from .uris import publish_uri
from .view import Binding, TenantView

_encode = msgspec.json.Encoder().encode
_items = msgspec.json.Decoder(list[Raw])


def publish_result(method: str, result: Raw, alias: str) -> Raw | bytes:
    """A result with public URIs. Errors: BadReply, if it is not of the form its method asks for."""
    if method == "resources/read":
        return _edit(result, "contents", lambda part: _with_uri(part, alias))
    if method == "tools/call":
        return _edit(result, "content", lambda part: _content(part, alias))
    if method == "prompts/get":
        return _edit(result, "messages", lambda part: _message(part, alias))
    return result


def publish_skill(skill: Raw, alias: str) -> Raw:
    """A skill's entry with public URIs. Frontmatter, digests and sizes are of contents, which stay as they are."""
    published = _with_uri(skill, alias)
    if _is_list(_object(published).get("resources")):
        published = Raw(_edit(published, "resources", lambda file: _with_uri(file, alias)))
    return published


def skill_uris(skill: Raw) -> list[str]:
    """The URIs of a skill and of its files. Errors: BadReply, where one is missing."""
    members = _object(skill)
    files = members.get("resources")
    listed = _items.decode(files) if files is not None and _is_list(files) else []
    uris = [read_string(one.get("uri")) for one in (members, *map(_object, listed))]
    named = [uri for uri in uris if uri is not None]
    if len(named) < len(uris):
        raise BadReply("The server sent a skill, or a file of one, that has no URI")
    return named


def resource_uri(resource: Raw) -> str:
    """The URI of a listed resource. Errors: BadReply, if it has none."""
    uri = read_string(_object(resource).get("uri"))
    if uri is None:
        raise BadReply("The server sent a resource that has no URI")
    return uri


def publish_resource(resource: Raw, alias: str) -> Raw:
    """A listed resource with its public URI."""
    return _with_uri(resource, alias)


def _is_list(part: Raw | None) -> bool:
    return part is not None and bytes(part)[:1] == b"["


def _edit(result: Raw, member: str, edit: Any) -> Raw | bytes:
    members = _object(result)
    if member not in members:
        return result
    try:
        parts = _items.decode(members[member])
    except (msgspec.DecodeError, RecursionError):
        raise BadReply(f"The server sent a result whose {member!r} is no list") from None
    edited = [edit(part) for part in parts]
    if all(new is old for new, old in zip(edited, parts, strict=True)):
        return result
    return _encode({**members, member: edited})


def _content(part: Raw, alias: str) -> Raw:
    members = _object(part)
    type = read_string(members.get("type"))
    if type == "resource_link":
        return _with_uri(part, alias)
    if type == "resource" and "resource" in members:
        return Raw(_encode({**members, "resource": _with_uri(members["resource"], alias)}))
    return part


def _message(part: Raw, alias: str) -> Raw:
    members = _object(part)
    content = members.get("content")
    if content is None:
        return part
    if bytes(content)[:1] == b"[":
        return Raw(_encode({**members, "content": [_content(one, alias) for one in _items.decode(content)]}))
    edited = _content(content, alias)
    return part if edited is content else Raw(_encode({**members, "content": edited}))


def _with_uri(part: Raw, alias: str) -> Raw:
    members = _object(part)
    uri = read_string(members.get("uri"))
    if uri is None:
        return part
    return Raw(_encode({**members, "uri": publish_uri(alias, uri)}))


def _object(part: Raw) -> dict[str, Raw]:
    members = read_object(part)
    if members is None:
        raise BadReply("The server sent a result that is not of its method's form")
    return members


def own_completion_params(
    params: Mapping[str, Raw], view: TenantView
) -> tuple[ItemKind, Binding, dict[str, Raw | str]]:
    """What a completion is for, whose it is, and the parameters in its server's own names.

    Errors: InvalidParams; Unavailable, if the server that could hold the name is not known yet.
    """
    ref = read_once(params.get("ref", Raw(b"")))
    check_spelling(ref or ())
    type = read_string(ref.get("type")) if ref is not None else None
    if ref is None or type not in ("ref/prompt", "ref/resource"):
        raise InvalidParams("The parameter 'ref' must be a ref/prompt or a ref/resource")
    member = "name" if type == "ref/prompt" else "uri"
    name = read_string(ref.get(member)) or ""
    binding = view.prompt(name) if type == "ref/prompt" else view.template(name) or view.resource(name)
    if binding is None:
        if (alias := view.pending(name)) is not None:
            raise not_known(view, alias, "prompts" if type == "ref/prompt" else "resources")
        raise InvalidParams(f"Unknown {'prompt' if type == 'ref/prompt' else 'resource'}: {name[:256]}")
    kind: ItemKind = "prompt" if type == "ref/prompt" else "resource"
    return kind, binding, {**params, "ref": Raw(_encode({**ref, member: raw(binding.own)}))}


def not_known(view: TenantView, alias: str, kind: str) -> Unavailable:
    """What is said of a server that was never listed: why it can't be, or that it is about to."""
    trouble = view.troubles().get(alias, {})
    if trouble.get("state") == "failing":
        error = trouble.get("error", "not connected").removeprefix(f"The server {alias!r} ")
        return Unavailable(f"The server {alias!r} is failing: {error}", retry_after_s=1)
    return Unavailable(f"The server {alias!r} is still starting; its {kind} are not known yet", retry_after_s=1)
