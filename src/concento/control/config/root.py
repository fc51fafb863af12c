"""The whole table of keys: what may stand at the top of a configuration, and its JSON Schema."""

from typing import Any, Final

from . import keys
from .alerts import ALERTS
from .audit import AUDIT
from .auth import AUTH, TLS
from .guards import GUARDS
from .kinds import Keys, Schema
from .limits import LIMITS
from .logical import TOOLS
from .policy import POLICIES, ROLES, VALIDATE
from .prices import BUDGETS, PRICES, USAGE
from .search import EXPOSE, SEARCH
from .tenants import TENANTS
from .vault import OUTBOUND, VAULT

ROOT: Final = Keys(
    "a configuration",
    *(keys.LISTEN, TLS, keys.ADMIN, keys.STATE, keys.HOSTS, keys.NAMES, keys.DEFAULTS, keys.SERVERS, TOOLS, keys.VIEWS),
    *(EXPOSE, SEARCH, VAULT, OUTBOUND),
    *(AUTH, TENANTS, ROLES, POLICIES, VALIDATE, LIMITS, GUARDS, AUDIT, ALERTS, USAGE, PRICES, BUDGETS, keys.TELEMETRY),
    later=("shared",),
)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration: for editors; what spans several keys only loading can check."""
    root: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Concento configuration"}
    return root | ROOT.schema()
