"""What a child process may see of the hub's environment: what it needs to start and reach the network, no secrets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ..model.config import ChildReplica

_PLAIN: Final = frozenset(
    {
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "TMPDIR",
        "TZ",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "PIP_CERT",
        "UV_SYSTEM_CERTS",
        "UV_NATIVE_TLS",
        "UV_CACHE_DIR",
        "XDG_CACHE_HOME",
        "NO_PROXY",
        "no_proxy",
    }
)
_URLS: Final = frozenset(
    {
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "UV_DEFAULT_INDEX",
        "UV_INDEX",
        "UV_INDEX_URL",
        "UV_EXTRA_INDEX_URL",
        "npm_config_registry",
        "NPM_CONFIG_REGISTRY",
    }
)
"""Variables that hold URLs: inherited only where those carry no credentials."""


def child_environment(replica: ChildReplica, hub_env: Mapping[str, str], bin_folder: Path) -> dict[str, str]:
    """The whole environment of a child. The hub's own bin folder comes first on its PATH."""
    env: dict[str, str] = {}
    if replica.env_inherit == "safe":
        for name, value in hub_env.items():
            known = name in _PLAIN or name.startswith("LC_") or (name in _URLS and not _has_credentials(value))
            if known and name not in replica.env_withheld:
                env[name] = value
        path = hub_env.get("PATH", "/usr/local/bin:/usr/bin:/bin")
        env["PATH"] = f"{bin_folder}:{path}"
    return {**env, **replica.env}


def _has_credentials(value: str) -> bool:
    """Whether any of the URLs in a value names a user; what can't be read counts as if."""
    try:
        return any(
            "@" in urlsplit(part if "//" in part else f"//{part}").netloc for part in value.replace(",", " ").split()
        )
    except ValueError:
        return True
