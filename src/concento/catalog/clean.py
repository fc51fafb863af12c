"""What servers say of their tools, without characters that people don't see; and what in it speaks to the agent behind
the user's back. Pure.

An agent reads descriptions as if its user had written them. What is hidden is taken out, always. What is only
suspicious is told, and holds a tool back where its server has to be approved. It finds the known tricks, no more.
Source: hardening T15, T17; figures in docs/approve.md.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode())).decode
"""Numbers stay as they are written, whatever a float can hold."""
_HIDDEN: Final = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 and C1, but for tab and line ends: terminals obey them
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e"  # drawn as nothing
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # zero width; order of writing
    "\U000e0000-\U000e0fff"  # tags: a whole alphabet that nobody sees
    "\U0001d173-\U0001d17a"
)
_HIDDEN_ONE: Final = re.compile(f"[{_HIDDEN}]|\x1b\\[[0-9;]*[A-Za-z]")
_PICTURE: Final = "\U0001f000-\U0001faff\u2600-\u27bf"
_JOINED: Final = re.compile(f"(?<=[{_PICTURE}\ufe0f])\u200d(?=[{_PICTURE}])")
"""A joiner between two pictures makes one of them: a family, a flag. It stays."""
_MAY_HIDE: Final = re.compile(rb"\\u|\\b|\\f|[\xc2\xcd\xd8\xe1\xe2\xef\xf0\xf3\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_KEPT_AS_IT_IS: Final = frozenset({"name", "uri", "uriTemplate"})
"""What a server is asked by: another spelling would be another thing."""
_DEPTH_MAX: Final = 64
_SEARCHED_CHARS: Final = 100_000


def cleaned(raw: bytes) -> bytes:
    """A definition without hidden characters; the very same bytes if it has none.

    One that may have some and can't be read becomes an empty object: nobody can say what it would tell.
    """
    if _MAY_HIDE.search(raw) is None:
        return raw
    try:
        value = _decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return b"{}"
    if not isinstance(value, dict) or not any(_has_hidden(text) for text in _texts(value)):
        return raw
    return _encode({name: inner if name in _KEPT_AS_IT_IS else _clean(inner) for name, inner in value.items()})


def clean_text(text: str) -> str:
    """A text without hidden characters."""
    if not _has_hidden(text):
        return text
    kept = _JOINED.sub("\ue000", text.replace("\ue000", ""))
    return _HIDDEN_ONE.sub("", kept).replace("\ue000", "\u200d")


def _has_hidden(text: str) -> bool:
    return _HIDDEN_ONE.search(_JOINED.sub("", text)) is not None


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    if isinstance(value, dict):
        return {clean_text(name): _clean(inner) for name, inner in value.items()}
    return value


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Every text within a value, names of members too."""
    if isinstance(value, str):
        yield value
    elif depth > _DEPTH_MAX:
        return
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, depth + 1)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _texts(inner, depth + 1)


# -- what is suspicious

_TRICKS: Final[dict[str, tuple[str, ...]]] = {
    "tags that pretend to be the system's": (
        r"<\s*/?\s*(?:important|system|secret|instructions?|hidden|admin|assistant|critical|prompt)\b[^>]{0,40}>",
        r"\[(?:system|inst|/inst|important)\]",
        r"<\|[a-z_]{2,20}\|>",
    ),
    "tells an agent to forget its instructions": (
        r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,30}"
        r"\b(?:previous|prior|above|earlier|all|any|other|system|your|safety|user'?s?)\b.{0,25}"
        r"\b(?:instructions?|prompts?|rules?|guidelines|polic(?:y|ies)|directives?|restrictions|requests?)\b",
    ),
    "asks for silence": (
        r"\b(?:do not|don'?t|never|without)\b.{0,25}"
        r"\b(?:tell|mention|inform|notify|reveal|show|disclos|alert)\w*\b.{0,25}"
        r"\b(?:the )?(?:user|human|anyone|them|this)\b",
        r"\b(?:keep|kept)\b.{0,20}\b(?:secret|hidden|confidential)\b.{0,20}\b(?:from|user)\b",
        r"\bsilently\b.{0,40}\b(?:send|read|copy|call|forward|include|pass|append|upload)\b",
    ),
    "wants what is secret": (
        r"(?:^|[\s\"'`(/=])\.(?:ssh|aws|gnupg|kube|netrc|npmrc|env)(?:/|\b)",
        r"\bid_(?:rsa|ed25519|ecdsa)\b|/etc/(?:passwd|shadow)\b",
        r"\b(?:read|send|include|pass|copy|provide|attach|upload|exfiltrate|steal|leak|fetch|dump)\b.{0,60}"
        r"\b(?:api[ _-]?keys?|private keys?|credentials|passwords?|access tokens?|session cookies?|seed phrases?|"
        r"environment variables|mcp\.json|conversation(?: history)?|chat history|system prompt)\b.{0,80}"
        r"\b(?:to|as|in|into|at|parameter|argument|field|before|so that)\b",
    ),
    "commands before or beside other tools": (
        r"\b(?:before|whenever|when|after|prior to|instead of)\b.{0,40}"
        r"\b(?:using|calling|invoking|running|you use|you call|any other|every|all other)\b.{0,40}\btools?\b.{0,60}"
        r"\b(?:must|always|first|have to|need to|should|call this|use this)\b",
        r"\b(?:must|always|first)\b.{0,25}\b(?:call|use|invoke|run)\b.{0,25}\bthis tool\b.{0,40}"
        r"\b(?:before|any|every|other|all)\b",
    ),
    "changes what other tools do": (
        r"\b(?:other|another|all|every|any)\b.{0,20}\btools?\b.{0,60}\b(?:are|is|were|has been|have been)\b.{0,20}"
        r"\b(?:deprecated|broken|unsafe|compromised|disabled|replaced|insecure)\b",
        r"\b(?:redirect|forward|bcc|cc|replace|change)\b.{0,40}"
        r"\b(?:recipient|e-?mails?|payments?|address|messages?)\b.{0,40}"
        r"(?:[\w.+-]+@[\w-]+\.\w+|0x[0-9a-f]{8,}|https?://)",
    ),
    "speaks as the system": (
        r"\b(?:you|the (?:assistant|agent|model|ai|llm|user)|claude|gpt|copilot) (?:are|is) now\b",
        r"\bnew (?:system )?instructions?\s*:|\bsystem (?:prompt|message|override|notice)\s*:",
        r"\b(?:developer|god|admin|jailbreak|dan) mode\b",
    ),
    "hides text from people": (
        r"data:text/[a-z]+;base64,|\bbase64\b.{0,30}\b(?:decode|execute|run)\b",
        r"<!--.{0,400}?(?:-->|$)",
        r"\n{12,}|[ \t]{120,}",
    ),
    "runs what it fetches": (
        r"\b(?:curl|wget)\b[^\n]{0,120}\|\s*(?:ba|z|da)?sh\b",
        r"\beval\s*\(\s*(?:atob|base64|requests\.get)|\brm -rf\s+[~/]",
    ),
}
_SUSPICIOUS: Final = {
    name: re.compile("|".join(alternatives), re.IGNORECASE | re.DOTALL) for name, alternatives in _TRICKS.items()
}


def suspicions(raw: bytes) -> list[str]:
    """What in a definition looks like a trick, by the names of tricks."""
    try:
        whole = "\n".join(_texts(_decode(raw)))
    except (msgspec.DecodeError, RecursionError):
        return ["can't be read"]
    text = whole[:_SEARCHED_CHARS]
    return [name for name, pattern in _SUSPICIOUS.items() if pattern.search(text)]
