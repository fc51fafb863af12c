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
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufe00-\ufe0e"  # drawn as nothing
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"  # zero width; order of writing
    "\U000e0000-\U000e0fff"  # tags: a whole alphabet that nobody sees
    "\U0001d173-\U0001d17a\U0001bca0-\U0001bca3"
)
_PICTURE: Final = "\U0001f000-\U0001faff\u2600-\u27bf"
_JOINED: Final = re.compile(f"(?<=[{_PICTURE}\ufe0f])\u200d(?=[{_PICTURE}])")
"""A joiner between two pictures makes one of them: a family, a flag. It stays."""
_DRAWN: Final = f"0-9#*\u00a9\u00ae\u203c-\u3299{_PICTURE}"
"""What U+FE0F after it has drawn as a picture; after anything else it hides something."""
_HIDDEN_ONE: Final = re.compile(f"\x1b\\[[0-9;]{{0,32}}[A-Za-z]|[{_HIDDEN}]|(?<![{_DRAWN}])\ufe0f")
_MAY_HIDE: Final = re.compile(rb"\\u|\\b|\\f|[\xc2\xcd\xd8\xe1\xe2\xe3\xef\xf0\xf3\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SEARCHED_CHARS: Final = 20_000


def cleaned(raw: bytes, key: str = "name") -> bytes:
    """A definition without hidden characters; the very same bytes if it has none.

    `key` is what the server is asked by, which stays: another spelling would be another thing. A definition that may
    have hidden characters and can't be read becomes an empty object: nobody can say what it would tell.
    """
    if _MAY_HIDE.search(raw) is None:
        return raw
    try:
        value = _decode(raw)
        if not isinstance(value, dict) or not any(map(_has_hidden, _texts(value))):
            return raw
        return _encode({name: inner if name == key else _clean(inner) for name, inner in value.items()})
    except (msgspec.DecodeError, RecursionError, ValueError):
        return b"{}"


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


def _texts(value: Any) -> Iterator[str]:
    """Every text within a value, names of members too; without recursion, since a server chose the depth."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, list):
            left += reversed(one)
        elif isinstance(one, dict):
            for name, inner in one.items():
                yield name
                left.append(inner)


# -- what is suspicious

_SOMEWHERE: Final = (
    r"(?:(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}\.\w|\b0x[0-9a-z]{8}|\b(?:https?|s3|ftp|postgres)://|"
    r"\b[\w-]{1,64}\.[\w-]{1,64}\.\w{2,24}/)"
)
_TRICKS: Final[dict[str, tuple[str, ...]]] = {
    "tags that pretend to be the system's": (
        r"<\s*/?\s*(?:important|system|secret|instructions?|hidden|admin|assistant|critical|prompt)\b[^>]{0,40}>",
        r"\[(?:system|inst|/inst|important)\]|<\|[a-z_]{2,20}\|>|[\"']role[\"']\s*:\s*[\"'](?:system|developer|user)",
        r"#{5,}|\*{3} ?[a-z]+ override|\bend of (?:the )?(?:tool list|description|prompt)\b",
    ),
    "tells an agent to forget its instructions": (
        r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,30}"
        r"\b(?:previous|prior|above|earlier|all|any|system|your|safety|user'?s?)\b.{0,25}"
        r"\b(?:instructions?|prompts?|guidelines|polic(?:y|ies)|directives?|restrictions|requests?|safety rules?)\b",
        r"\b(?:guidelines?|guidance|instructions?|rules?)\b.{0,40}\b(?:void|no longer (?:apply|hold)|less important)\b",
        r"\b(?:above|over|more important than) (?:anything|everything|what|all)\b.{0,20}\bthe user\b",
    ),
    "asks for silence": (
        r"\b(?:do not|don'?t|never|without|no need to|need not)\b.{0,25}"
        r"\b(?:tell|mention|inform|notify|reveal|disclos|alert|discuss|acknowledg|bother|troubl|report)\w*\b.{0,40}"
        r"\b(?:users?|humans?|anyone|them|this|that|it|you|so|accounting|maintainers)\b",
        r"\b(?:keep|kept)\b.{0,20}\b(?:secret|hidden|between us|confidential)\b|\bstay quiet\b|\bno need to mention\b",
        r"\b(?:silently|quietly|with no visible notice)\b.{0,40}"
        r"\b(?:send|read|copy|call|forward|include|pass|append|upload|set aside)|, (?:silently|quietly)[.,]",
        r"\bout of (?:the|your|its) (?:reply|answer|response|preview)\b",
        r"\bsay nothing\b|\bnever (?:mention|write in the chat)\b",
        r"\b(?:humans?|users?|people|nobody|reviewers?)\b.{0,12}"
        r"\b(?:can'?t|cannot|won'?t|will not|don'?t) (?:see|read)\b",
        r"\bif (?:the user asks?|asked)\b.{0,40}\b(?:say|answer|state|claim|reply)\b|\bnobody (?:sees|notices)\b",
    ),
    "goes round the user's consent": (
        r"\b(?:do not|don'?t|without|never|no)\b.{0,12}"
        r"\b(?:ask(?:ing)? the user|wait(?:ing)? for approval|confirm\w*|consent)\b",
        r"\bauto-?approve\b|\b(?:skip|disable|accept|turn off|switch off)\b.{0,30}"
        r"\b(?:approval|confirmation|consent|sandbox|antivirus|safety)\b",
    ),
    "wants what is secret": (
        r"(?:^|[\s\"'`(/=~])\.(?:ssh|aws|gnupg|kube|netrc|npmrc|config/gcloud)(?:/|\b)|\bauthorized_keys\b",
        r"\bid_(?:rsa|ed25519|ecdsa)\b|/etc/(?:passwd|shadow)\b",
        r"\b(?:cookie database|recovery phrase|seed phrase|printenv)\b",
        r"\b(?:read|send|include|pass|copy|provide|attach|upload|steal|leak|fetch|dump|supply|give|hand|fill|put|take|"
        r"add)\b.{0,60}\b(?:api[ _-]?keys?|private keys?|credentials|passwords?|access tokens?|session tokens?|"
        r"cookies?|environment variables|mcp\.json|system prompt|card numbers?|passport number|"
        r"home (?:folder|directory)|\.env|[A-Z]{2,}_(?:API_)?(?:KEY|TOKEN|SECRET))\b.{0,80}"
        r"\b(?:to|as|in|into|at|parameter|argument|field|before|so that)\b",
        r"\b(?:whole|entire|complete|last \w+|previous|opening) (?:chat|conversation|messages?|history)\b",
        r"\b(?:contents?|text|history|transcript)\b.{0,30}\b(?:every|all|any|open|recent)\b.{0,30}"
        r"\b(?:documents?|files?|notes|tabs|conversation)\b.{0,60}\b(?:as|in|into|to|under|with)\b [`\"']",
    ),
    "commands before or beside other tools": (
        r"\b(?:before|whenever|when|after|prior to|instead of)\b.{0,40}"
        r"\b(?:using|calling|invoking|running|you use|you call|any other|every|all other|you answer|you think)\b.{0,60}"
        r"\b(?:must|always|first|have to|need to|are required to|call this|use this)\b",
        r"\b(?:must|always|first)\b.{0,25}\b(?:call(?:ed)?|use[d]?|invoked?|run)\b.{0,25}"
        r"\b(?:this tool\b.{0,40}\b(?:before|any|every|other|all)|before any)\b",
        r"\b(?:at the start|start|beginning|end) of every (?:conversation|turn|session)\b|\bafter (?:each|every)"
        r"(?: single)? (?:user )?turn\b",
        r"\b(?:choose|prefer|use) (?:this|it|this tool) (?:tool )?(?:over|instead of) (?:all|any|every)\b",
    ),
    "speaks of other servers' tools": (
        r"\b(?:other|another|all|every|any)\b.{0,20}\b(?:tools?|servers?|providers?)\b.{0,60}"
        r"\b(?:are|is|were|has been|have been)\b.{0,20}"
        r"\b(?:deprecated|broken|unsafe|compromised|disabled|replaced|insecure|superseded|forbidden)\b",
        r"\boverrides? the\b.{0,30}\btool\b|\b(?:only|more) trusted\b|\bhave been superseded\b",
        r"\btool.{0,30}\bon the \w+ server\b",
        r"\b(?:every|any|another|each) other server\b|\b(?:through|from|on|of) the \w+ server(?:'s)?\b.{0,80}"
        r"\b(?:malicious|dropped|instead|first|hand|use)\b",
    ),
    "sends things elsewhere": (
        r"\b(?:redirect|forward|bcc|cc|replace|swap|change|exchanged?|mirror(?:ed)?|blind copy|copy|cop(?:ies|ied)|"
        r"invite|send|sent|post|upload\w*|export|share|route|deliver|shown?|placed)\b[^.]{0,80}" + _SOMEWHERE,
        _SOMEWHERE + r"[^.]{0,60}\b(?:as a blind copy|likes to be kept|in the loop|copy of|a copy)\b",
        r"\b(?:replace|swap|change|replaced|instead of)\b.{0,50}\b(?:recipient|payee|iban|bank account|destination|"
        r"the number the user)\b",
    ),
    "speaks as the system": (
        r"\b(?:you|the (?:assistant|agent|model|ai|llm|user)|claude|gpt|copilot) (?:are|is) now\b",
        r"\bnew (?:system |user )?(?:instructions?|message|guidelines?)\s*:|\b(?:system|developer|admin) "
        r"(?:prompt|message|override|notice)\b\s*[:\d]",
        r"(?:^|[.!] )(?:system|admin|operator|developer|agent)\s*: |\b(?:security|system) notice from\b",
        r"\b(?:developer|god|admin|jailbreak|dan) mode\b|\b(?:supervisor|operator) of this (?:agent|assistant)\b",
        r"\b(?:note to|for) the (?:ai|model|agent|assistant|llm)\b|\(model(?: only)?\s*:",
        r"\b(?:treat|execute|obey|carry|act)\b.{0,40}\b(?:as though they came|as (?:a )?(?:message|system|commands?)|"
        r"system level|instructions?; execute)\b",
        r"\bthe (?:model|agent|ai|llm|caller|assistant) (?:must|has to|should|needs to|shall)\b",
    ),
    "hides text from people": (
        r"data:text/[a-z]+;base64,|\bbase64\b.{0,30}\b(?:decode|execute|run|above|below)\b|\bdecode the base64\b",
        r"<!--(?:(?!-->).){12,400}?(?:-->|$)|display\s*:\s*none|visibility\s*:\s*hidden|<details\b|\[//\]: ?#",
        r"\n{12,}|[ \t]{120,}|(?:\b\w ){10,}",
    ),
    "runs what it fetches": (
        r"\b(?:curl|wget)\b[^\n]{0,120}\|\s*(?:ba|z|da)?sh\b|\beval\s*\(\s*(?:atob|base64|requests\.get)",
        r"\brm -rf\s+[~/]|\bnohup\b|--index-url https?:|\bmake it executable\b|\btrust_remote_code\b",
        r"\b(?:download|fetch|install)\b[^.]{0,40}" + _SOMEWHERE,
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
