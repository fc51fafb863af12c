"""What users grant, and where they may be led: what may stand in `vault:` and `outbound:`."""

from collections.abc import Iterable
from importlib.metadata import entry_points
from ipaddress import ip_address
from typing import Final

from ...model.auth import Auth
from ...model.config import Address
from ...model.outbound import PUBLIC, Reach, reach_of
from .keys import CREDENTIALS, EXCHANGE, STATE, USERS
from .kinds import Items, Key, Keys, Parsed, Reader, Table, Text
from .problems import Problems, unknown

_SECRET = Text("32 random bytes in base64 or hexadecimal", r"[\x20-\x7e\s]+", references=True)
KEY: Final = Key(
    "key",
    _SECRET,
    "The key that tokens are sealed with: 32 random bytes, as `openssl rand -base64 32` prints them.",
    example='"${file:secrets/vault.key}"',
)
KEYS: Final = Key(
    "keys",
    Items(_SECRET, "the key in use first, then those that were in use before"),
    "Instead of `key`, to change it: the first one seals, all of them open.",
    example='["${file:secrets/vault.key}"]',
)
PROVIDER: Final = Key(
    "provider",
    Text("the name of an entry point", r"[A-Za-z0-9_.-]{1,64}"),
    "Instead of `key`: an installed package that gives the keys, by its entry point in the group "
    "`concento.vault_keys`.",
    example="acme-hsm",
)
VAULT: Final = Key(
    "vault",
    Keys("vault", KEY, KEYS, PROVIDER),
    "How the tokens that users grant are sealed. Without it, and without `auth`, with a key that is made and kept with "
    "the hub's state.",
    example='{key: "${file:secrets/vault.key}"}',
)


def _allowed(text: str) -> str:
    try:
        reach_of([text])
    except ValueError:
        raise ValueError("expected a network, such as 10.0.0.0/8, or the name of a host") from None
    return text


ALLOW: Final = Key(
    "allow",
    Items(
        Parsed(Text("a network or host", r"\[?[A-Za-z0-9_.:-]{1,253}\]?(/[0-9]{1,3})?"), _allowed),
        "such as [10.0.0.0/8, login.corp.example]",
    ),
    "Networks and hosts that URLs given by servers and issuers may lead to, beside public addresses.",
    example="[10.0.0.0/8, login.corp.example]",
)
OUTBOUND: Final = Key(
    "outbound",
    Keys("outbound", ALLOW),
    "Where the hub lets others send it: to metadata, key sets and token endpoints that servers and issuers name.",
    example="{allow: [10.0.0.0/8]}",
)


def build_outbound(root: Table) -> Reach:
    """Where others may send the hub."""
    table = root.get(OUTBOUND)
    allowed = None if table is None else table.get(ALLOW)
    return PUBLIC if allowed is None else reach_of(allowed)


def build_vault(root: Table, reader: Reader) -> tuple[bytes, ...]:
    """The keys of the vault; none if it is not configured."""
    table = root.get(VAULT)
    if table is None:
        return ()
    given = table.given(KEY, KEYS, PROVIDER)
    if len(given) != 1:
        if not table.is_misspelt:
            told = "a vault needs one of 'key', 'keys' and 'provider'; a key: openssl rand -base64 32 > vault.key"
            reader.problems.add(table.place, told)
        return ()
    if given == [PROVIDER]:
        return _provided(table, reader.problems)
    from ...credentials.vault import read_key  # brings in much; few configurations need it

    found: list[bytes] = []
    for text in table.get(KEYS) or (table.get(KEY) or "",):
        reader.references.keep_secret(text)
        try:
            found.append(read_key(text))
        except ValueError as error:
            reader.problems.add(table.place_of(given[0]), str(error))
    return tuple(found)


def _provided(table: Table, problems: Problems) -> tuple[bytes, ...]:
    from ...credentials.vault import ENTRY_POINTS, KEY_BYTES

    name, known = table.get(PROVIDER) or "", entry_points(group=ENTRY_POINTS)
    if name not in known.names:
        problems.add(table.place_of(PROVIDER), unknown("provider of vault keys", name, known.names))
        return ()
    try:
        keys = tuple(bytes(key) for key in known[name].load()())
    except Exception as error:  # somebody else's code, at load only
        problems.add(table.place_of(PROVIDER), f"{name!r} gave no keys: {type(error).__name__}")
        return ()
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        problems.add(table.place_of(PROVIDER), f"{name!r} gave no keys of {KEY_BYTES} bytes")
    return keys


def check_users(
    root: Table, servers: Iterable[tuple[str, Table]], auth: Auth | None, listen: Address, problems: Problems
) -> None:
    """What users' accounts need beside their server's own keys."""
    url = None if auth is None else auth.public_url
    for alias, server in servers:
        credentials = server.get(CREDENTIALS)
        if credentials is not None and credentials.given(EXCHANGE) and (auth is None or not auth.issuers):
            told = "exchanges its callers' tokens, and nobody has one: say in 'auth.jwt' whose tokens are taken"
            problems.add(credentials.place_of(EXCHANGE), f"the server {alias!r} {told}")
        if credentials is None or not credentials.given(USERS):
            continue
        place, name = credentials.place_of(USERS), f"the server {alias!r} has users' accounts"
        if auth is not None and not root.given(VAULT):
            told = 'openssl rand -base64 32 > vault.key, and vault: {key: "${file:vault.key}"}'
            problems.add(place, f"{name}, which need a vault with a key of yours: {told}")
        if root.given(STATE) and root.get(STATE) is None:
            problems.add(place, f"{name}, which are kept in the state store; give 'state' a file")
        if url is None and not _is_reachable(listen.host):
            problems.add(place, f"{name}, which need a URL that browsers reach: set 'public_url' in 'auth'")


def _is_reachable(host: str) -> bool:
    """Whether a browser can open what listens there by its address: on this machine, and no wildcard."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
