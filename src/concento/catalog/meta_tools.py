"""The hub's own tools, by which agents find and call others, as they are listed."""

from typing import Any, Final

import msgspec

from ..model.search import CONNECT_ACCOUNT, DISCONNECT_ACCOUNT, FEEDBACK, FIND_TOOLS, USE_CAPABILITY

TOOLS_MAX: Final = 50
"""Most tools that one search brings."""
TOOLS_DEFAULT: Final = 5
BUDGET_MAX: Final = 100_000
BUDGET_DEFAULT: Final = 4_000
QUERY_CHARS_MAX: Final = 2_000
BYTES_PER_TOKEN: Final = 4
"""What a token is taken to be in figures of cost: about what tokenizers make of English text and JSON. An estimate."""

_encode = msgspec.json.Encoder().encode

_QUERY: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": QUERY_CHARS_MAX,
    "description": "What is needed, in plain words, such as: see who changed a line of a file last",
}
_FOUND: Final = {
    "type": "object",
    "properties": {
        "fits": {"type": "boolean", "description": "Whether the first is likely enough to be the right one"},
        "message": {"type": "string"},
        "tools": {
            "type": "array",
            "description": "Best first: name, description and inputSchema; without a schema where the budget ended",
            "items": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        },
        "omitted": {"type": "integer", "description": "How many more were found, and left out by the budget"},
    },
    "required": ["fits", "message", "tools"],
}


def _tool(name: str, title: str, description: str, schema: dict[str, Any], **more: Any) -> bytes:
    return _encode({"name": name, "title": title, "description": description, "inputSchema": schema, **more})


DEFINITIONS: Final[dict[str, bytes]] = {
    FIND_TOOLS: _tool(
        FIND_TOOLS,
        "Find tools",
        "Find the tools that do what you need. Say it in plain words; you get the tools that fit best, with their "
        "schemas. Call one by its name, or, if you can't call what was not listed, with use_capability and its name as "
        "`tool`.",
        {
            "type": "object",
            "properties": {
                "query": _QUERY,
                "limit": {"type": "integer", "minimum": 1, "maximum": TOOLS_MAX, "default": TOOLS_DEFAULT},
                "max_tokens": {
                    "type": "integer",
                    "minimum": 100,
                    "maximum": BUDGET_MAX,
                    "default": BUDGET_DEFAULT,
                    "description": "About how long the answer may be",
                },
            },
            "required": ["query"],
            "additionalProperties": False,
        },
        outputSchema=_FOUND,
        annotations={"readOnlyHint": True, "openWorldHint": False},
    ),
    USE_CAPABILITY: _tool(
        USE_CAPABILITY,
        "Use a capability",
        "Have something done without knowing which tool does it: say what you need and give the arguments. Where one "
        "read-only tool clearly fits, it is called and you get its result. Else nothing is called and you get the "
        "candidates with their schemas: choose one and call this again with its name as `tool`.",
        {
            "type": "object",
            "properties": {
                "capability": _QUERY,
                "arguments": {"type": "object", "description": "The arguments of the tool", "default": {}},
                "tool": {"type": "string", "description": "The name of the tool that you chose; it alone is called"},
            },
            "anyOf": [{"required": ["capability"]}, {"required": ["tool"]}],
            "additionalProperties": False,
        },
    ),
    FEEDBACK: _tool(
        FEEDBACK,
        "Give feedback",
        "Say whether the last result of a tool was of use to you. It helps to choose between servers on trial.",
        {
            "type": "object",
            "properties": {
                "tool": {"type": "string", "description": "The name of the tool that you called"},
                "useful": {"type": "boolean", "description": "Whether its last result was of use"},
            },
            "required": ["tool", "useful"],
            "additionalProperties": False,
        },
    ),
}


def account_tools(aliases: tuple[str, ...]) -> dict[str, bytes]:
    """The tools by which users connect accounts at the servers of these aliases, and let them go."""
    schema = {
        "type": "object",
        "properties": {"server": {"type": "string", "enum": list(aliases)}},
        "required": ["server"],
        "additionalProperties": False,
    }
    connect = _tool(
        CONNECT_ACCOUNT,
        "Connect an account",
        "Have the user connect their own account at a server, in a browser. Tools of that server work, and may only be "
        "listed, once that is done.",
        schema,
        annotations={"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True},
    )
    disconnect = _tool(
        DISCONNECT_ACCOUNT,
        "Disconnect an account",
        "Forget the user's account at a server, and have its tokens revoked there.",
        schema,
        annotations={"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True},
    )
    return {CONNECT_ACCOUNT: connect, DISCONNECT_ACCOUNT: disconnect}


HOW_TO_FIND: Final = (
    "Tools are found here by what they do: call find_tools with what you need in plain words, then call a tool that it "
    "names, or use_capability with that name as `tool`."
)
"""What an endpoint says of itself where tools have to be found."""


def tokens(texts: "tuple[bytes, ...]") -> int:
    """About how many tokens some JSON costs whoever has to read it."""
    return sum(map(len, texts)) // BYTES_PER_TOKEN
