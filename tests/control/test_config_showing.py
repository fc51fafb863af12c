"""What the hub shows servers, as configured: credentials and certificates."""

from pathlib import Path

import pytest
import trustme
from joserfc.jwk import ECKey

from concento.control.config.load import read
from concento.model.config import Config, UrlReplica
from concento.model.errors import ConfigError
from concento.model.showing import OAuthClient, ServerTls

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
        ("credentials: {}", "credentials are one of 'bearer', 'basic' and 'oauth'; found none"),
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
