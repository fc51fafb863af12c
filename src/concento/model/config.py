"""The configuration as frozen values, checked and with every default filled in. `control.config` makes them.

A key that is not here does not exist yet: the loader refuses it by name. Whatever may hold a resolved secret is left
out of `repr`; `as_written` is the safe text to show instead. Equal servers need no reconnection on a reload.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from .alert_rules import DEFAULTS
from .alerting import Alerting
from .auditing import Audit
from .auth import Auth, Tls
from .guards import Guard
from .limiting import LimitRule
from .logical import LogicalTool
from .outbound import PUBLIC, Reach
from .policy import Role, Rule
from .prices import Book, Budget
from .search import Expose, Search
from .showing import OAuthClient, ServerTls, TokenExchange, UserOAuth
from .tenant import DEFAULT_TENANT, Tenant
from .tracing import Traces
from .usage import Metering

Isolation = Literal["shared", "principal", "session"]
Balance = Literal["round_robin", "weighted", "least_busy", "hash"]
Start = Literal["eager", "lazy"]
Validate = Literal["off", "warn", "enforce"]
Trust = Literal["open", "pin", "approve"]
"""What a server's tools may be: whatever it says; what they were when first seen, until somebody approves a change; or
only what somebody approved."""


def _nothing() -> MappingProxyType[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener binds."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a child is kept in: a bubblewrap sandbox with what is named here, or a container started by `command`.

    Paths are absolute, and the same inside. `command` and all else exclude each other.
    """

    kind: Literal["bubblewrap", "container"] = "bubblewrap"
    command: tuple[str, ...] = field(default=(), repr=False)
    """What the server's command is appended to, references resolved: may hold secrets."""
    network: bool = False
    read_only: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    memory_mb: int | None = None
    cpu_s: int | None = None
    processes_max: int | None = None
    files_max: int = 1024
    tmp_mb: int = 64


@dataclass(frozen=True, slots=True)
class ChildReplica:
    """A server started as a child process, spoken to over its standard streams. No shell is involved."""

    command: tuple[str, ...] = field(repr=False)
    env: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    """Declared variables with their references already resolved: may hold secrets."""
    env_inherit: Literal["safe", "none"] = "safe"
    env_withheld: frozenset[str] = field(default=frozenset(), compare=False)
    """Variables that some `${env:...}` of the file names: never inherited. A new one restarts no child that runs."""
    cwd: Path | None = field(default=None, repr=False)
    sandbox: Sandbox | None = None
    weight: int = 1
    as_written: str = field(default="", compare=False)
    """The command line as the file has it, references unresolved, quoted for a shell."""


@dataclass(frozen=True, slots=True)
class UrlReplica:
    """A server reached over HTTP. `headers` are static credentials and may hold secrets."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=_nothing, repr=False)
    transport: Literal["auto", "http", "sse"] = "auto"
    weight: int = 1
    oauth: OAuthClient | None = None
    tls: ServerTls | None = None
    as_written: str = field(default="", compare=False)
    """The URL as the file has it, references unresolved."""
    reach: Reach | None = None
    """Where its host may be, for a URL that came by the admin API; None: the operator wrote it."""


Replica = ChildReplica | UrlReplica


@dataclass(frozen=True, slots=True)
class ToolOverride:
    """What the operator changes about one tool: its name, its description, whether it is seen at all."""

    rename: str | None = None
    description: str | None = None
    hide: bool = False
    repeatable: bool | None = None
    """Whether a call of it that may have run may be made again; None: as it says itself, if its server is trusted."""
    capability: str | None = None
    """What it is for, in the words of those who need it."""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Server:
    """One server as configured.

    `beside`: a process the hub starts and stops with the server's URL replica (a server that serves HTTP itself).
    """

    alias: str
    replicas: tuple[Replica, ...]
    balance: Balance = "round_robin"
    hash_by: str = "subject"
    """With `balance: hash`, what calls of one replica have in common: `subject`, `session` or `arguments.NAME`."""
    tools: Mapping[str, ToolOverride] = field(default_factory=_nothing)
    prefix: Literal["alias", "never"] = "alias"
    isolation: Isolation = "shared"
    timeout_s: float = 30.0
    health_check_s: float | None = 30.0
    """How often it is asked whether it is there while no call shows it; None: never."""
    required: bool = False
    concurrency_max: int = 256
    beside: ChildReplica | None = None
    start: Start = "eager"
    """Whether its children start with the hub, or when something first needs them."""
    idle_stop_s: float | None = None
    """A child that nobody used for so long is stopped, and started again when needed."""
    trust_hints: bool = False
    """Whether what its tools' annotations say counts for policies; else the worst is assumed."""
    trust: Trust = "open"
    """Whether its tools have to be what was approved."""
    validate: Validate | None = None
    """Whether arguments are checked against its tools' schemas; None: as the hub does."""
    users: UserOAuth | None = None
    """How its users connect accounts of their own; None: all calls show it the same."""
    exchange: TokenExchange | None = None
    """How a caller's own token becomes one for it."""
    tenant: str = DEFAULT_TENANT
    """Whose it is."""
    place: str = field(default="", compare=False)
    """Where it is configured, as file:line."""

    @property
    def key(self) -> str:
        """What it is known by inside: unique in the hub, where aliases are unique for each tenant."""
        return owned(self.tenant, self.alias)

    @property
    def knows_callers(self) -> bool:
        """Whether each caller is shown to it as who they are."""
        return self.users is not None or self.exchange is not None

    @property
    def is_lazy(self) -> bool:
        """Whether nothing of it starts with the hub."""
        return self.start == "lazy" and all(isinstance(replica, ChildReplica) for replica in self.replicas)

    def awake(self) -> "Server":
        """The same, started at once and kept up: for whoever wants to see it run."""
        return replace(self, start="eager", idle_stop_s=None)


@dataclass(frozen=True, slots=True)
class View:
    """A named subset of the catalog: patterns over `server.tool`."""

    name: str
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    expose: Expose = "all"


def owned(tenant: str, name: str) -> str:
    """A name of a tenant's, told apart from the same name of another's; the operator's own stay as they are."""
    return name if tenant == DEFAULT_TENANT else f"{tenant}/{name}"


@dataclass(frozen=True, slots=True)
class Config:
    """A whole `concento.yaml`."""

    path: Path | None = None
    listen: Address = Address("127.0.0.1", 7400)
    admin: Address | None = Address("127.0.0.1", 7401)
    state_db: Path | None = None
    """File of the state store; None keeps nothing."""
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    chars_max: int = 48
    start_wait_s: float = 2.0
    list_ttl_s: float = 60.0
    """How long the lists of a server that names no `ttlMs` are used unasked."""
    page_items_max: int = 1000
    as_task_after_s: float | None = 10.0
    """When a call goes on as a task, for agents that take tasks; None: never."""
    task_max_s: float = 3600.0
    task_ttl_s: float = 3600.0
    traces: Traces | None = field(default_factory=Traces)
    """Which calls spans are made of; None: of none."""
    baggage: tuple[str, ...] = ()
    """Names of the members of callers' W3C baggage that servers are shown."""
    access_log: str = "auto"
    """`auto` (a file in the state folder on a terminal, else standard error), `stderr`, `off`, or a file's path."""
    servers: Mapping[str, Server] = field(default_factory=_nothing)
    """By their keys (`owned`): the operator's and all tenants'."""
    views: Mapping[str, View] = field(default_factory=_nothing)
    """Likewise."""
    tools: Mapping[str, LogicalTool] = field(default_factory=_nothing)
    """Logical tools, likewise."""
    expose: Expose = "all"
    """What the endpoint of all servers lists."""
    search: Search = field(default_factory=Search)
    tls: Tls | None = None
    admin_tls: Tls | None = None
    auth: Auth | None = None
    """None: nobody has to prove anything, and only loopback is served."""
    tenants: Mapping[str, Tenant] = field(default_factory=_nothing)
    """Those beside the operator's own."""
    roles: Mapping[str, Role] = field(default_factory=_nothing)
    policies: tuple[Rule, ...] = ()
    limits: tuple[LimitRule, ...] = ()
    guards: tuple[Guard, ...] = ()
    audit: Audit = field(default_factory=Audit)
    alerts: Alerting = field(default_factory=lambda: Alerting(DEFAULTS))
    usage: Metering = field(default_factory=Metering)
    prices: tuple[Book, ...] = ()
    budgets: tuple[Budget, ...] = ()
    validate: Validate = "off"
    outbound: Reach = PUBLIC
    """Where URLs may lead that others give."""
    vault_keys: tuple[bytes, ...] = field(default=(), repr=False)
    """What users grant is sealed with the first of them. Empty: with one that is made and kept with the state."""
    drained: frozenset[str] = frozenset()
    """Keys of the servers that take no calls, since an operator said so."""
    admin_commands: tuple[str, ...] = ()
    """Programs that servers which come by the admin API may be started with."""
    admin_references: tuple[str, ...] = ()
    """Patterns of the references that what comes by the admin API may have: `env:NAME`, `file:PATH`."""
    references: frozenset[str] = field(default=frozenset(), compare=False)
    """Those that it has."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    """Values to redact wherever text leaves the hub: what references stood for, and bearers."""

    @property
    def base_url(self) -> str:
        """The hub's own URL, without path: as configured, else where it listens."""
        if self.auth is not None and self.auth.public_url is not None:
            return self.auth.public_url
        return f"{'http' if self.tls is None else 'https'}://{self.listen}"

    @property
    def audit_path(self) -> Path | None:
        """Where calls are recorded; None: nowhere."""
        if self.audit.mode == "off":
            return None
        if self.audit.path is not None or self.state_folder is None:
            return self.audit.path
        return self.state_folder / "audit.db"

    @property
    def usage_path(self) -> Path | None:
        """Where it is kept how much was used; None: nowhere."""
        if self.usage.mode == "off":
            return None
        if self.usage.path is not None or self.state_folder is None:
            return self.usage.path
        return self.state_folder / "usage.db"

    @property
    def state_folder(self) -> Path | None:
        """Folder of the state store and of what else is kept with it; made with mode 0700 if it is not there."""
        return None if self.state_db is None else self.state_db.parent
