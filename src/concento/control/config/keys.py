"""The one table of keys: name, kind of value, default and meaning of everything a configuration may say.

Checking, `json_schema` and the reference in the documentation all follow from it.
"""

from typing import Any, Final, Literal, cast

from ...model import limits
from ...model.config import Address, Balance, Config, Isolation, Sandbox, Server, Start, Trust, UrlReplica
from ...model.showing import ClientMethod, SubjectToken
from .auth import TLS
from .kinds import (
    Choice,
    Entries,
    Flag,
    Items,
    Key,
    Keys,
    Number,
    OrOff,
    OrWord,
    Parsed,
    Table,
    Text,
    Whole,
    WithPlace,
)
from .policy import VALIDATE
from .search import CAPABILITY, EXPOSE, TAGS
from .telemetry import BAGGAGE, TRACES
from .texts import ALIAS, HEADER_NAME, TOOL_NAME, address, host_name, http_url, shared_path, state_file, view_pattern

_HUB = Config()
_SERVER = Server("", ())
_URL_REPLICA = UrlReplica("")
_SANDBOX = Sandbox()

_LISTEN = Parsed(Text("an address, such as 127.0.0.1:7400"), address)
_LOOSE = Text("text, a number or a boolean", as_written=True, references=True)

# -- a server

COMMAND: Final = Key(
    "command",
    Items(_LOOSE, "one item for each argument, such as [uvx, mcp-server-time]"),
    "Program and arguments of a server that is started as a child process and spoken to over its standard streams. "
    "Together with `url`: a program that serves HTTP at that URL. No shell is involved.",
    example="[uvx, mcp-server-time]",
)
ARGS: Final = Key(
    "args",
    Items(_LOOSE, "one item for each argument", 0),
    "More arguments, after those of `command`.",
    example="[--local-timezone, Europe/Rome]",
)
ENV: Final = Key(
    "env",
    Entries(_LOOSE, "variable", r"[^=\x00]+", "a name without ="),
    "Environment variables the child gets, beside the inherited ones.",
    example='{TZ: Europe/Rome, API_KEY: "${env:API_KEY}"}',
)
ENV_INHERIT: Final[Key[Literal["safe", "none"]]] = Key(
    "env_inherit",
    Choice(("safe", "none")),
    "What the child inherits of the hub's environment: `safe` is PATH, HOME, locale, proxy and package-index settings "
    "without credentials. A variable that a reference of this file names is never inherited.",
    "safe",
    example="none",
)
CWD: Final = Key(
    "cwd",
    Text("a folder", r"[^\x00]+", references=True),
    "Folder the child starts in; relative to this file.",
    example="./workspace",
)
URL: Final = Key(
    "url",
    Parsed(Text("a URL, such as https://docs.example.com/mcp", references=True), http_url),
    "Where the server takes MCP over HTTP.",
    example="https://docs.example.com/mcp",
)
TRANSPORT: Final[Key[Literal["auto", "http", "sse"]]] = Key(
    "transport",
    Choice(("auto", "http", "sse")),
    "How to speak to `url`: `http` is Streamable HTTP, `sse` the HTTP+SSE transport of 2024-11-05, `auto` finds out.",
    _URL_REPLICA.transport,
    example="sse",
)
HEADERS: Final = Key(
    "headers",
    Entries(
        Text("visible ASCII text on one line", r"([\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?)?", True, True),
        "header field",
        HEADER_NAME,
        "letters, digits and dashes",
    ),
    "Header fields sent with every request to `url`.",
    example='{X-Api-Key: "${file:secrets/docs.key}"}',
)
BEARER: Final = Key(
    "bearer",
    Text("a token without spaces", r"[\x21-\x7e]+", references=True),
    'A token, sent as `Authorization: Bearer …`. By reference: "${env:NAME}" or "${file:PATH}".',
    example='"${env:DOCS_TOKEN}"',
)
USER: Final = Key("user", Text("a name without :", r"[^:\x00-\x1f]+", references=True), "The user.", example="hub")
PASSWORD: Final = Key(
    "password", Text("a password", r"[^\x00-\x1f]+", references=True), "The password.", example='"${env:API_KEY}"'
)
BASIC: Final = Key(
    "basic",
    Keys("basic", USER, PASSWORD),
    "A user and password, sent as `Authorization: Basic …`.",
    example='{user: hub, password: "${env:API_KEY}"}',
)
TOKEN_URL: Final = Key(
    "token_url",
    Parsed(Text("a URL, such as https://login.example.com/oauth/token"), http_url),
    "Where the authorization server gives tokens; https://, unless it is on this machine.",
    required=True,
    example="https://login.example.com/oauth/token",
)
CLIENT_ID: Final = Key(
    "client_id",
    Text("an id", r"[\x20-\x7e]+", references=True),
    "The hub's id there.",
    required=True,
    example="concento",
)
CLIENT_SECRET: Final = Key(
    "client_secret",
    Text("a secret", r"[\x20-\x7e]+", references=True),
    "The client's secret, by reference.",
    example='"${env:API_KEY}"',
)
PRIVATE_KEY: Final = Key(
    "private_key",
    Text("a private key in PEM", references=True),
    "In place of a secret, the private key that requests for tokens are signed with, by reference.",
    example='"${file:secrets/client.pem}"',
)
CLIENT_METHOD: Final[Key[ClientMethod]] = Key(
    "method",
    Choice(("client_secret_basic", "client_secret_post")),
    "Where the secret is shown: in a header field, or in the form.",
    "client_secret_basic",
    example="client_secret_post",
)
USERS_METHOD: Final[Key[ClientMethod]] = Key(
    "method",
    CLIENT_METHOD.kind,
    "Where the secret is shown: in a header field, or in the form; without it, as the authorization server says.",
    example="client_secret_post",
)
SCOPE: Final = Key(
    "scope", Text("scopes with spaces between", r"[\x20-\x7e]+"), "Scopes to ask for.", example="tools:read"
)
RESOURCE: Final = Key(
    "resource",
    Parsed(Text("a URL"), http_url),
    "Whom the token is for (RFC 8707); by default the server's `url`.",
    example="https://docs.example.com/mcp",
)
SIGNED_FOR: Final = Key(
    "issuer",
    Parsed(Text("a URL, such as https://login.example.com"), http_url),
    "With `private_key`: the authorization server's own name, which the assertion is for; by default `token_url`.",
    example="https://login.example.com",
)
OAUTH: Final = Key(
    "oauth",
    Keys("oauth", TOKEN_URL, CLIENT_ID, CLIENT_SECRET, PRIVATE_KEY, CLIENT_METHOD, SCOPE, RESOURCE, SIGNED_FOR),
    "Tokens that the hub gets in its own name (OAuth client credentials), and renews before they end.",
    example='{token_url: "https://login.example.com/token", client_id: concento, client_secret: "${env:API_KEY}"}',
)
USERS_CLIENT_ID: Final = Key(
    "client_id",
    CLIENT_ID.kind,
    "The hub's id at the server's authorization server, or the URL of its client metadata. Without it the hub uses the "
    "URL of its own metadata where that is taken, else registers itself.",
    example="concento",
)
ISSUER: Final = Key(
    "issuer",
    Parsed(Text("a URL, such as https://login.example.com"), http_url),
    "The one authorization server that users are sent to; without it, the first that the server names.",
    example="https://login.example.com",
)
USERS: Final = Key(
    "user",
    Keys("user", USERS_CLIENT_ID, CLIENT_SECRET, USERS_METHOD, ISSUER, SCOPE),
    "Each user's own account at the server: whoever calls is asked to connect it once, in a browser (OAuth with PKCE).",
    example="{}",
)
AUDIENCE: Final = Key(
    "audience",
    Text("a name or URL", r"[\x21-\x7e]+"),
    "For whom the token is wanted, as the authorization server calls it.",
    example="https://docs.example.com",
)
SUBJECT_TOKEN: Final[Key[SubjectToken]] = Key(
    "subject",
    Choice(("access_token", "id_token", "jwt")),
    "What callers show the hub.",
    "access_token",
    example="id_token",
)
AT: Final = Key(
    "at",
    Keys("at", CLIENT_ID, CLIENT_SECRET, PRIVATE_KEY, CLIENT_METHOD),
    "What the hub is known by at the server's own authorization server, which takes an assertion about the user "
    "(an ID-JAG) for a token: `token_url` is then asked for that assertion.",
    example='{client_id: concento, client_secret: "${env:API_KEY}"}',
)
EXCHANGE: Final = Key(
    "exchange",
    Keys(
        "exchange",
        *(
            TOKEN_URL,
            CLIENT_ID,
            CLIENT_SECRET,
            PRIVATE_KEY,
            CLIENT_METHOD,
            SCOPE,
            RESOURCE,
            AUDIENCE,
            SUBJECT_TOKEN,
            AT,
        ),
    ),
    "Each caller's own token, exchanged at `token_url` for one that the server takes (RFC 8693). Callers need a token "
    "of an issuer in `auth.jwt`.",
    example='{token_url: "https://login.example.com/token", client_id: concento, client_secret: "${env:API_KEY}"}',
)
CREDENTIALS: Final = Key(
    "credentials",
    Keys("credentials", BEARER, BASIC, OAUTH, USERS, EXCHANGE),
    "What the hub shows the server at `url`: one of these.",
    example='{bearer: "${env:DOCS_TOKEN}"}',
)
WEIGHT: Final = Key(
    "weight",
    Whole(1, 100),
    "Share of this replica among the others, for `balance: weighted` and `hash`.",
    _URL_REPLICA.weight,
    example="3",
)

# what a child process is kept in

SANDBOX_KIND: Final[Key[Literal["bubblewrap", "container"]]] = Key(
    "kind",
    Choice(("bubblewrap", "container")),
    "`bubblewrap` (Linux) needs the program bwrap; `container` is started by `command`.",
    _SANDBOX.kind,
    example="bubblewrap",
)
SANDBOX_COMMAND: Final = Key(
    "command",
    Items(_LOOSE, "such as [docker, run, --rm, -i, --network=none, IMAGE]"),
    "With `kind: container`: what starts it. The server's own command is appended.",
    example="[docker, run, --rm, -i, --network=none, python:3.13-slim]",
)
NETWORK: Final = Key(
    "network", Flag(), "Give the sandbox the hub's network, loopback included.", _SANDBOX.network, example="true"
)
_PATHS: Final = Items(
    Parsed(Text("the path of a file or folder", r"[^\x00]+", references=True), shared_path), "such as [~/documents]"
)
READ_ONLY: Final = Key(
    "read_only",
    _PATHS,
    "Files and folders it may read beside the system's and its own program.",
    example="[~/documents]",
)
WRITABLE: Final = Key("writable", _PATHS, "Files and folders it may change.", example="[~/notes]")
MEMORY_MB: Final = Key(
    "memory_mb",
    Whole(16, 1_048_576),
    "Memory each of its processes may call its own; Node.js needs 1024.",
    example="512",
)
CPU_S: Final = Key(
    "cpu_s",
    Whole(1, 86_400),
    "Seconds of processor time after which each of its processes is ended.",
    example="600",
)
PROCESSES_MAX: Final = Key(
    "processes_max",
    Whole(2, 100_000),
    "Processes and threads it may have; not for a hub that runs as root.",
    example="64",
)
FILES_MAX: Final = Key(
    "files_max", Whole(16, 1_048_576), "Files each process may have open.", _SANDBOX.files_max, example="256"
)
TMP_MB: Final = Key(
    "tmp_mb",
    Whole(1, 1_048_576),
    "Size of its own HOME, of its /tmp, and of its /dev/shm.",
    _SANDBOX.tmp_mb,
    example="128",
)
ONLY_IN_BUBBLEWRAP: Final[tuple[Key[Any], ...]] = (
    *(NETWORK, READ_ONLY, WRITABLE, MEMORY_MB, CPU_S, PROCESSES_MAX, FILES_MAX, TMP_MB),
)
SANDBOX: Final[Key[Table | None]] = Key(
    "sandbox",
    OrOff(OrWord(SANDBOX_KIND, Keys("a sandbox", SANDBOX_KIND, SANDBOX_COMMAND, *ONLY_IN_BUBBLEWRAP))),
    "Keep a child process from the network and from files it does not need: `bubblewrap`, a mapping with what it may "
    "have all the same, or `off`.",
    example="bubblewrap",
)
CA: Final = Key(
    "ca",
    Text("the path of a file", r"[^\x00]+", references=True),
    "Certificates of those who may have signed the server's; by default those that this machine trusts.",
    example="certs/servers-ca.crt",
)
CLIENT_CERT: Final = Key(
    "cert",
    Text("the path of a file", r"[^\x00]+", references=True),
    "The certificate that the hub shows.",
    example="certs/hub.crt",
)
CLIENT_KEY: Final = Key(
    "key", Text("the path of a file", r"[^\x00]+", references=True), "Its private key.", example="certs/hub.key"
)
SERVER_TLS: Final = Key(
    "tls",
    Keys("tls toward a server", CA, CLIENT_CERT, CLIENT_KEY),
    "How the certificate of an https:// `url` is judged, and which one the hub shows.",
    example="{ca: certs/servers-ca.crt}",
)
_CHILD_KEYS: Final[tuple[Key[Any], ...]] = (COMMAND, ARGS, ENV, ENV_INHERIT, CWD, SANDBOX)
_URL_KEYS: Final = (URL, TRANSPORT, HEADERS, CREDENTIALS, SERVER_TLS)
ONLY_WITH_URL: Final = (TRANSPORT, HEADERS, CREDENTIALS, SERVER_TLS)

REPLICA: Final = Keys("a replica", *_CHILD_KEYS, *_URL_KEYS, WEIGHT)
REPLICAS: Final = Key(
    "replicas",
    Items(REPLICA, "such as [{url: http://10.0.0.1:9000/mcp}, {url: http://10.0.0.2:9000/mcp}]"),
    "Several live instances of one server. What the server says beside (`env`, `headers`, …) holds for each of them.",
    example="[{url: http://10.0.0.1:9000/mcp}, {url: http://10.0.0.2:9000/mcp}]",
)
BALANCE: Final[Key[Balance]] = Key(
    "balance",
    Choice(("round_robin", "weighted", "least_busy", "hash")),
    "How calls are spread over replicas: in turn; in turn as often as each one's `weight` says; to the less loaded of "
    "two (calls in flight times how long replies took lately); or always to the same one for what `hash_by` says.",
    _SERVER.balance,
    example="least_busy",
)
HASH_BY: Final = Key(
    "hash_by",
    Text("subject, session or arguments.NAME", r"subject|session|arguments\.[^\x00-\x1f]{1,128}"),
    "With `balance: hash`, which calls go to the same replica: those of one `subject` (the caller), of one `session`, "
    "or with the same value of an argument.",
    _SERVER.hash_by,
    example="arguments.repository",
)

RENAME: Final = Key(
    "rename",
    Text("1 to 128 of A-Z a-z 0-9 _ -", TOOL_NAME),
    "Name agents see, instead of the server's own.",
    example="now",
)
DESCRIPTION: Final = Key(
    "description", Text(), "Description agents see, instead of the server's own.", example="The time in a city"
)
HIDE: Final = Key("hide", Flag(), "Hide the tool: it is neither listed nor can it be called.", False, example="true")
REPEATABLE: Final = Key(
    "repeatable",
    Flag(),
    "Whether a call of it that may have run may be made again at another replica; without it, as its hints "
    "`readOnlyHint` and `idempotentHint` say, if `trust_hints` is on.",
    example="true",
)
TOOLS: Final = Key(
    "tools",
    Entries(
        Keys("a tool", RENAME, DESCRIPTION, HIDE, REPEATABLE, CAPABILITY, TAGS),
        "tool name",
        r"[^\x00]+",
        "the server's own name of a tool",
    ),
    "What to change about single tools, by the server's own names.",
    example="{get_current_time: {rename: now}, convert_time: {hide: true}}",
)

PREFIX: Final[Key[Literal["alias", "never"]]] = Key(
    "prefix",
    Choice(("alias", "never")),
    "Whether the alias stands in front of the tools' names (`git__push`); `never` for one server at most.",
    _SERVER.prefix,
    example="never",
)
ISOLATION: Final[Key[Isolation]] = Key(
    "isolation",
    Choice(("shared", "principal", "session")),
    "Who shares a child process or a session: everybody, the calls of one principal, or those of one agent's session.",
    _SERVER.isolation,
    example="session",
)
STATEFUL: Final = Key(
    "stateful", Flag(), "The server remembers earlier calls: the same as `isolation: session`.", False, example="true"
)
TIMEOUT_S: Final = Key(
    "timeout_s",
    Number(0, limits.CALL_MAX_S, above=True),
    "Seconds a call may take; progress renews them.",
    _SERVER.timeout_s,
    example="120",
)
REQUIRED: Final = Key(
    "required", Flag(), "The hub is ready only while this server is.", _SERVER.required, example="true"
)
START: Final[Key[Start]] = Key(
    "start",
    Choice(("eager", "lazy")),
    "When a child process starts: with the hub (`eager`), or when the first call needs it (`lazy`). Until then the "
    "lists it gave last time stand in; one that was never listed starts with the first list.",
    _SERVER.start,
    example="lazy",
)
IDLE_STOP_S: Final[Key[float | None]] = Key(
    "idle_stop_s",
    OrOff(Number(1, 86_400)),
    "Seconds without a call, a subscription or an isolated session after which a child process is stopped; the next "
    "call starts it again. `off` keeps it running.",
    example="300",
)
HEALTH_CHECK_S: Final[Key[float | None]] = Key(
    "health_check_s",
    OrOff(Number(1, 3600)),
    "Seconds after which a replica from which no reply came is asked whether it is there (`server/discover`, `ping`).",
    _SERVER.health_check_s,
    example="10",
)
TRUST_HINTS: Final = Key(
    "trust_hints",
    Flag(),
    "What the server's tools say of themselves (read-only, destructive, …) counts for policies. Otherwise the worst is "
    "assumed of each.",
    _SERVER.trust_hints,
    example="true",
)
TRUST: Final[Key[Trust]] = Key(
    "trust",
    Choice(("open", "pin", "approve")),
    "`open`: its tools are shown as it lists them; changes are told. `pin`: a tool whose definition is no more what it "
    "was when first seen is held back until it is approved. `approve`: so is every tool that nobody approved yet.",
    _SERVER.trust,
    example="pin",
)
CONCURRENCY_MAX: Final = Key(
    "concurrency_max", Whole(1, 10_000), "Calls a server may be given at a time.", _SERVER.concurrency_max, example="8"
)

ONLY_WITH_COMMAND: Final[tuple[Key[Any], ...]] = (ARGS, ENV, ENV_INHERIT, CWD, START, IDLE_STOP_S, SANDBOX)
ONLY_ON_STDIO: Final[tuple[Key[Any], ...]] = (START, IDLE_STOP_S)
"""What has no effect on a program that serves its own URL: it runs as long as the hub."""

SERVER: Final = Keys(
    "a server",
    *(COMMAND, ARGS, ENV, ENV_INHERIT, CWD, URL, TRANSPORT, HEADERS, CREDENTIALS, SERVER_TLS, REPLICAS),
    *(BALANCE, HASH_BY),
    *(TOOLS, PREFIX, ISOLATION, STATEFUL, TIMEOUT_S, REQUIRED, CONCURRENCY_MAX, START, IDLE_STOP_S, SANDBOX),
    *(HEALTH_CHECK_S, TRUST_HINTS, TRUST, VALIDATE),
)
SERVERS: Final = Key(
    "servers",
    Entries(SERVER, "server alias", ALIAS, "a-z, 0-9 and -, beginning with a letter, at most 20 in all"),
    "The MCP servers, by alias.",
    required=True,
    example="{time: {command: [uvx, mcp-server-time]}}",
)

# -- a view

_PATTERN = WithPlace(Parsed(Text("a pattern over server.tool, such as git.*"), view_pattern))
INCLUDE: Final = Key(
    "include",
    Items(_PATTERN, 'patterns over server.tool, such as ["git.*"]'),
    "What the view shows; everything if left out.",
    example='["time.*"]',
)
EXCLUDE: Final = Key(
    "exclude",
    Items(_PATTERN, 'patterns over server.tool, such as ["git.push*"]', 0),
    "What of that the view does not show.",
    example='["time.convert*"]',
)
VIEWS: Final = Key(
    "views",
    Entries(
        Keys("a view", INCLUDE, EXCLUDE, EXPOSE),
        "view name",
        ALIAS,
        "a-z, 0-9 and -, beginning with a letter, at most 20",
    ),
    "Named subsets of the catalog, each at `/views/NAME/mcp`. Patterns match `server.tool`, or without a dot the names "
    "of logical tools, with * and ? as wildcards.",
    example='{clock: {include: ["time.get*"]}}',
)

# -- the hub

LISTEN: Final = Key("listen", _LISTEN, "Address where agents are served.", _HUB.listen, example="127.0.0.1:8400")
ADMIN_LISTEN: Final = Key(
    "listen", _LISTEN, "Address of the console and the admin API.", cast(Address, _HUB.admin), example="127.0.0.1:8401"
)
ADMIN_COMMANDS: Final = Key(
    "commands",
    Items(Text("the absolute path of a program", r"/[^\x00]+"), "such as [/usr/bin/uvx]"),
    "Programs that servers which come by the admin API may be started with, by absolute path. Without it none are.",
    example="[/usr/bin/uvx]",
)
ADMIN_REFERENCES: Final = Key(
    "references",
    Items(Text("a pattern over references, such as env:DOCS_*", r"(env:|file:)[^\x00\[\]{}]+"), "such as [env:DOCS_*]"),
    "References that what comes by the admin API may have, beside those that this file has, with * and ? as wildcards.",
    example='["env:DOCS_*", "file:secrets/*"]',
)
ADMIN: Final[Key[Table | None]] = Key(
    "admin",
    OrOff(Keys("admin", ADMIN_LISTEN, TLS, ADMIN_COMMANDS, ADMIN_REFERENCES)),
    "The admin listener, or `off`.",
    example="off",
)
STATE: Final = Key(
    "state",
    OrOff(Parsed(Text("a store, such as sqlite:///concento.db"), state_file)),
    "Where the hub keeps its state: `sqlite:///FILE` relative to this file, `sqlite:////FILE` from the root, or `off`. "
    "Without it: `$XDG_STATE_HOME/concento/`, in a folder of this file's own.",
    example="sqlite:///concento.db",
)
HOSTS: Final[Key[tuple[str, ...]]] = Key(
    "hosts",
    Items(Parsed(Text("the name of a host"), host_name), "such as [localhost, 127.0.0.1]"),
    "Names under which agents may address the hub, and whose web pages may.",
    _HUB.hosts,
    example="[localhost, 127.0.0.1, hub.internal]",
)
CHARS_MAX: Final = Key("chars_max", Whole(32, 128), "Longest public name of a tool.", _HUB.chars_max, example="64")
NAMES: Final = Key(
    "names", Keys("names", CHARS_MAX), "How the public names of tools are made.", example="{chars_max: 64}"
)
START_WAIT_S: Final = Key(
    "start_wait_s",
    Number(0, 60),
    "Seconds a list waits for servers that were never listed before.",
    _HUB.start_wait_s,
    example="5",
)
LIST_TTL_S: Final = Key(
    "list_ttl_s",
    Number(0, 86_400),
    "Seconds the lists of a server are used unasked if it does not say how long they hold.",
    _HUB.list_ttl_s,
    example="300",
)
PAGE_ITEMS_MAX: Final = Key(
    "page_items_max", Whole(1, 10_000), "Most items on one page of a list.", _HUB.page_items_max, example="200"
)
AS_TASK_AFTER_S: Final[Key[float | None]] = Key(
    "as_task_after_s",
    OrOff(Number(0, limits.CALL_MAX_S)),
    "Seconds after which a call goes on as a task, for agents that take tasks; `off`: never.",
    _HUB.as_task_after_s,
    example="30",
)
TASK_MAX_S: Final = Key(
    "task_max_s",
    Number(0, 86_400, above=True),
    "Seconds that a call which became a task may take; progress renews nothing here.",
    _HUB.task_max_s,
    example="7200",
)
TASK_TTL_S: Final = Key(
    "task_ttl_s",
    Number(0, 604_800, above=True),
    "Seconds for which the outcome of a task is kept.",
    _HUB.task_ttl_s,
    example="86400",
)
DEFAULTS: Final = Key(
    "defaults",
    Keys(
        "defaults",
        *(TIMEOUT_S, START_WAIT_S, ISOLATION, LIST_TTL_S, PAGE_ITEMS_MAX, START, IDLE_STOP_S, SANDBOX, TRUST),
        *(AS_TASK_AFTER_S, TASK_MAX_S, TASK_TTL_S),
    ),
    "What holds where a server does not say it itself, and for lists.",
    example="{timeout_s: 60, start_wait_s: 5}",
)
ACCESS_LOG: Final[Key[str | None]] = Key(
    "access_log",
    OrOff(Text("auto, stderr, off or the path of a file", r"[^\x00]+")),
    "Where a line for each call goes: `stderr`, `off`, a file relative to this one, or `auto`: a file in the state "
    "folder if the hub runs on a terminal, else standard error.",
    _HUB.access_log,
    example="access.log",
)
TELEMETRY: Final = Key(
    "telemetry",
    Keys("telemetry", ACCESS_LOG, TRACES, BAGGAGE),
    "What the hub writes of its work.",
    example="{access_log: stderr}",
)
