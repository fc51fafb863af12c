"""What the hub shows a server: credentials and certificates, and what only shows when their keys are seen together."""

import base64
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from ...model.outbound import is_loopback
from ...model.showing import ClientMethod, OAuthClient, ServerTls, TokenExchange, UserOAuth
from . import keys
from .kinds import Key, Reader, Table

KINDS = (keys.BEARER, keys.BASIC, keys.OAUTH, keys.USERS, keys.EXCHANGE)

_KINDS = ", ".join(repr(key.name) for key in KINDS)


def authorization(credentials: Table, reader: Reader) -> str | None:
    """What stands in the Authorization field of each request, where it is always the same."""
    given = credentials.given(*KINDS)
    if len(given) != 1 and not credentials.is_misspelt:
        names = ", ".join(repr(key.name) for key in given) or "none"
        reader.problems.add(credentials.place, f"credentials are one of {_KINDS}; found {names}")
    bearer, basic = credentials.get(keys.BEARER), credentials.get(keys.BASIC)
    if bearer is not None:
        reader.references.keep_secret(bearer)
        return f"Bearer {bearer}"
    if basic is None:
        return None
    user, password = basic.get(keys.USER), basic.get(keys.PASSWORD)
    if user is None or password is None:
        if not basic.is_misspelt:
            reader.problems.add(basic.place, "'basic' needs 'user' and 'password'")
        return None
    reader.references.keep_secret(password)
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    reader.references.keep_secret(pair)
    return f"Basic {pair}"


def build_oauth(credentials: Table, url: str, reader: Reader) -> OAuthClient | None:
    """The client that gets tokens for a server in its own name."""
    table = credentials.get(keys.OAUTH)
    return None if table is None else _client(table, "oauth", url, reader)


def build_exchange(server: Table, parts: Iterable[Table], reader: Reader) -> TokenExchange | None:
    """How a caller's token becomes one for a server."""
    table = _of_server(server, parts, keys.EXCHANGE, reader)
    if table is None:
        return None
    url, at = server.get(keys.URL) or "", table.get(keys.AT)
    there = None if at is None else _client(at, "at", "", reader)
    # Of an ID-JAG the server says itself what it is for.
    client = _client(table, "exchange", url if at is None else "", reader)
    if client is None:
        return None
    return TokenExchange(client, table.get(keys.AUDIENCE) or "", table[keys.SUBJECT_TOKEN], there)


def _client(table: Table, name: str, url: str, reader: Reader) -> OAuthClient | None:
    """A client of an authorization server; of one that is found out later, without its URL."""
    problems = reader.problems
    token_url, secret, key = table.get(keys.TOKEN_URL), table.get(keys.CLIENT_SECRET), table.get(keys.PRIVATE_KEY)
    if table.get(keys.CLIENT_ID) is None or (token_url is None and name != "at"):
        return None
    if token_url is not None and not _is_safe(token_url):
        told = "a secret would be sent unencrypted: 'token_url' has to be https://, unless it is on this machine"
        problems.add(table.place_of(keys.TOKEN_URL), told)
    if len(table.given(keys.CLIENT_SECRET, keys.PRIVATE_KEY)) != 1:
        problems.add(table.place, f"'{name}' needs either 'client_secret' or 'private_key'")
    if key is not None:
        from ...credentials.token_endpoint import signing_key  # brings in much; few configurations need it

        if table.given(keys.CLIENT_METHOD):
            problems.add(table.place_of(keys.CLIENT_METHOD), "'method' has no effect with 'private_key'")
        try:
            signing_key(key)
        except ValueError as error:
            problems.add(table.place_of(keys.PRIVATE_KEY), str(error))
    if table.given(keys.SIGNED_FOR) and key is None:
        problems.add(table.place_of(keys.SIGNED_FOR), "'issuer' has no effect without 'private_key'")
    for text in (secret, key):
        if text is not None:
            reader.references.keep_secret(text)
    method: ClientMethod = table[keys.CLIENT_METHOD] if key is None else "private_key_jwt"
    return OAuthClient(
        token_url or "",
        table.get(keys.CLIENT_ID) or "",
        method,
        secret or key or "",
        table.get(keys.SCOPE) or "",
        table.get(keys.RESOURCE) or url.partition("?")[0],
        table.get(keys.SIGNED_FOR) or "",
    )


def _of_server(server: Table, parts: Iterable[Table], key: Key[Table], reader: Reader) -> Table | None:
    """What a server's credentials say of its callers. `parts` are its replicas, which have that in common."""
    problems = reader.problems
    for part in parts:
        own = part.get(keys.CREDENTIALS)
        if own is not None and own.given(key):
            told = f"'{key.name}' is the server's, whichever replica answers: put 'credentials' beside 'replicas'"
            problems.add(own.place_of(key), told)
    credentials = server.get(keys.CREDENTIALS)
    table = None if credentials is None else credentials.get(key)
    if table is not None and server.get(keys.ISOLATION) == "shared":
        told = f"with '{key.name}' each caller has links of their own: 'isolation' is 'principal' or 'session'"
        problems.add(server.place_of(keys.ISOLATION), f"{told}, not 'shared'")
    return table


def build_users(server: Table, parts: Iterable[Table], reader: Reader) -> UserOAuth | None:
    """How a server's users connect accounts."""
    problems = reader.problems
    parts = tuple(parts)
    table = _of_server(server, parts, keys.USERS, reader)
    if table is None:
        return None
    place = table.place
    issuer, secret, client_id = table.get(keys.ISSUER), table.get(keys.CLIENT_SECRET), table.get(keys.USERS_CLIENT_ID)
    if issuer is not None and not _is_safe(issuer):
        problems.add(table.place_of(keys.ISSUER), "users would sign in unencrypted: 'issuer' has to be https://")
    if secret is not None:
        reader.references.keep_secret(secret)
        if client_id is None:
            problems.add(place, "'client_secret' is nobody's without 'client_id'")
        elif issuer is None:
            told = "'client_secret' would go to whatever authorization server the server names: give its 'issuer'"
            problems.add(table.place_of(keys.CLIENT_SECRET), told)
    urls = {url for part in (server, *parts) if (url := part.get(keys.URL)) is not None}
    if len({urlsplit(url)[:2] for url in urls}) > 1:
        problems.add(place, "accounts are for one place: with 'user', all replicas are at one host and port")
    if table.given(keys.USERS_METHOD) and secret is None:
        problems.add(table.place_of(keys.USERS_METHOD), "'method' has no effect without 'client_secret'")
    return UserOAuth(
        client_id or "", secret or "", table.get(keys.USERS_METHOD), issuer or "", table.get(keys.SCOPE) or ""
    )


def build_server_tls(table: Table | None, url: str, reader: Reader) -> ServerTls | None:
    """How a server's certificate is judged, and which one it is shown."""
    if table is None:
        return None
    if url and not url.startswith("https://"):
        reader.problems.add(table.place, "'tls' has no effect: 'url' is not https://")
    ca, cert, key = (_path(table, one, reader) for one in (keys.CA, keys.CLIENT_CERT, keys.CLIENT_KEY))
    if (cert is None) != (key is None) and not table.is_misspelt:
        reader.problems.add(
            table.place, "'cert' and 'key' go together: the certificate that the hub shows, and its key"
        )
    tls = ServerTls(ca, cert, key)
    if all(path is None or path.is_file() for path in (ca, cert, key)):
        import ssl

        try:
            context = ssl.create_default_context(cafile=None if ca is None else str(ca))
            if cert is not None and key is not None:
                context.load_cert_chain(cert, key, password=lambda: b"")  # one with a passphrase is no use here
        except (OSError, ssl.SSLError, ValueError):
            reader.problems.add(table.place, "these are no certificates, or the key is not that of the certificate")
    return tls


def _path(table: Table, key: Key[str], reader: Reader) -> Path | None:
    text = table.get(key)
    return None if text is None else reader.references.path(text)


def _is_safe(url: str) -> bool:
    """Whether secrets may be sent to a URL."""
    return url.startswith("https://") or is_loopback(urlsplit(url).hostname or "")
