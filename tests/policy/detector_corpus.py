"""What detectors should find, and what they should leave alone: written before the detectors were tuned.

No secret here is one: values are made up from parts when the module is imported, with valid checksums where a kind of
value has any, so that nobody's scanner takes this file for a leak.
"""

import base64
import hashlib
import json
import random
import uuid
from collections.abc import Iterator
from typing import Final, NamedTuple

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ALNUM: Final = _LETTERS + "0123456789"
_HEX: Final = "0123456789abcdef"


class Sample(NamedTuple):
    """A text, and what in it has to go."""

    detector: str
    text: str
    secret: str


_random = random.Random(20261126)


def _some(alphabet: str, count: int) -> str:
    return "".join(_random.choice(alphabet) for _ in range(count))


def _b64(count: int) -> str:
    return base64.b64encode(_random.randbytes(count)).decode()


def _b64url(count: int) -> str:
    return base64.urlsafe_b64encode(_random.randbytes(count)).decode().rstrip("=")


_AROUND: Final = (
    "{}",
    'export THE_KEY="{}"',
    "2026-11-26T09:14:02Z INFO starting with {} for tenant acme",
    '{{"value": "{}", "id": 17}}',
    "Here it is: {}. Please rotate it.",
    "curl -H 'X-Api-Key: {}' https://api.example.com/v1/items",
    "| production | {} | 2026-01-01 |",
)


def _in_texts(detector: str, values: list[str], around: tuple[str, ...] = _AROUND) -> Iterator[Sample]:
    for number, value in enumerate(values):
        yield Sample(detector, around[number % len(around)].format(value), value)


def _jwt(claims: dict[str, object], alg: str = "RS256", signature: int = 256) -> str:
    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return ".".join((part({"alg": alg, "typ": "JWT"}), part(claims), _b64url(signature)))


def _pem(kind: str, lines: int = 12, head: str = "") -> str:
    body = "\n".join(_b64(48) for _ in range(lines))
    return f"-----BEGIN {kind}-----\n{head}{body}\n-----END {kind}-----"


def _luhn(prefix: str, length: int) -> str:
    digits = prefix + _some("0123456789", length - len(prefix) - 1)
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


def _grouped(digits: str, *sizes: int, by: str = " ") -> str:
    parts, at = [], 0
    for size in sizes:
        parts.append(digits[at : at + size])
        at += size
    return by.join(parts)


def _iban(country: str, bban: str) -> str:
    numbers = "".join(str(int(character, 36)) for character in bban + country + "00")
    return f"{country}{98 - int(numbers) % 97:02d}{bban}"


def _digits(count: int) -> str:
    return _some("0123456789", count)


def _positives() -> Iterator[Sample]:
    pems = [
        _pem("RSA " + "PRIVATE KEY"),
        _pem("PRIVATE " + "KEY"),
        _pem("EC PRIVATE " + "KEY", 3),
        _pem("OPENSSH " + "PRIVATE KEY", 20),
        _pem("ENCRYPTED PRIVATE " + "KEY"),
        _pem("RSA " + "PRIVATE KEY", head="Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,6C0F\n\n"),
        _pem("PGP " + "PRIVATE KEY BLOCK", 15),
    ]
    for number, pem in enumerate(pems):
        body = pem.splitlines()[-3]
        yield Sample("private-key", (f"The file:\n{pem}\nthat is all", pem)[number % 2], body)
    service_account = json.dumps({"type": "service_account", "private_key": pems[1], "client_id": "1"})
    yield Sample("private-key", service_account, pems[1].splitlines()[4])
    cut = pems[0][: len(pems[0]) // 2]
    yield Sample("private-key", f"(truncated) {cut}", cut[-40:])

    base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    yield from _in_texts("aws-key", [prefix + "IA" + _some(base32, 16) for prefix in ("AK", "AS", "AK", "AS")])
    for name in ("aws_secret_access_key = {}", 'AWS_SECRET_ACCESS_KEY="{}"', '"SecretAccessKey": "{}"'):
        value = _some(_ALNUM + "/+", 40)
        yield Sample("aws-key", name.format(value), value)

    yield from _in_texts("google-key", ["AI" + "za" + _some(_ALNUM + "_-", 35) for _ in range(4)])
    yield from _in_texts("google-key", ["GOC" + "SPX-" + _some(_ALNUM + "_-", 28), "ya" + "29.a0A" + _b64url(90)])

    for text, count in (
        ("DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={};EndpointSuffix=core.example.net", 64),
        ("Endpoint=sb://acme.servicebus.example.com/;SharedAccessKeyName=Root;SharedAccessKey={}", 32),
    ):
        value = _b64(count)
        yield Sample("azure-key", text.format(value), value)
    for _ in range(3):
        secret = _some(_ALNUM, 3) + "8" + "Q~" + _some(_ALNUM + "_.-", 34)
        yield Sample("azure-key", f"client secret {secret} expires soon", secret)
    sig = _b64(32).replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    yield Sample("azure-key", f"https://acme.blob.example.com/c/f?sv=2024-11-04&se=2026-12-01&sr=b&sig={sig}", sig)

    gh = ["gh" + kind + "_" + _some(_ALNUM, 36) for kind in "pousr"]
    yield from _in_texts("github-token", [*gh, "github" + "_pat_" + _some(_ALNUM, 22) + "_" + _some(_ALNUM, 59)])
    remote = "gh" + "s_" + _some(_ALNUM, 36)
    yield Sample("github-token", f"https://x-access-token:{remote}@github.com/acme/app.git", remote)

    gl = ["gl" + kind + "-" + _some(_ALNUM + "_-", 20) for kind in ("pat", "ptt", "dt", "rt", "agent", "pat")]
    yield from _in_texts("gitlab-token", gl)

    def slack(kind: str) -> str:
        return "xo" + f"x{kind}-" + "-".join((_digits(12), _digits(13), _some(_ALNUM, 24)))

    yield from _in_texts("slack-token", [slack(kind) for kind in "bpaer"])
    yield from _in_texts(
        "slack-token", ["xa" + "pp-1-A0" + _some("ABCDEF0123456789", 9) + "-" + _digits(13) + "-" + _some(_HEX, 64)]
    )
    hook = "/".join(
        (
            "https://hooks.slack" + ".com/services",
            "T0" + _some("ABC123", 7),
            "B0" + _some("ABC123", 7),
            _some(_ALNUM, 24),
        )
    )
    yield Sample("slack-token", f"notify {hook} on failure", hook)

    stripe = [f"{kind}_{mode}_" + _some(_ALNUM, 24) for kind in ("s" + "k", "r" + "k") for mode in ("live", "test")]
    yield from _in_texts(
        "stripe-key", [*stripe, "wh" + "sec_" + _some(_ALNUM, 32), "s" + "k_live_" + _some(_ALNUM, 99)]
    )

    openai = [
        "s" + f"k-{kind}-" + _some(_ALNUM + "_-", 74) + "T3Blbk" + "FJ" + _some(_ALNUM + "_-", 74)
        for kind in ("proj", "svcacct", "admin")
    ]
    old = ["s" + "k-" + _some(_ALNUM, 20) + "T3Blbk" + "FJ" + _some(_ALNUM, 20) for _ in range(3)]
    yield from _in_texts("openai-key", openai + old)

    anthropic = [
        "s" + "k-" + f"ant-{kind}-" + _some(_ALNUM + "_-", 93) + "AA"
        for kind in ("api03", "admin01", "oat01", "api03", "sid01", "api03")
    ]
    yield from _in_texts("anthropic-key", anthropic)

    yield from _in_texts("npm-token", ["np" + "m_" + _some(_ALNUM, 36) for _ in range(5)])
    yield Sample("npm-token", "//registry.npmjs.org/:_authToken=" + (one := "np" + "m_" + _some(_ALNUM, 36)), one)
    yield from _in_texts("pypi-token", ["py" + "pi-AgEIcHlwaS5vcmc" + _b64url(100) for _ in range(6)])
    yield from _in_texts("sendgrid-key", ["S" + "G." + _b64url(16) + "." + _b64url(32) for _ in range(6)])
    yield from _in_texts("twilio-key", ["S" + "K" + _some(_HEX, 32) for _ in range(6)])

    yield from _in_texts("huggingface-token", ["h" + "f_" + _some(_LETTERS, 34) for _ in range(6)])
    services = [
        "do" + "p_v1_" + _some(_HEX, 64),
        "da" + "pi" + _some(_HEX, 32),
        "sh" + "pat_" + _some(_HEX, 32),
        "dc" + "kr_pat_" + _some(_ALNUM + "_-", 27),
        "li" + "n_api_" + _some(_ALNUM, 40),
        "nt" + "n_" + _digits(11) + _some(_ALNUM, 35),
        "gl" + "sa_" + _some(_ALNUM, 32) + "_" + _some(_HEX, 8),
        "hv" + "s." + _some(_ALNUM + "_-", 95),
        "AGE-SECRET" + "-KEY-1" + _some("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
    ]
    yield from _in_texts("service-token", services)
    yield from _in_texts(
        "telegram-token", [_digits(10 - one % 2) + ":AA" + _some(_ALNUM + "_-", 33) for one in range(6)]
    )

    tokens = [
        _jwt({"sub": "alice", "exp": 1_800_000_000}),
        _jwt({"sub": "bob", "aud": ["a", "b"], "scope": "read write"}, "ES256", 64),
        _jwt({"sub": "1", "roles": ["admin"] * 20}, "HS256", 32),
        _jwt({}, "EdDSA", 64),
        _jwt({"email": "a@example.com"}, "PS512", 256),
        _jwt({"sub": "ünïcode"}, "RS256", 512),
    ]
    yield from _in_texts("jwt", tokens)

    for header, value in (
        ("Authorization: Bearer {}", _b64url(30)),
        ('"authorization": "Bearer {}"', _some(_HEX, 40)),
        ("> authorization: bearer {}", _b64url(48)),
        ("curl -H 'Authorization: Bearer {}' https://x", _b64url(24)),
        ("Authorization: Basic {}", base64.b64encode(b"admin:Sup3r" + b"Secret!").decode()),
        ("proxy-authorization: Basic {}", base64.b64encode(b"svc-build:9f8e" + b"7d6c").decode()),
        ("headers={{'Authorization': 'Basic {}'}}", base64.b64encode(b"user@example.com:token" + b"123").decode()),
        ("Set Authorization to Token? no: Bearer {}", _some(_ALNUM, 32)),
    ):
        yield Sample("authorization", header.format(value), value)

    for url, value in (
        ("postgres://app:{}@db.internal:5432/shop", "s3cr" + "3t-pw"),
        ("DATABASE_URL=postgresql+asyncpg://svc:{}@10.0.0.5/app?ssl=require", "Zx81" + "!kk"),
        ("redis://:{}@cache:6379/0", "hunter" + "2hunter2"),
        ("amqps://guest:{}@mq.example.com/vhost", "r4bb" + "it.Pw"),
        ("https://deploy:{}@git.example.com/acme/app.git", "p%40ss" + "w0rd"),
        ("mongodb+srv://root:{}@cluster0.example.net/?w=majority", "m0ng" + "oPass"),
        ("clone failed: fatal: unable to access 'https://bot:{}@example.com/'", "a8d7f6" + "g5"),
        ("mysql://root:{}@localhost/db", "t00" + "r"),
    ):
        yield Sample("url-password", url.format(value), value)

    for assignment, value in (
        ("password = '{}'", "correct-horse" + "-battery"),
        ('DB_PASSWORD="{}"', "Xk29" + "!fjq"),
        ("PGPASSWORD={} psql -h db", "p9s" + "8d7f6"),
        ('{{"user": "svc", "password": "{}"}}', "Tr0ub4" + "dor&3"),
        ("api_key: {}", _some(_HEX, 32)),
        ('client_secret => "{}"', _some(_ALNUM, 40)),
        ("--password={}", "w1nt" + "er2026"),
        ('"apiKey":"{}"', _some(_ALNUM, 28)),
        ("spring.datasource.password={}", "j4va" + "Beans"),
        ("Passphrase: {}", "open-s3s" + "ame-now"),
        ('\\"secret_key\\": \\"{}\\"', _some(_ALNUM, 24)),
        ("the wifi password is: {}", "sunny" + "-day-42"),
        ("refresh_token={}&grant_type=refresh_token", _some(_ALNUM, 43)),
        ("password: {}", "letmein" + "please"),
        ("SECRET_KEY = '{}'", "django-insecure-" + _some(_ALNUM, 30)),
    ):
        yield Sample("password", assignment.format(value), value)

    for text, value in (
        ("Contact {} for access", "alice@example.com"),
        ("From: Bob <{}>", "bob.smith+work@mail.example.co.uk"),
        ('{{"email":"{}"}}', "j.doe@sub.example.org"),
        ("mailto:{}?subject=hi", "sales@example.net"),
        ("author {} 1700000000 +0100", "dev_99@company.io"),
        ("{}, carol@example.com", "dan-o@example.travel"),
        ("user={} logged in", "UPPER.CASE@EXAMPLE.COM"),
        ("({})", "o'neil@example.ie"),
        ("Für Rückfragen: {}.", "mueller@beispiel.example.de"),
    ):
        yield Sample("email", text.format(value), value)

    for text, value in (
        ("Call {} today", "+1 415 555 0132"),
        ("phone: {}", "+14155550132"),
        ("Tel. {}", "+49 151 23456789"),
        ("mobile {}", "+44 20 7946 0958"),
        ("{} (office)", "(212) 555-0142"),
        ("reach me on {}.", "212-555-0187"),
        ("{}", "+33 6 12 34 56 78"),
        ('"phone": "{}"', "030 1234567"),
        ("Telefon: {}", "0171/1234567"),
        ("fax 1-{}", "800-555-0199"),
        ("cell {}", "415.555.2671"),
        ("WhatsApp {}", "+91-98765-43210"),
        ("Handy: {}", "0151 23456789"),
        ("or ring {} before five", "020 7946 0958"),
    ):
        yield Sample("phone", text.format(value), value)

    cards = [
        ("card {}", _luhn("4", 16)),
        ("{} exp 04/29", _grouped(_luhn("4", 16), 4, 4, 4, 4)),
        ("PAN={}", _luhn("51", 16)),
        ("pay with {} please", _grouped(_luhn("2221", 16), 4, 4, 4, 4, by="-")),
        ("amex {}", _luhn("37", 15)),
        ("amex {}", _grouped(_luhn("34", 15), 4, 6, 5)),
        ("order 123 {} ok", _grouped(_luhn("4", 16), 4, 4, 4, 4)),
        ('{{"card": {}}}', _luhn("6011", 16)),
        ("diners {}", _luhn("36", 14)),
        ("jcb {}", _luhn("3530", 16)),
        ("unionpay {}", _luhn("62", 16)),
    ]
    for text, value in cards:
        yield Sample("credit-card", text.format(value), value)

    ibans = [
        ("IBAN {}", _iban("DE", _digits(18))),
        ("pay to {} until Friday", _grouped(_iban("DE", _digits(18)), 4, 4, 4, 4, 4, 2)),
        ("{} BIC COBADEFFXXX", _grouped(_iban("FR", _digits(23)), 4, 4, 4, 4, 4, 4, 3)),
        ('"iban":"{}"', _iban("GB", "WEST" + _digits(14))),
        ("NL: {}", _iban("NL", "ABNA" + _digits(10))),
        ("conto: {}", _iban("IT", "X" + _digits(22))),
        ("konto {}", _grouped(_iban("AT", _digits(16)), 4, 4, 4, 4, 4)),
        ("ES {}", _iban("ES", _digits(20))),
    ]
    for text, value in ibans:
        yield Sample("iban", text.format(value), value)

    for text, value in (
        ("SSN {}", "219-09-" + "9999"),
        ("ssn={}", "078-05-" + "1121"),
        ("social security number: {}.", "457-55-" + "5462"),
        ('"ssn":"{}"', "321-45-" + "6789"),
        ("({})", "509-12-" + "3456"),
        ("his number {} was", "123-45-" + "6780"),
    ):
        yield Sample("us-ssn", text.format(value), value)

    for text, value in (
        ("client {} connected", "203.0.113.7"),
        ("{}:443", "198.51.100.23"),
        ("from {} port 22", "192.168.1.254"),
        ("[{}]:8080", "2001:db8::1"),
        ("src={} dst=x", "fe80::1ff:fe23:4567:890a"),
        ("{}", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
        ("allow {}/24", "10.20.30.0"),
    ):
        yield Sample("ip-address", text.format(value), value)


def _nested() -> Iterator[Sample]:
    """JSON within JSON, as servers say it that answer with a text: what escapes end with is not of the value."""
    values = {
        "github-token": "gh" + "p_" + _some(_ALNUM, 36),
        "aws-key": "AK" + "IA" + _some("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
        "slack-token": "xo" + "xb-" + _digits(12) + "-" + _some(_ALNUM, 24),
        "email": "nina@example.com",
        "credit-card": _luhn("4", 16),
        "us-ssn": "321-45-" + "6789",
        "iban": _iban("DE", _digits(18)),
        "phone": "+14155550132",
    }
    for detector, value in values.items():
        yield Sample(detector, '{"log": "one\\n' + value + '\\ntwo"}', value)
        yield Sample(detector, '{"from": "\\u003c' + value + '\\u003e"}', value)


POSITIVES: Final = (*_positives(), *_nested())


def _negatives() -> Iterator[str]:
    # identifiers that machines make
    for _ in range(12):
        yield f"request {uuid.UUID(int=_random.getrandbits(128), version=4)} done"
    for _ in range(8):
        yield f'{{"id": "{uuid.UUID(int=_random.getrandbits(128), version=4)}", "state": "open"}}'
    for _ in range(12):
        yield f"commit {_some(_HEX, 40)}"
    for _ in range(6):
        yield f"index {_some(_HEX, 7)}..{_some(_HEX, 7)} 100644"
    for name in ("sha256", "sha512", "md5", "sha1"):
        for _ in range(3):
            yield f"{name}:{hashlib.new(name, _random.randbytes(8)).hexdigest()}  dist/app.tar.gz"
    for _ in range(6):
        yield f'"integrity": "sha512-{_b64(64)}"'
    for _ in range(8):
        yield ":".join(f"{_random.randrange(256):02x}" for _ in range(6)) + " wlan0"
    for _ in range(5):
        yield "-".join(f"{_random.randrange(256):02X}" for _ in range(6)) + " link/ether"
    for _ in range(6):
        yield f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5{_b64(33)} deploy key"
    for _ in range(4):
        yield _pem("CERTIFICATE", 4)
    yield _pem("PUBLIC KEY", 3)
    for _ in range(6):
        yield f"data:image/png;base64,iVBORw0KGgo{_b64(60)}"
    for _ in range(6):
        yield f'ETag: W/"{_some(_HEX, 16)}-{_digits(6)}"'
    for _ in range(6):
        yield f"trace_id={_some(_HEX, 32)} span_id={_some(_HEX, 16)}"
    for _ in range(4):
        yield f"arn:aws:iam::{_digits(12)}:role/deployer-{_digits(3)}"
    for _ in range(4):
        yield f"docker.io/library/python@sha256:{_some(_HEX, 64)}"
    for _ in range(4):
        yield f"cursor={_b64url(24)}"
    # numbers
    for _ in range(10):
        yield f"order {_digits(10)} shipped, parcel 1Z{_some('ABCDEFGH0123456789', 16)}"
    for _ in range(6):
        yield f"invoice 2026-{_digits(6)} total 1{_digits(3)}.{_digits(2)} EUR"
    for _ in range(6):
        yield f"{1_700_000_000 + _random.randrange(10**8)} {1_700_000_000_000 + _random.randrange(10**11)}"
    for _ in range(4):
        yield f"{_random.randrange(17 * 10**14, 18 * 10**14)} us, {_random.randrange(17 * 10**17, 18 * 10**17)} ns"
    for _ in range(6):
        yield f"ISBN 978-{_random.randrange(10)}-{_digits(2)}-{_digits(6)}-{_random.randrange(10)}"
    for _ in range(4):
        yield f"ISBN-10 {_random.randrange(10)}-{_digits(4)}-{_digits(4)}-X, EAN {_digits(13)}"
    for _ in range(4):
        yield f"price {_random.uniform(1, 9999):.2f} {_random.uniform(0, 1):.16f}"
    for _ in range(4):
        yield f"lat {_random.uniform(-90, 90):.6f}, lon {_random.uniform(-180, 180):.6f}"
    for _ in range(3):
        yield f'{{"id": {_random.randrange(10**17, 10**18)}, "parent": {_random.randrange(10**18)}}}'
    for _ in range(3):
        yield f"VIN WVWZZZ1JZXW{_digits(6)}, IMEI reserved, SKU {_digits(3)}-{_digits(4)}"
    yield from (
        *("2026-11-26", "2026-11-26T20:31:05+00:00", "26.11.2026 20:31", "11/26/2026", "20:31:05.123456"),
        *("20261126203105", "Thu, 26 Nov 2026 20:31:05 GMT", "P1DT2H30M", "2026-W48-4", "1d 02:03:04"),
        *("v1.2.3", "1.2.3.4567", "version 10.0.19045.3803", "python 3.11.9", "node v22.11.0, npm 10.9.0"),
        *("Chrome/131.0.0.0 Safari/537.36", "linux 6.8.0-45-generic", "GLIBC_2.38", "release 2024.10.1.1 is out"),
        *("16/9", "1920x1080", "3.14159265358979323846", "6.02214076e23", "0xdeadbeefcafebabe", "1,234,567,890"),
        *("1 000 000 000", "$1,299.00", "€ 4.999,00", "99.95%", "10:1", "2^64 = 18446744073709551616"),
        *("pages 123-45", "call number QA76.73.P98", "room 212-555", "score 6-4 6-7 7-5", "RFC 9110 9112 9113"),
        *("id 123-456-789", "part 555-0142", "units: 300 400 5000", "ticket #4155550132", "chapters 1-22-333"),
        *("0800 to 1700", "matrix 1234 5678 9012 3456 7890", "bits 0101 1010 1111 0000", "0 12 345 678"),
        *("coordinates 212.555 142.33", "@@ -12,7 +1234,8 @@", "+1234567 lines, -7654321 lines", "UTC+01:00"),
    )
    # code
    yield from (
        *("password = get_password()", "def login(user: str, password: str) -> bool:", "self.password = password"),
        *("password: str | None = None", "if not password:", "token = next(tokens)", "secret = os.environ['SECRET']"),
        *('password = os.getenv("DB_PASSWORD")', "const apiKey = process.env.API_KEY;", "api_key = settings.api_key"),
        *(
            "password=${DB_PASSWORD}",
            "PASSWORD=<your-password>",
            "password: {{ vault_password }}",
            "password: ********",
        ),
        *('"password": null', '"password": ""', '"password": "********"', "password_hash = hash(password)"),
        *("access_token: string;", "interface Auth { accessToken: string; refreshToken?: string }", "secret: bool"),
        *(
            "passwordField.sendKeys(password)",
            "assert password == expected",
            "pwd = os.getcwd()",
            "echo $PWD",
            "pwd: /tmp",
        ),
        *("secret_name = my-secret", "secretKeyRef: {name: db, key: password}", "token_type: bearer", "api_keys: {}"),
        *(
            "max_tokens: 4096",
            "tokenizer = AutoTokenizer.from_pretrained('x')",
            "num_tokens=1024",
            "next_page_token: abc123",
        ),
        *(
            "type Password struct {",
            "func (a *Auth) Password() string",
            "PasswordAuthentication no",
            "PermitRootLogin prohibit-password",
        ),
        *(
            "export default { password: required }",
            '<input type="password" name="password">',
            "label: Password:",
            "Enter password:",
        ),
        *(
            "UPDATE users SET password = ?",
            "SELECT password FROM users",
            "ALTER ROLE app PASSWORD :'pw'",
            "--password-stdin",
        ),
        *(
            "@app.route('/users')",
            "@pytest.fixture",
            "import { x } from '@scope/pkg'",
            "npm i react@18.2.0 left-pad@1.3.0",
        ),
        *(
            "git clone git@github.com:acme/app.git",
            "ssh deploy@bastion",
            "user@localhost",
            "icon@2x.png",
            "@media (max-width: 600px)",
        ),
        *(
            "actions/checkout@v4",
            "uses: docker/login-action@v3",
            "x @ y.T",
            "a@b",
            "foo@bar",
            "git@{upstream}",
            "HEAD@{1}",
        ),
        *(
            "std::vector<int> v;",
            "use std::io::Read;",
            "a::b::c",
            "Foo::Bar.new",
            "key: value: other",
            "::before",
            "x ? y : z",
        ),
        *(
            "Bearer authentication is required",
            "the bearer of bad news",
            "Authorization: Bearer <token>",
            "Authorization: Bearer $TOKEN",
        ),
        *(
            'WWW-Authenticate: Bearer realm="example"',
            "Basic instructions follow",
            "a basic understanding of internationalization",
        ),
        *("Authorization: Bearer ${{ secrets.GITHUB_TOKEN }}", "Authorization: Basic ${CREDENTIALS}", "auth: basic"),
        *(
            "http://localhost:8080/path",
            "https://example.com:443/a@b",
            "https://medium.com/@user/post",
            "file:///home/me",
        ),
        *(
            "postgres://app@db/shop",
            "postgres://user:${PASSWORD}@db/shop",
            "redis://localhost:6379/0",
            "postgres://USER:PASSWORD@HOST/DB",
        ),
        *(
            "ssh://git@git.example.com:22/a.git",
            "http://[::1]:8080/",
            "https://example.com/?q=a:b@c",
            "scheme://user:***@host",
        ),
        *(
            "sk-learn is fun",
            "sk_buff *skb",
            "task-force-one",
            "risk-management",
            "desk-proj",
            "ghp is a prefix",
            "xoxo, Anna",
        ),
        *(
            "npm_config_cache=/tmp",
            "npm_lifecycle_event",
            "pypi-server",
            "SG.1 SG.2",
            "AKIA",
            "AIzaSy...",
            "hf_hub_download(repo_id)",
        ),
        *(
            "eyJhbGciOi",
            "eyJ is how they begin",
            "dapi",
            "shpat",
            "glpat",
            "github_pat",
            "SKU",
            "SKIP",
            "ACCEPT",
            "ASIAN",
        ),
        *("-----BEGIN CERTIFICATE REQUEST-----", "-----BEGIN PRIVATE KEY----- is how it starts", "BEGIN;", "-----"),
        *("AccountKey=...", "sig=abc", "Q~A", "T3BlbkFJ", "lin_api", "hvs.", "ntn_", "AGE-SECRET-KEY-1", "12:AA"),
    )
    # logs and results
    yield from (
        "2026-11-26 20:31:05,123 INFO  [main] c.e.App - started in 2.345 s (pid 12345)",
        '{"temperature": 21.5, "humidity": 0.43, "station": "EDDM", "observed": "2026-11-26T20:20:00Z"}',
        "GET /api/v1/items?page=2&size=50 200 1234 0.012",
        "total 48\ndrwxr-xr-x 2 root root 4096 Nov 26 20:31 .\n-rw-r--r-- 1 root root 1234567 Nov 26 20:31 app.tar",
        "CPU 12% MEM 3456 MiB / 7812 MiB SWAP 0 B",
        "12 passed, 3 skipped in 4.56s",
        "ERROR 1045 (28000): Access denied for user 'root'@'localhost' (using password: YES)",
        "Invalid password. Please try again.",
        "Your password must be at least 12 characters long.",
        "Password reset link sent.",
        "Token expired at 2026-11-26T20:31:05Z",
        "The secret is to whisk slowly.",
        "key: value",
        "The API key is missing: set API_KEY.",
        "Use your access token from the settings page.",
        "| id | name | price |\n|---|---|---|\n| 1 | chair | 49.90 |",
        "Flight LH 1234 departs 12:45 from gate B22, seat 14C, booking ABC123",
        "IBAN is an international number; a German one has 22 characters",
        "DE 89 is a road; GB 2026 is a plan; FR12 is a bus",
        "Dear customer, your appointment is on 26-11-2026 at 10:30.",
        "SSN format is AAA-GG-SSSS",
        "numbers 000-12-3456, 666-12-3456 and 900-12-3456 are never given out",
        "phone support is closed on 24-26 December",
        "Tel Aviv, 2026",
        "call stack: 0x7fff5fbff8c0 0x00000001000",
        "sms sent: 3, failed: 0",
        "fax is dead since 1999",
        "mobile first, 2026 edition",
        "cell A1:B22 = 1234.56",
        "Weather in Rome: 18 °C, wind 12 km/h, pressure 1013.25 hPa",
        "kernel: [12345.678901] usb 1-1.2: new high-speed USB device number 7",
        "Subject: Re: [PATCH v2 3/7] net: fix races",
        "rate limit: 5000/h, 4999 left, resets 1764189065",
        "progress 45% (1234567/2743482) 12.3MB/s eta 0:00:42",
        "mtu 1500 qdisc noqueue state UP group default qlen 1000",
        "pid 4155550132 exited",
        "account 12345678, sort code 12-34-56",
        "PO 4500012345, line 00010, material 000000000000123456",
        "1234-5678-9012-3456 is not a real card",
        "4111-1111-1111-1112 fails its check",
        "tracking 9400 1118 9922 3344 5566 77",
        "barcode 4006381333931, GTIN 04006381333931",
        "DOI 10.1000/182, arXiv:2311.12345v2, PMID 12345678",
        "§ 212 Abs. 3 Satz 1",
        "chr1:123456789-123456999 rs123456789",
        "H2O, CO2, C6H12O6",
        "f(x) = 3x^2 + 2x + 1",
        "lorem ipsum dolor sit amet, consectetur adipiscing elit",
        "Ünïcödé tëxt wïth äccents and emoji 🎉 and 漢字",
        "a" * 200,
        "0" * 60,
        "=" * 80,
    )


NEGATIVES: Final = tuple(dict.fromkeys(_negatives()))
