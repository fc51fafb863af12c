"""Texts of a configuration that stand for something else: what each has to look like, and what it is read as.

Each raises ValueError with what it expects, never with the text: it may be a secret.
"""

import posixpath
import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from ...model.config import Address
from ...model.search import META_TOOLS

ALIAS: Final = "[a-z][a-z0-9-]{0,19}"
TOOL_NAME: Final = "[A-Za-z0-9_-]{1,128}"
HEADER_NAME: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}"
_HOST_NAME: Final = r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?"


def address(text: str) -> Address:
    expected = "expected HOST:PORT, such as 127.0.0.1:7400"
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):([0-9]{1,5})", text)
    if match is None:
        raise ValueError(expected)
    if int(match[2]) > 65535:
        raise ValueError(f"expected a port up to 65535, found {match[2]}")
    host = match[1].strip("[]").lower()
    if match[1].startswith("["):
        _ip(host, expected)
    return Address(host, int(match[2]))


def host_name(text: str) -> str:
    expected = "expected the name or address of a host, without scheme and port, such as hub.example.com"
    host = text.lower()
    if ":" in host:  # an IPv6 address, as Host headers write it
        return f"[{_ip(host.removeprefix('[').removesuffix(']'), expected)}]"
    if not re.fullmatch(_HOST_NAME, host):
        raise ValueError(expected)
    return host


def _ip(text: str, expected: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError(expected) from None


def http_url(text: str) -> str:
    expected = "expected an http:// or https:// URL, such as https://docs.example.com/mcp"
    if not re.fullmatch(r"[\x21-\x7e]{1,4096}", text):
        raise ValueError(expected)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in ("http", "https") or not host or parts.fragment:
        raise ValueError(expected)
    if "@" in parts.netloc:
        raise ValueError("a URL can't hold a user or password here; use credentials or headers")
    return text


def state_file(text: str) -> str:
    if text.startswith(("postgres:", "postgresql:")):
        raise ValueError("PostgreSQL is not available in this version yet; expected sqlite:///FILE")
    match = re.fullmatch(r"sqlite:///([^\x00]*[^\x00/])", text)
    if match is None:
        raise ValueError("expected sqlite:///FILE, relative to this file, or sqlite:////FILE from the root, or off")
    return match[1]


def pattern(text: str) -> str:
    if set(text) & set("[]{}"):
        raise ValueError("a pattern knows the wildcards * and ? only; list several patterns instead")
    server, dot, tool = text.partition(".")
    if text != "*" and not (server and dot and tool):
        raise ValueError("expected a pattern over server.tool, such as git.* or git.push*; * alone is everything")
    if not re.fullmatch("[a-z0-9*?-]+", server):
        raise ValueError("expected the alias of a server before the first dot, with * and ? as wildcards")
    return text


def view_pattern(text: str) -> str:
    """A pattern over server.tool, or over the names of logical tools, which have no dot."""
    if "." in text or text == "*":
        return pattern(text)
    if not re.fullmatch("[A-Za-z0-9_*?-]+", text):
        raise ValueError("expected a pattern over server.tool, such as git.*, or the name of a logical tool")
    return text


def tool_of_server(text: str) -> tuple[str, str]:
    alias, dot, own = text.partition(".")
    if not dot or not own or not re.fullmatch(ALIAS, alias):
        raise ValueError("expected a server's alias and its own name of a tool with a dot between: brave.search")
    return alias, own


def logical_name(text: str) -> str:
    if "__" in text:
        raise ValueError("the name of a logical tool can't have __ in it: so begin the names of servers' tools")
    if text in META_TOOLS:
        raise ValueError(f"{text!r} is a name of the hub's own; take another")
    if re.search("_[0-9a-f]{8}$", text):
        raise ValueError("the name of a logical tool can't end in _ and eight hex digits, as altered names do")
    return text


def shared_path(text: str) -> str:
    path = posixpath.normpath(text)
    if path in ("/", "//", "~") or re.match("/(proc|dev|sys)(/|$)", path):
        raise ValueError(f"a sandbox can't be given {path}; name the folders or files below that it needs")
    return path
