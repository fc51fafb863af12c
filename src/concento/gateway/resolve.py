"""From what a caller named to what a server is asked: per method, the target of a call.

What is hidden and what does not exist get the same answer, byte for byte.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Raw, Struct, structs

from ..catalog import rewrite
from ..catalog.logical import Logical
from ..catalog.slices import Entry
from ..catalog.view import Binding, TenantView
from ..model.call import Call, Reply, Request, Result
from ..model.errors import InvalidParams, MethodNotFound, Quarantined, Unavailable
from ..model.extensions import SKILLS, not_bridged
from ..model.inventory import Kind
from ..model.logical import Adapter, Bound, ResultMap
from ..model.policy import ItemKind
from ..model.task import TASKS_EXTENSION, TaskRef
from ..protocol.headers import check_params, mirror_params
from ..protocol.jsonrpc import EMPTY_OBJECT, raw, read_once
from ..routing.adapt import adapted, answered
from .task_refs import unknown_task


class Target(Struct, frozen=True):
    """A server, what it is asked, and how its answer is put into the caller's names.

    `binding` is what of the server's it is about, and `kind` what that is; its `own` is empty where it is no one thing.
    """

    kind: ItemKind
    binding: Binding
    request: Request
    rewritten: str | None
    """The method whose result needs public URIs; None where the caller uses the server's own names."""
    result: ResultMap | None = None
    """How its result becomes that of the logical tool that was asked for."""

    @property
    def alias(self) -> str:
        """The server's alias."""
        return self.binding.server.alias

    @property
    def label(self) -> str | None:
        """The server's own name of the tool, for records; other things have none."""
        return self.binding.own or None if self.kind == "tool" else None

    @property
    def label_of_arm(self) -> str:
        """What it is called as an arm of an experiment."""
        return f"{self.alias}.{self.binding.own}"

    def publish(self, reply: Reply) -> Reply:
        """The reply in the caller's names."""
        if self.result is not None and isinstance(reply, Result):
            reply = answered(reply, self.result)
        if self.rewritten is None or not isinstance(reply, Result):
            return reply
        if not reply.links and self.rewritten != "resources/read":
            return reply
        published = rewrite.publish_result(self.rewritten, reply.raw, self.alias)
        return reply if published is reply.raw else Result(Raw(published), reply.kind, reply.failed)


def _tool(view: TenantView, call: Call) -> Target:
    binding = view.tool(call.name or "")
    if binding is None:
        if view.is_held(call.name or ""):
            raise Quarantined(f"The tool {call.name} is held back: its definition waits for approval")
        raise _unknown(view, "tools", "tool", call.name or "")
    return tool_target(view, call, binding)


def tool_target(view: TenantView, call: Call, binding: Binding) -> Target:
    """What a tool's server is asked. Errors: InvalidParams, where header fields and arguments contradict."""
    bound: Bound | None = None
    if binding.logical is not None:
        bound = _bound(binding.logical, binding)
        if bound.adapter is not None:
            call = structs.replace(call, params={**call.params, "arguments": _adapted(call, bound.adapter)})
    headers: tuple[tuple[str, str], ...] = ()
    entry = binding.entry
    if isinstance(entry, Entry) and entry.params:
        arguments = call.params.get("arguments")
        if call.mirrored is not None and binding.logical is None:
            check_params(entry.params, arguments, call.mirrored)
        headers = mirror_params(entry.params, arguments)
    target = _target(view, call, "tool", binding, headers)
    return target if bound is None or bound.result is None else structs.replace(target, result=bound.result)


def _bound(logical: Logical, binding: Binding) -> Bound:
    """Which of a logical tool's it is."""
    for choice in logical.choices:
        if choice.entry is binding.entry:
            return choice.bound
    raise AssertionError("a choice is one of its logical tool's")


def _adapted(call: Call, adapter: Adapter) -> Raw:
    """The arguments of a call of a logical tool as one of its tools takes them."""
    arguments = read_once(call.params.get("arguments", EMPTY_OBJECT))
    if arguments is None:
        raise InvalidParams("The arguments must be an object")
    return adapted(arguments, adapter)


def _prompt(view: TenantView, call: Call) -> Target:
    binding = view.prompt(call.name or "")
    if binding is None:
        raise _unknown(view, "prompts", "prompt", call.name or "")
    return _target(view, call, "prompt", binding)


def _resource(view: TenantView, call: Call) -> Target:
    binding = view.resource(call.name or "")
    if binding is None:
        raise _unknown(view, "resources", "resource", call.name or "")
    return _target(view, call, "resource", binding)


def _completion(view: TenantView, call: Call) -> Target:
    kind, binding, params = rewrite.own_completion_params(call.params, view)
    request = Request(call.method, params, call.meta, None, call.log_level, profile=call.profile, owner=call.principal)
    return Target(kind, binding, request, None)


def task_target(view: TenantView, call: Call, ref: TaskRef) -> Target:
    """The server whose task a call is about, in its own id. Errors: InvalidParams, if its tool is not seen any more."""
    binding = view.tool_of(ref.alias, ref.tool)
    if binding is None:
        raise unknown_task()
    params = {**call.params, "taskId": raw(ref.own)}
    request = Request(call.method, params, call.meta, ref.own, profile=call.profile, owner=call.principal)
    return Target("tool", binding, request, None)


def _target(
    view: TenantView, call: Call, kind: ItemKind, binding: Binding, headers: tuple[tuple[str, str], ...] = ()
) -> Target:
    params = call.params
    if binding.own != call.name:
        params = {**params, "uri" if kind == "resource" else "name": raw(binding.own)}
    request = Request(
        *(call.method, params, call.meta, binding.own, call.log_level, headers),
        *(call.profile, call.principal, call.answers),
        task_only=binding.entry is not None and binding.entry.task_only,
    )
    return Target(kind, binding, request, None if view.endpoint.kind == "server" else call.method)


def _unknown(view: TenantView, kind: Kind, noun: str, name: str) -> InvalidParams | Unavailable:
    alias = view.pending(name)
    if alias is not None:
        return rewrite.not_known(view, alias, kind)
    nearest = view.nearest(kind, name)
    hint = f". Nearest: {', '.join(nearest)}" if nearest else ""
    return InvalidParams(f"Unknown {noun}: {name[:256]}{hint}")


def unknown_method(view: TenantView, method: str) -> MethodNotFound:
    """Why the hub does not answer a method: it relays none that it does not know."""
    extension = not_bridged(method)
    if extension is not None:
        whose = [f"{alias!r}" for alias in view.extensions.get(extension, ())]
        told = f"; connect to {', '.join(whose)} without the hub for it" if whose else ""
        return MethodNotFound(f"{method[:64]!r} is of the extension {extension}, which Concento does not bridge{told}")
    others = [name for name in view.extensions if name not in (SKILLS, TASKS_EXTENSION)]
    told = f"; of the extensions {', '.join(others)} it relays what needs no methods" if others else ""
    return MethodNotFound(f"Concento does not know the method {method[:64]!r} and bridges it to no server{told}"[:1024])


def with_params(target: Target, params: Mapping[str, Raw | str]) -> Target:
    """The same with other parameters: header fields that repeat an argument say what it is now."""
    entry, headers = target.binding.entry, target.request.headers
    if isinstance(entry, Entry) and entry.params:
        arguments = params.get("arguments")
        headers = mirror_params(entry.params, arguments if isinstance(arguments, Raw) else None)
    return structs.replace(target, request=structs.replace(target.request, params=params, headers=headers))


Resolve = Callable[[TenantView, Call], Target]

RESOLVE: Final[Mapping[str, Resolve]] = {
    "tools/call": _tool,
    "prompts/get": _prompt,
    "resources/read": _resource,
    "completion/complete": _completion,
}
"""Methods that a server answers."""
