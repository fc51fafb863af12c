"""A scripted server of skills made of files, as the Skills extension has it. Source: SEP-2640."""

import hashlib
from collections.abc import Mapping
from typing import Any

import yaml

from concento.testing.mcp_server import Exchange, Hook

SKILLS = "io.modelcontextprotocol/skills"


class SkillServer:
    """Skills made of files, served as the extension says; `more` goes into its list's result."""

    def __init__(self, files: Mapping[str, bytes], settings: Mapping[str, Any], **more: Any) -> None:
        self.files = files
        self.settings = settings
        self.more = more
        self.heard: list[dict[str, Any]] = []
        """The parameters of each `skills/list`, `_meta` and all."""

    def entry(self, uri: str) -> dict[str, Any]:
        root = uri.removesuffix("SKILL.md")
        files = [
            {"uri": name, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}
            for name, data in self.files.items()
            if name.startswith(root)
        ]
        return {"uri": uri, "frontmatter": self.frontmatter(uri), "resources": files, "x-unknown": {"uri": uri}}

    def frontmatter(self, uri: str) -> dict[str, Any]:
        return dict(yaml.safe_load(self.files[uri].decode().split("---\n")[1]))

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [self.entry(uri) for uri in self.files if uri.endswith("/SKILL.md")]

    async def enumerate(self, exchange: Exchange) -> dict[str, Any]:
        self.heard.append(exchange.params)
        return {"skills": self.entries, "ttlMs": 5000, "cacheScope": "public", **self.more}

    async def get(self, exchange: Exchange) -> dict[str, Any] | None:
        uri = exchange.params["uri"]
        if uri not in self.files or not uri.endswith("/SKILL.md"):
            await exchange.error(-32602, f"No skill is served at {uri}")
            return None
        return {"skill": self.entry(uri), "ttlMs": 7, "cacheScope": "public", "x-more": True}

    async def directory(self, exchange: Exchange) -> dict[str, Any] | None:
        inside = exchange.params["uri"] + "/"
        names = dict.fromkeys(u[len(inside) :].partition("/")[::2] for u in self.files if u.startswith(inside))
        if not names:
            await exchange.error(-32602, f"{exchange.params['uri']} is not a directory resource")
            return None
        children = [
            {"uri": inside + name, "name": name, "mimeType": "inode/directory" if below else "text/markdown"}
            for name, below in names
        ]
        return {"resources": children, **({"nextCursor": "2"} if "cursor" not in exchange.params else {})}

    async def read(self, exchange: Exchange) -> dict[str, Any]:
        uri = exchange.params["uri"]
        return {"contents": [{"uri": uri, "mimeType": "text/markdown", "text": self.files[uri].decode()}]}

    @property
    def listed(self) -> list[dict[str, Any]]:
        """Its skills among the resources."""
        entries = [(entry["uri"], entry["frontmatter"]) for entry in self.entries]
        return [
            {"uri": uri, "name": said["name"], "description": said["description"], "mimeType": "text/markdown"}
            for uri, said in entries
        ]

    def options(self, **hooks: Hook) -> dict[str, Any]:
        on = {
            "skills/list": self.enumerate,
            "skills/get": self.get,
            "resources/directory/read": self.directory,
            "resources/read": self.read,
            **{name.replace("_", "/"): hook for name, hook in hooks.items()},
        }
        capabilities = {"tools": {}, "resources": {}, "extensions": {SKILLS: self.settings}}
        return {"on": on, "capabilities": capabilities, "lists": {"resources/list": self.listed}}
