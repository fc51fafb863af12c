"""What the hub shows servers, as configured: credentials and certificates."""

import base64
from pathlib import Path

import pytest
import trustme
from joserfc.jwk import ECKey

from concento.control.config.load import read
from concento.model.config import Config, UrlReplica
from concento.model.errors import ConfigError
from concento.model.showing import OAuthClient, ServerTls, TokenExchange, UserOAuth

ENV = {"HOME": "/home/me", "SECRET": "s3cr3t-value", "PEM": ECKey.generate_key("P-256").as_pem(private=True).decode()}
URL = "https://docs.example.com/mcp"


def built(more: str, url: str = URL, folder: Path = Path("/etc")) -> Config:
    return read(f"servers: {{docs: {{url: '{url}', {more}}}}}\n".encode(), folder / "hub.yaml", ENV)


def replica(more: str) -> UrlReplica:
    (found,) = built(more).servers["docs"].replicas
    assert isinstance(found, UrlReplica)
    return found


def told(more: str, url: str = URL) -> str:
    with pytest.raises(ConfigError) as caught:
        built(more, url)
    return "\n".join(caught.value.problems)


def test_a_user_and_password_become_a_header_and_are_secret() -> None:
    config = built('credentials: {basic: {user: hub, password: "${env:SECRET}"}}')
    (found,) = config.servers["docs"].replicas
    assert isinstance(found, UrlReplica)
    assert found.headers == {"authorization": "Basic aHViOnMzY3IzdC12YWx1ZQ=="}
    assert {"s3cr3t-value", "aHViOnMzY3IzdC12YWx1ZQ=="} <= config.secrets
    assert "s3cr3t" not in repr(config)


def test_a_client_of_an_authorization_server() -> None:
    text = (
        "credentials: {oauth: {token_url: 'https://login.example.com/token', client_id: hub, "
        'client_secret: "${env:SECRET}", scope: a b, method: client_secret_post}}'
    )
    assert replica(text).oauth == OAuthClient(
        "https://login.example.com/token", "hub", "client_secret_post", "s3cr3t-value", "a b", URL
    )
    assert "s3cr3t" not in repr(built(text))


def test_a_private_key_in_place_of_a_secret() -> None:
    oauth = replica(
        "credentials: {oauth: {token_url: 'http://127.0.0.1:8/token', client_id: hub, "
        "private_key: \"${env:PEM}\", resource: 'https://other.example.com/'}}"
    ).oauth
    assert oauth is not None
    assert (oauth.method, oauth.resource) == ("private_key_jwt", "https://other.example.com/")


def test_certificates_are_paths_relative_to_the_file() -> None:
    assert replica("tls: {ca: ca.crt, cert: hub.crt, key: ../hub.key}").tls == ServerTls(
        Path("/etc/ca.crt"), Path("/etc/hub.crt"), Path("/etc/../hub.key")
    )


OAUTH = "token_url: 'https://login.example.com/token', client_id: hub"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("credentials: {}", "credentials are one of 'bearer', 'basic', 'oauth', 'user', 'exchange'; found none"),
        ("credentials: {bearer: x, basic: {user: a, password: b}}", "found 'bearer', 'basic'"),
        ("credentials: {basic: {user: a}}", "'basic' needs 'user' and 'password'"),
        ("credentials: {basic: {user: 'a:b', password: c}}", "expected a name without :"),
        (f"credentials: {{oauth: {{{OAUTH}}}}}", "'oauth' needs either 'client_secret' or 'private_key'"),
        (f"credentials: {{oauth: {{{OAUTH}, client_secret: a, private_key: b}}}}", "either 'client_secret' or"),
        (f"credentials: {{oauth: {{{OAUTH}, private_key: b}}}}", "expected a private key in PEM"),
        (
            "credentials: {oauth: {token_url: 'http://login.example.com/', client_id: a, client_secret: b}}",
            "a secret would be sent unencrypted",
        ),
        ("credentials: {oauth: {client_id: a, client_secret: b}}", "oauth needs the key 'token_url'"),
        ("tls: {cert: a.crt}", "'cert' and 'key' go together"),
        ("headers: {Authorization: x}, credentials: {basic: {user: a, password: b}}", "exclude each other"),
    ],
)
def test_what_is_wrong_is_told(more: str, problem: str) -> None:
    assert problem in told(more)


def test_certificates_without_tls_have_no_effect() -> None:
    assert "'tls' has no effect: 'url' is not https://" in told("tls: {ca: a}", "http://docs.example.com/mcp")


def test_files_that_are_there_have_to_fit(tmp_path: Path) -> None:
    one, other = (trustme.CA().issue_cert("hub@example.com") for _ in range(2))
    one.cert_chain_pems[0].write_to_path(str(tmp_path / "hub.crt"))
    one.private_key_pem.write_to_path(str(tmp_path / "hub.key"))
    built("tls: {cert: hub.crt, key: hub.key}", folder=tmp_path)
    other.private_key_pem.write_to_path(str(tmp_path / "hub.key"))
    with pytest.raises(ConfigError, match="the key is not that of the certificate"):
        built("tls: {cert: hub.crt, key: hub.key}", folder=tmp_path)


# -- users' accounts, the vault, and where others may send the hub

KEY = bytes(range(32)).hex()


def whole(text: str) -> Config:
    return read(text.encode(), Path("/etc/hub.yaml"), {"HOME": "/root", "KEY": KEY})


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        whole(text)
    return str(caught.value)


def users(more: str = "", credentials: str = "{user: {}}", url: str = "https://docs.example.com/mcp") -> str:
    return f"servers:\n  docs:\n    url: {url}\n    credentials: {credentials}\n{more}"


def test_with_users_each_principal_has_links_of_its_own() -> None:
    server = whole(users()).servers["docs"]
    assert server.users == UserOAuth()
    assert server.isolation == "principal"
    assert whole(users("    isolation: session\n")).servers["docs"].isolation == "session"
    given = "client_id: a, client_secret: '${env:KEY}', scope: 'x y', issuer: 'https://i.example'"
    config = whole(users(credentials=f"{{user: {{{given}}}}}"))
    assert config.servers["docs"].users == UserOAuth("a", KEY, None, "https://i.example", "x y")
    assert KEY not in repr(config)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            users(credentials="{user: {client_id: x, client_secret: '${env:KEY}'}}"),
            "'client_secret' would go to whatever authorization server the server names",
        ),
        (
            "servers: {docs: {credentials: {user: {}}, replicas: [{url: 'https://a.example/'}, "
            "{url: 'https://b.example/'}]}}",
            "accounts are for one place",
        ),
        (users("    isolation: shared\n"), "hub.yaml:5:5: with 'user' each caller has links of their own"),
        (users(credentials="{user: {}, bearer: x}"), "found 'bearer', 'user'"),
        (users(credentials="{user: {client_secret: x}}"), "'client_secret' is nobody's"),
        (users(credentials="{user: {client_id: x, method: client_secret_post}}"), "'method' has no effect"),
        (users(credentials="{user: {issuer: 'http://login.example.com'}}"), "'issuer' has to be https://"),
        (users("auth: {}\nstate: off\n"), "hub.yaml:4:19: the server 'docs' has users' accounts, which are kept in"),
        (users("auth: {}\n"), "hub.yaml:4:19: the server 'docs' has users' accounts, which need a vault"),
        (
            users("auth: {}\nlisten: 0.0.0.0:7400\nvault: {key: '${env:KEY}'}\n"),
            "which need a URL that browsers reach: set 'public_url' in 'auth'",
        ),
        (
            "servers: {docs: {replicas: [{url: 'https://a.example/', credentials: {user: {}}}]}}",
            "'user' is the server's, whichever replica answers",
        ),
        ("servers: {docs: {command: [x], credentials: {user: {}}}}", "'credentials' has no effect without 'url'"),
        (users("vault: {}\n"), "hub.yaml:5:8: a vault needs one of 'key', 'keys' and 'provider'"),
        (users("vault: {key: short}\n"), "expected 32 random bytes"),
        (users(f"vault: {{key: '{'00' * 32}'}}\n"), "expected 32 random bytes"),
        (users(f"vault: {{key: '{KEY}', keys: ['{KEY}']}}\n"), "a vault needs one of"),
        (users("vault: {provider: hsm}\n"), "unknown provider of vault keys 'hsm'"),
        (users("outbound: {allow: [10.0.0.0/33]}\n"), "expected a network, such as 10.0.0.0/8"),
        (users("outbound: {allow: ['http://x']}\n"), "expected a network or host"),
    ],
)
def test_what_users_accounts_need_is_told(text: str, problem: str) -> None:
    assert problem in refused(text)


EXCHANGE = "token_url: 'https://login.example.com/token', client_id: hub, client_secret: '${env:KEY}'"
JWT = "auth: {jwt: [{name: company, issuer: 'https://login.example.com', audience: [x]}]}\n"


def test_a_callers_token_may_be_exchanged_for_one_of_the_servers() -> None:
    server = whole(users(JWT, f"{{exchange: {{{EXCHANGE}, audience: docs, scope: read}}}}")).servers["docs"]
    client = OAuthClient("https://login.example.com/token", "hub", "client_secret_basic", KEY, "read", URL)
    assert server.exchange == TokenExchange(client, "docs")
    assert server.isolation == "principal"
    at = "at: {client_id: hub2, client_secret: '${env:KEY}'}, subject: id_token"
    config = whole(users(JWT, f"{{exchange: {{{EXCHANGE}, {at}}}}}"))
    exchange = config.servers["docs"].exchange
    assert exchange is not None
    assert exchange.at == OAuthClient("", "hub2", "client_secret_basic", KEY)
    assert exchange.client.resource == ""
    assert config.auth is not None
    assert config.auth.keeps_tokens
    assert KEY not in repr(config)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (users("", f"{{exchange: {{{EXCHANGE}}}}}"), "exchanges its callers' tokens, and nobody has one"),
        (users("auth: {}\n", f"{{exchange: {{{EXCHANGE}}}}}"), "exchanges its callers' tokens, and nobody has one"),
        (users(f"    isolation: shared\n{JWT}", f"{{exchange: {{{EXCHANGE}}}}}"), "with 'exchange' each caller has"),
        (users(JWT, "{exchange: {client_id: a, client_secret: b}}"), "exchange needs the key 'token_url'"),
        (users(JWT, f"{{exchange: {{{EXCHANGE}, issuer: 'https://x.example'}}}}"), "'issuer' has no effect"),
        (users(JWT, f"{{exchange: {{{EXCHANGE}, at: {{client_id: x}}}}}}"), "'at' needs either 'client_secret' or"),
    ],
)
def test_what_an_exchange_needs_is_told(text: str, problem: str) -> None:
    assert problem in refused(text)


def test_keys_of_the_vault_are_read_in_either_writing_and_redacted() -> None:
    encoded = base64.b64encode(bytes(range(32))).decode()
    assert whole(users(f"vault: {{key: '{encoded}'}}\n")).vault_keys == (bytes(range(32)),)
    config = whole(users(f"vault: {{keys: ['${{env:KEY}}', '{encoded}']}}\n"))
    assert config.vault_keys == (bytes(range(32)),) * 2
    assert {KEY, encoded} <= config.secrets
    assert "\\x1f" not in repr(config)


def test_what_is_allowed_may_be_reached_and_nothing_else() -> None:
    reach = whole(users("outbound: {allow: [10.0.0.0/8, login.corp.example]}\n")).outbound
    assert reach.why_not("x", "10.1.2.3") is None
    assert reach.why_not("login.corp.example", "192.168.1.1") is None
    assert reach.why_not("x", "192.168.1.1") is not None
    assert whole(users()).outbound.why_not("x", "10.1.2.3") is not None
