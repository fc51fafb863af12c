"""What the hub shows a server: credentials and certificates, and what only shows when their keys are seen together."""

import base64
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from ...model.outbound import is_loopback
from ...model.showing import ClientMethod, OAuthClient, ServerTls, UserOAuth
from . import keys
from .kinds import Key, Reader, Table

KINDS = (keys.BEARER, keys.BASIC, keys.OAUTH, keys.USERS)

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
    """The client that gets tokens for a server."""
    table = credentials.get(keys.OAUTH)
    if table is None:
        return None
    problems = reader.problems
    token_url, secret, key = table.get(keys.TOKEN_URL), table.get(keys.CLIENT_SECRET), table.get(keys.PRIVATE_KEY)
    if token_url is None or table.get(keys.CLIENT_ID) is None:
        return None
    if not _is_safe(token_url):
        told = "a secret would be sent unencrypted: 'token_url' has to be https://, unless it is on this machine"
        problems.add(table.place_of(keys.TOKEN_URL), told)
    if len(table.given(keys.CLIENT_SECRET, keys.PRIVATE_KEY)) != 1:
        problems.add(table.place, "'oauth' needs either 'client_secret' or 'private_key'")
    if key is not None:
        from ...credentials.token_endpoint import signing_key  # brings in much; few configurations need it

        if table.given(keys.CLIENT_METHOD):
            problems.add(table.place_of(keys.CLIENT_METHOD), "'method' has no effect with 'private_key'")
        try:
            signing_key(key)
        except ValueError as error:
            problems.add(table.place_of(keys.PRIVATE_KEY), str(error))
    for text in (secret, key):
        if text is not None:
            reader.references.keep_secret(text)
    method: ClientMethod = table[keys.CLIENT_METHOD] if key is None else "private_key_jwt"
    return OAuthClient(
        token_url,
        table.get(keys.CLIENT_ID) or "",
        method,
        secret or key or "",
        table.get(keys.SCOPE) or "",
        table.get(keys.RESOURCE) or url.partition("?")[0],
    )


def build_users(server: Table, parts: Iterable[Table], reader: Reader) -> UserOAuth | None:
    """How a server's users connect accounts. `parts` are its replicas, which have the accounts in common."""
    problems = reader.problems
    for part in parts:
        own = part.get(keys.CREDENTIALS)
        if own is not None and own.given(keys.USERS):
            told = "accounts are the server's, whichever replica answers: put 'credentials' beside 'replicas'"
            problems.add(own.place_of(keys.USERS), told)
    credentials = server.get(keys.CREDENTIALS)
    table = None if credentials is None else credentials.get(keys.USERS)
    if credentials is None or table is None:
        return None
    place = credentials.place_of(keys.USERS)
    if server.get(keys.ISOLATION) == "shared":
        told = "with 'user' each caller has links of their own: 'isolation' is 'principal' or 'session', not 'shared'"
        problems.add(server.place_of(keys.ISOLATION), told)
    issuer, secret, client_id = table.get(keys.ISSUER), table.get(keys.CLIENT_SECRET), table.get(keys.USERS_CLIENT_ID)
    if issuer is not None and not _is_safe(issuer):
        problems.add(table.place_of(keys.ISSUER), "users would sign in unencrypted: 'issuer' has to be https://")
    if secret is not None:
        reader.references.keep_secret(secret)
        if client_id is None:
            problems.add(place, "'client_secret' is nobody's without 'client_id'")
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
