"""Guards in words: for whoever asks what holds for a call."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from ..model.guards import Action, Guard, Redaction, ResultLimits, Webhook
from .detectors import GROUPS
from .hints import may_destroy
from .item import Item

_ACTIONS: Final[dict[Action, str]] = {"redact": "takes out", "refuse": "ends a call with", "note": "only notes"}


def does(guard: Guard, item: Item) -> str:
    """What a guard does to calls of something."""
    parts = [*_confirm(guard, item), *_result(guard.result), *_redaction(guard.redaction), *_webhook(guard.webhook)]
    return "; ".join(parts) or "does nothing here"


def _confirm(guard: Guard, item: Item) -> Iterable[str]:
    if guard.confirm is None or item.kind != "tool":
        return
    if guard.confirm == "always" or may_destroy(item.annotations):
        yield "has the user agree before it is called"
    else:
        yield "asks no user, since by its hints it destroys nothing"


def _result(limits: ResultLimits | None) -> Iterable[str]:
    if limits is not None and limits.bytes_max is not None:
        yield f"lets results of up to {limits.bytes_max:,} bytes pass"
    if limits is not None and limits.types is not None:
        yield f"lets results of {', '.join(limits.types)} pass"


def _redaction(redaction: Redaction | None) -> Iterable[str]:
    if redaction is not None:
        names = ", ".join([*_names(redaction.detectors), *(name for name, _ in redaction.patterns)])
        sides = " and the ".join(redaction.on)
        yield f"{_ACTIONS[redaction.action]} {names} in the {sides}"


def _names(detectors: tuple[str, ...]) -> Iterable[str]:
    """Detectors by their names, or by that of their group where all of one are there."""
    left = list(detectors)
    for group, members in GROUPS.items():
        if set(members) <= set(left):
            yield group
            left = [name for name in left if name not in members]
    yield from left


def _webhook(webhook: Webhook | None) -> Iterable[str]:
    if webhook is None:
        return
    when = " and ".join(name for name, on in (("before", webhook.before), ("after", webhook.after)) if on)
    parts = urlsplit(webhook.url)  # no more than the host: a path may hold a secret
    otherwise = "keeps back what it can't be asked about" if webhook.on_failure == "refuse" else "lets pass otherwise"
    yield f"asks {parts.scheme}://{parts.netloc} {when}, within {webhook.timeout_s:g} s, and {otherwise}"
