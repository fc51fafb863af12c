"""What a child process may see of the hub's environment: what it needs to start and reach the network, no secrets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..model.config import ChildReplica

DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
"""Where programs are looked for if nothing says."""

_PLAIN: Final = frozenset(
    {
        *("HOME", "USER", "LOGNAME", "LANG", "TMPDIR"),
        # where launchers keep what they fetched: a service's home may be read-only
        *("XDG_CACHE_HOME", "UV_CACHE_DIR", "npm_config_cache"),
        *("NO_PROXY", "no_proxy", "npm_config_noproxy"),
        # bundles of certificate authorities, and whether to use the system's
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_CERT"),
        *("npm_config_cafile", "NPM_CONFIG_CAFILE", "GIT_SSL_CAINFO", "DENO_CERT", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS"),
    }
)

_URLS: Final = frozenset(
    {
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
        *("npm_config_proxy", "npm_config_https_proxy", "npm_config_registry", "NPM_CONFIG_REGISTRY"),
        *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"),
        *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"),
    }
)
"""Variables of proxies and package indexes, inherited only where their URLs name no user."""


def child_environment(replica: ChildReplica, hub_env: Mapping[str, str], bin_folder: Path) -> dict[str, str]:
    """The whole environment of a child. The hub's own bin folder comes first on its PATH.

    What the replica declares is set whatever its name; `env_inherit: none` gives nothing else.
    """
    if replica.env_inherit == "none":
        return dict(replica.env)
    shown = {name: value for name, value in hub_env.items() if name not in replica.env_withheld}
    return {
        **{name: value for name, value in shown.items() if _is_safe(name, value)},
        "PATH": f"{bin_folder}:{shown.get('PATH') or DEFAULT_PATH}",
        **replica.env,
    }


def _is_safe(name: str, value: str) -> bool:
    """Whether a variable can be shown. Any `@` in URLs counts as credentials: `name=https://user@…` is no plain URL."""
    return name in _PLAIN or name.startswith("LC_") or (name in _URLS and "@" not in value)
