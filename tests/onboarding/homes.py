"""A home folder with what every known client keeps in it, as people's really look: comments, trailing commas, a byte
order mark, line ends of Windows, and beside the servers all that a client keeps there for itself."""

import json
from pathlib import Path
from typing import Final

GITHUB_TOKEN: Final = "ghp_canaryABCDEFGHIJKLMNOPQRST1234"
SENTRY_TOKEN: Final = "sntrys-canary-4242"
DB_PASSWORD: Final = "canary-pa55word"
BEARER: Final = "canary-bearer-token-0001"
QUERY_KEY: Final = "canarykey1234567890"
OPTION: Final = "canary-option-secret"
ANSWER: Final = "canary-answer-of-a-person"
SECRETS: Final = (GITHUB_TOKEN, SENTRY_TOKEN, DB_PASSWORD, BEARER, QUERY_KEY, OPTION)

CLAUDE_DESKTOP: Final = json.dumps(
    {
        "globalShortcut": "Ctrl+Space",
        "mcpServers": {
            "filesystem": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "/srv/docs"]},
            "github": {
                "command": "npx",
                "args": ["-y", "@modelcontextprotocol/server-github"],
                "env": {"GITHUB_PERSONAL_ACCESS_TOKEN": GITHUB_TOKEN},
            },
            "My Postgres (work)": {
                "command": "npx",
                "args": [
                    "-y",
                    "@modelcontextprotocol/server-postgres",
                    f"postgresql://ada:{DB_PASSWORD}@db.example.com/shop",
                ],
            },
            "remote docs": {
                "command": "npx",
                "args": [
                    *["mcp-remote", "https://docs.example.com/mcp", "--header", "Authorization:${AUTH}"],
                    *["--api-key", OPTION],
                ],
                "env": {"AUTH": f"Bearer {BEARER}"},
            },
        },
    },
    indent=2,
)

CLAUDE_CODE: Final = json.dumps(
    {
        "numStartups": 42,
        "tipsHistory": {"shift-enter": 3},
        "mcpServers": {
            "github": {
                "type": "stdio",
                "command": "npx",
                "args": ["-y", "@modelcontextprotocol/server-github"],
                "env": {"GITHUB_PERSONAL_ACCESS_TOKEN": GITHUB_TOKEN},
            },
            "sentry": {
                "type": "http",
                "url": "https://mcp.sentry.example.com/mcp",
                "headers": {"X-Sentry-Token": SENTRY_TOKEN},
            },
        },
        "projects": {
            "/home/ada/work/site": {
                "allowedTools": [],
                "history": [{"display": "hello"}],
                "mcpServers": {"local": {"type": "stdio", "command": "python", "args": ["tools/server.py"]}},
            },
            "/home/ada/work/other": {"allowedTools": [], "mcpServers": {}},
        },
    },
    indent=2,
)

VS_CODE: Final = """\
{
  // What I use in VS Code.
  "inputs": [
    {"type": "promptString", "id": "perplexity-key", "description": "Perplexity API key", "password": true},
    {"type": "promptString", "id": "place", "description": "Where", "default": "Rome"},
  ],
  "servers": {
    "perplexity": {
      "type": "stdio",
      "command": "npx",
      "args": ["-y", "server-perplexity-ask"], /* asks the web */
      "env": {"PERPLEXITY_API_KEY": "${input:perplexity-key}"},
    },
    "time": {"command": "uvx", "args": ["mcp-server-time", "--local-timezone=Europe/${input:place}"]},
    "workspace": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "${workspaceFolder}"]},
    "shell": {"command": "npx", "args": ["-y", "thing", "${config:thing.port}"]},
  },
}
"""

CURSOR: Final = """\
\ufeff{
  "mcpServers": {
    "filesystem": {
      "command": "npx",
      "args": ["-y", "@modelcontextprotocol/server-filesystem", "/srv/docs"]
    },
    "github": {"url": "https://api.githubcopilot.com/mcp/", "headers": {"Authorization": "Bearer ${env:GH_TOKEN}"}},
    "home": {"command": "${userHome}/bin/notes", "args": ["--offline"], "disabled": true}
  }
}
"""

WINDSURF: Final = f"""\
{{
  "mcpServers": {{
    "tavily": {{"serverUrl": "https://mcp.tavily.example.com/mcp/?tavilyApiKey={QUERY_KEY}", "disabledTools": ["map"]}},
    "sentry": {{"serverUrl": "https://mcp.sentry.example.com/mcp", "headers": {{"X-Sentry-Token": "{SENTRY_TOKEN}"}}}}
  }}
}}
""".replace("\n", "\r\n")

ZED: Final = """\
// Zed settings
{
\t"theme": "One Dark",
\t"context_servers": {
\t\t// as Zed wrote it until 2025
\t\t"old-form": {"source": "custom", "command": {"path": "uvx", "args": ["mcp-server-fetch"], "env": {}}},
\t\t"new-form": {"command": "uvx", "args": ["mcp-server-git"], "env": null}, // beside
\t\t"mcp-server-context7": {"source": "extension", "enabled": true, "settings": {}},
\t},
}
"""

GEMINI: Final = json.dumps({"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"], "trust": True}}})
COPILOT: Final = json.dumps(
    {"mcpServers": {"fetch": {"type": "local", "command": "uvx", "args": ["mcp-server-fetch"], "tools": ["*"]}}}
)

FILES: Final = {
    ".config/Claude/claude_desktop_config.json": CLAUDE_DESKTOP,
    ".claude.json": CLAUDE_CODE,
    ".config/Code/User/mcp.json": VS_CODE,
    ".cursor/mcp.json": CURSOR,
    ".codeium/windsurf/mcp_config.json": WINDSURF,
    ".config/zed/settings.json": ZED,
    ".gemini/settings.json": GEMINI,
    ".copilot/mcp-config.json": COPILOT,
}


def furnish(home: Path) -> dict[Path, bytes]:
    """Put all of them there; returns what each is."""
    made: dict[Path, bytes] = {}
    for place, text in FILES.items():
        path = home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        made[path] = text.encode()
    return made
