"""What the fixture offers, as the suite names it: tools, prompts, resources, and what they hold."""

import json
from typing import Any

from tests.conformance.asking import STRING
from tests.servers.sdk_server import PIXEL

Item = dict[str, Any]

NUMBER = {"type": "number"}
SILENCE = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAESsAABErAAABAAgAZGF0YQIAAACAgA=="  # two samples of it
WORDS = ["paris", "park", "party"]

SCHEMA_2020: Item = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", "type": "object", "properties": {"street": STRING, "city": STRING}}},
    "properties": {
        "name": STRING,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": STRING,
        "email": STRING,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _tool(name: str, description: str, schema: Item | None = None, /, **properties: Item) -> Item:
    plain: Item = {"type": "object", "properties": properties}
    if properties:
        plain["required"] = list(properties)
    return {"name": name, "description": description, "inputSchema": schema or plain}


TOOLS: list[Item] = [
    _tool("test_simple_text", "A text"),
    _tool("test_image_content", "An image"),
    _tool("test_audio_content", "A sound"),
    _tool("test_embedded_resource", "A resource within the result"),
    _tool("test_multiple_content_types", "A text, an image and a resource"),
    _tool("test_tool_with_logging", "Logs three lines"),
    _tool("test_logging_tool", "Logs a line"),
    _tool("test_error_handling", "Runs and fails"),
    _tool("test_tool_with_progress", "Tells of its progress"),
    _tool("test_reconnection", "Ends its stream before it answers"),
    _tool("test_trigger_tool_change", "Adds a tool, or removes it again"),
    _tool("test_trigger_prompt_change", "Adds a prompt, or removes it again"),
    _tool("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", SCHEMA_2020),
    _tool("test_mirrored_parameter", "Has a mirrored parameter", region={**STRING, "x-mcp-header": "Region"}),
    _tool("test_missing_capability", "Needs sampling"),
    _tool("test_sampling", "Asks the client's model", prompt=STRING),
    _tool("test_elicitation", "Asks the user", message=STRING),
    _tool("test_streaming_elicitation", "Tells of its progress, then asks the user"),
    _tool("test_elicitation_sep1034_defaults", "Asks the user, with defaults"),
    _tool("test_elicitation_sep1330_enums", "Asks the user to choose"),
    _tool("test_input_required_result_elicitation", "Asks the user's name"),
    _tool("test_input_required_result_sampling", "Asks the client's model"),
    _tool("test_input_required_result_list_roots", "Asks for the client's roots"),
    _tool("test_input_required_result_request_state", "Asks, and has its state brought back"),
    _tool("test_input_required_result_multiple_inputs", "Asks three things at once"),
    _tool("test_input_required_result_multi_round", "Asks one thing after the other"),
    _tool("test_input_required_result_tampered_state", "Asks, and takes no other state than its own"),
    _tool("test_input_required_result_capabilities", "Asks what the client declared it can answer"),
    _tool("greet", "Greets, at once", name=STRING),
    _tool("slow_compute", "Sleeps, as a task where the client knows tasks", seconds=NUMBER),
    _tool("failing_job", "A task that runs and fails"),
    _tool("protocol_error_job", "A task that ends in a protocol error"),
    _tool("confirm_delete", "A task that asks the user", filename=STRING),
    _tool("multi_input", "A task that asks the user two things at once"),
    _tool("test_tool_with_task", "Asks the user, then becomes a task"),
]

PROMPTS: list[Item] = [
    {"name": "test_simple_prompt", "description": "A text"},
    {
        "name": "test_prompt_with_arguments",
        "description": "Holds its arguments",
        "arguments": [
            {"name": "arg1", "description": "The first", "required": True},
            {"name": "arg2", "description": "The second", "required": True},
        ],
    },
    {
        "name": "test_prompt_with_embedded_resource",
        "description": "Holds a resource",
        "arguments": [{"name": "resourceUri", "description": "Which", "required": True}],
    },
    {"name": "test_prompt_with_image", "description": "Holds an image"},
    {"name": "test_input_required_result_prompt", "description": "Asks the user for its context"},
]

RESOURCES: list[Item] = [
    {"uri": "test://static-text", "name": "static-text", "description": "A text", "mimeType": "text/plain"},
    {"uri": "test://static-binary", "name": "static-binary", "description": "An image", "mimeType": "image/png"},
    {"uri": "test://watched-resource", "name": "watched-resource", "description": "A text", "mimeType": "text/plain"},
]
TEMPLATES: list[Item] = [
    {
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "What its id says",
        "mimeType": "application/json",
    }
]
EXTRA: dict[str, Item] = {
    "tools": _tool("extra", "Comes and goes"),
    "prompts": {"name": "extra", "description": "Comes and goes"},
}

IMAGE: Item = {"type": "image", "data": PIXEL, "mimeType": "image/png"}


def text(said: str) -> Item:
    """One content of a result."""
    return {"type": "text", "text": said}


def embedded(uri: str, said: str, type: str = "text/plain") -> Item:
    """A resource as one content of a result."""
    return {"type": "resource", "resource": {"uri": uri, "mimeType": type, "text": said}}


CONTENTS: dict[str, list[Item]] = {
    "test_simple_text": [text("This is a simple text response for testing.")],
    "test_image_content": [IMAGE],
    "test_audio_content": [{"type": "audio", "data": SILENCE, "mimeType": "audio/wav"}],
    "test_embedded_resource": [embedded("test://embedded-resource", "This is an embedded resource content.")],
    "test_multiple_content_types": [
        text("Multiple content types test:"),
        IMAGE,
        embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
    ],
}
"""Tools that always answer the same."""


def contents(uri: str) -> Item | None:
    """What a resource holds; None if there is no such resource."""
    if uri == "test://static-binary":
        return {"uri": uri, "mimeType": "image/png", "blob": PIXEL}
    if uri.startswith("test://template/") and uri.endswith("/data"):
        id = uri.removeprefix("test://template/").removesuffix("/data")
        held = json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})
        return {"uri": uri, "mimeType": "application/json", "text": held}
    texts = {
        "test://static-text": "This is the content of the static text resource.",
        "test://watched-resource": "Watched resource content.",
    }
    return {"uri": uri, "mimeType": "text/plain", "text": texts[uri]} if uri in texts else None


def messages(prompt: str, arguments: dict[str, str]) -> list[Item] | None:
    """What a prompt says; None if there is no such prompt."""
    if prompt in ("test_simple_prompt", "extra"):
        return [said(text("This is a simple prompt for testing."))]
    if prompt == "test_prompt_with_arguments":
        return [said(text(f"Prompt with arguments: arg1='{arguments['arg1']}', arg2='{arguments['arg2']}'"))]
    if prompt == "test_prompt_with_embedded_resource":
        resource = embedded(arguments["resourceUri"], "Embedded resource content for testing.")
        return [said(resource), said(text("Please process the embedded resource above."))]
    if prompt == "test_prompt_with_image":
        return [said(IMAGE), said(text("Please analyze the image above."))]
    return None


def said(content: Item) -> Item:
    """One message of a prompt."""
    return {"role": "user", "content": content}
