"""What secrets and personal data look like: named detectors over text, each with the rate that was measured. Pure.

A detector finds what has a form: a prefix, a checksum, a name in front. What has none (a password in a sentence, an
address, a person's name) nobody finds by form, and it claims nothing there. Rates: docs/guards.md.

Time is linear in the text. A text without a detector's `hints` is not searched; the expressions have bounded
repetitions only, so a place in a text costs at most a constant. tests/policy/test_detectors.py proves it of each.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from .looks import Span, assigned, authorization, email, in_url, ip_address, jwt, phone, whole
from .numbers import card_span, iban_span

Group = Literal["secrets", "personal"]
Judge = Callable[[re.Match[str]], Span | None]
"""What of a match is meant; None: nothing, it only looked like it."""


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of secret or of personal data. `finds` says what, for people.

    `hints`: no text without one of them has anything for it; none: every text is looked at. `anchored`: what it finds
    begins with a hint.
    """

    name: str
    group: Group | None
    finds: str
    hints: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]
    judge: Judge = whole
    anchored: bool = False

    def may_find(self, text: str) -> bool:
        """Whether a text is worth a search."""
        return not self.hints or any(hint in text for hint in self.hints)

    def spans(self, text: str) -> Iterator[Span]:
        """Where in a text it finds something."""
        for pattern in self.patterns:
            for match in self._at_hints(pattern, text) if self.anchored else pattern.finditer(text):
                if (span := self.judge(match)) is not None:
                    yield span

    def _at_hints(self, pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
        for hint in self.hints:
            at = text.find(hint)
            while at >= 0:
                match = pattern.match(text, at)
                if match is not None:
                    yield match
                at = text.find(hint, at + 1 if match is None else max(match.end(), at + 1))


# -- the table


def _not_after(characters: str, taken: str = "") -> str:
    """That none of these stands before what was `taken`; letters of an escape, in JSON within JSON, do not count."""
    escaped = "|".join(rf"(?<=\\{escape}{taken})" for escape in ("[nrt]", "u[0-9A-Fa-f]{4}"))
    return rf"(?:(?<![{characters}]{taken})|{escaped})"


_START: Final = _not_after("A-Za-z0-9_-")
_WORD: Final = _not_after("A-Za-z0-9")
_END: Final = r"(?![A-Za-z0-9_-])"


def _secret(
    name: str, finds: str, hints: str, *patterns: str, judge: Judge = whole, anchored: bool = False
) -> Detector:
    expressions = tuple(re.compile(pattern) for pattern in patterns)
    return Detector(name, "secrets", finds, tuple(hints.split()), expressions, judge, anchored)


def _token(name: str, finds: str, hints: str, *forms: str) -> Detector:
    """A token in one of the forms, each of which begins with one of the hints."""
    return _secret(name, finds, hints, f"{_START}(?:{'|'.join(forms)})", anchored=True)


def _personal(name: str, finds: str, *patterns: str, hints: str = "", judge: Judge = whole) -> Detector:
    expressions = tuple(re.compile(pattern) for pattern in patterns)
    return Detector(name, "personal", finds, tuple(hints.split()), expressions, judge)


_TABLE: Final = (
    _secret(
        "private-key",
        "private keys in PEM, also of OpenSSH and PGP, also cut short",
        "-----BEGIN",
        r"-----BEGIN (?:(?!PRIVATE)[A-Z0-9]{1,12}+ ){0,3}+PRIVATE KEY(?: BLOCK)?-----(?:\\r|\\n|\s){1,8}+"
        r"(?=[A-Za-z0-9+/=]{16}|[A-Z][A-Za-z-]{2,20}: )(?:[^-]|-(?!----)){16,32768}+(?:-----END [A-Z0-9 ]{1,60}-----)?",
        anchored=True,
    ),
    _secret(
        "aws-key",
        "access key ids of AWS, and secret keys under their name",
        "AKIA ASIA ecret_access_key ECRET_ACCESS_KEY ecretAccessKey",
        _WORD + r"(?:AKIA|ASIA)[A-Z2-7]{16}(?![A-Za-z0-9])|"
        r"""(?i:ecret_?access_?key)[\\"']{0,3}\s{0,3}[=:]\s{0,3}[\\"']{0,3}(?P<it>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])""",
        anchored=True,
    ),
    _token(
        "google-key",
        "API keys, client secrets and access tokens of Google; keys of service accounts are `private-key`",
        "AIza GOCSPX- ya29.",
        *(rf"AIza[A-Za-z0-9_-]{{35}}{_END}", rf"GOCSPX-[A-Za-z0-9_-]{{28}}{_END}", r"ya29\.[A-Za-z0-9_-]{20,1024}"),
    ),
    _secret(
        "azure-key",
        "account keys, shared access keys and signatures, and client secrets of Azure",
        "AccountKey= SharedAccessKey= Q~ sig=",
        r"(?:AccountKey|SharedAccessKey)=(?P<key>[A-Za-z0-9+/]{43,88}={0,2})",
        _not_after("A-Za-z0-9_~.-") + r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~.-])",
        r"[?&]sig=(?P<key>[A-Za-z0-9%/+]{43,64}={0,2})",
    ),
    _token(
        "github-token",
        "tokens of GitHub",
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        *(rf"gh[pousr]_[A-Za-z0-9]{{36,255}}{_END}", r"github_pat_[A-Za-z0-9_]{22,255}"),
    ),
    _token(
        "gitlab-token",
        "tokens of GitLab",
        "glpat- glptt- gldt- glrt- glcbt- gloas- glft- glsoat- glagent-",
        r"gl(?:pat|ptt|dt|rt|cbt|oas|ft|soat|agent)-[A-Za-z0-9_-]{20,255}",
    ),
    _secret(
        "slack-token",
        "tokens of Slack, and the URLs of its incoming webhooks",
        "xox xapp- hooks.slack.com/",
        _WORD + r"(?:xox[abeprs]-|xapp-[0-9]-)[A-Za-z0-9-]{20,255}|"
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,128}",
        anchored=True,
    ),
    _token(
        "stripe-key",
        "keys of Stripe, and the secrets of its webhooks",
        "sk_live_ sk_test_ rk_live_ rk_test_ whsec_",
        *(r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,255}", r"whsec_[A-Za-z0-9+/]{32,128}={0,2}"),
    ),
    _token(
        "openai-key",
        "keys of OpenAI",
        "sk-",
        r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,255}",
        rf"sk-[A-Za-z0-9]{{20}}T3BlbkFJ[A-Za-z0-9]{{20}}{_END}",
    ),
    _token("anthropic-key", "keys of Anthropic", "sk-ant-", r"sk-ant-[a-z]{3,12}[0-9]{2}-[A-Za-z0-9_-]{80,255}"),
    _token("npm-token", "tokens of npm", "npm_", rf"npm_[A-Za-z0-9]{{36}}{_END}"),
    _token("pypi-token", "tokens of PyPI", "pypi-AgE", r"pypi-AgE[A-Za-z0-9_-]{50,1024}"),
    _token("sendgrid-key", "keys of SendGrid", "SG.", rf"SG\.[A-Za-z0-9_-]{{22}}\.[A-Za-z0-9_-]{{43}}{_END}"),
    _token("twilio-key", "API keys of Twilio", "SK", rf"SK[0-9a-f]{{32}}{_END}"),
    _token("huggingface-token", "tokens of Hugging Face", "hf_", rf"hf_[A-Za-z]{{34}}{_END}"),
    _token(
        "service-token",
        "tokens of DigitalOcean, Databricks, Shopify, Docker, Linear, Notion, Grafana, Vault and age",
        "dop_v1_ doo_v1_ dor_v1_ dapi shpat_ shpca_ shppa_ shpss_ dckr_pat_ lin_api_ ntn_ glsa_ hvs. AGE-SECRET-KEY-1",
        *(r"do[opr]_v1_[0-9a-f]{64}", r"dapi[0-9a-f]{32}(?![0-9a-z])", r"shp(?:at|ca|pa|ss)_[0-9a-f]{32}"),
        *(r"dckr_pat_[A-Za-z0-9_-]{27}", r"lin_api_[A-Za-z0-9]{40}", r"ntn_[0-9]{11}[A-Za-z0-9]{35}"),
        *(r"glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}", r"hvs\.[A-Za-z0-9_-]{90,255}", r"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    ),
    _secret(
        "telegram-token",
        "tokens of bots at Telegram",
        ":AA",
        rf"{_WORD}[0-9]{{8,10}}:AA[A-Za-z0-9_-]{{33}}{_END}",
    ),
    _secret(
        "jwt",
        "JSON Web Tokens that are signed",
        "eyJ",
        _START + r"eyJ[A-Za-z0-9_-]{8,4096}+\.[A-Za-z0-9_-]{2,16384}+\.[A-Za-z0-9_-]{20,2048}+",
        judge=jwt,
        anchored=True,
    ),
    _secret(
        "authorization",
        "what follows `Bearer` or `Basic`",
        "earer EARER asic ASIC",
        r"(?i:(?P<scheme>earer|asic)) {1,3}(?P<it>[A-Za-z0-9._~+/-]{12,4096}+={0,2})",
        judge=authorization,
        anchored=True,
    ),
    _secret(
        "url-password",
        "the password in `scheme://user:password@host`",
        "@",
        r"(?<=:)(?:\\?/){2}[^\s/:@\"'<>\\]{0,64}+:(?P<it>[^\s/@\"'<>\\]{1,256}+)@(?=[A-Za-z0-9\[])",
        judge=in_url,
    ),
    _secret(
        "password",
        "values that are given to names such as `password`, `client_secret` or `api_key`, and members of JSON objects "
        "that are called so",
        "assword ASSWORD asswd ASSWD assphrase ASSPHRASE pwd PWD ecret ECRET oken OKEN key Key KEY",
        r"""(?i:(?P<word>assword|asswd|assphrase|pwd|ecret|oken|key))[\\"'\]]{0,4}+\s{0,4}+(?:=>|:=|=|(?:is)?:)\s{0,4}+"""
        r"""\\?(?P<quote>["'`]?)(?P<it>[^\s"'`\\,;<>(){}\[\]&]{6,256}+)""",
        judge=assigned,
        anchored=True,
    ),
    _personal(
        "email",
        "e-mail addresses",
        r"(?<![\w.!#$%'*+~-])(?P<user>\w[\w.!#$%'*+~-]{0,63}+)(?<=[\w+-])@"
        r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}+\.){1,8}(?P<end>[A-Za-z]{2,24})(?![A-Za-z0-9])",
        hints="@",
        judge=email,
    ),
    _personal(
        "phone",
        "telephone numbers with a country code, in the forms of North America, or after a word such as `phone`",
        r"\+" + _not_after(r"\w+./-", r"\+") + r"[1-9][0-9]{0,2}(?:[ .-]?\(?[0-9]{1,4}+\)?){2,6}+(?![0-9])",
        r"[0-9(]"
        + _not_after(r"\w+./-", ".")
        + r"(?:[0-9]{0,4}\)?(?:[ ./-]{1,2}\(?[0-9]{2,8}\)?){1,5}+)(?![0-9A-Za-z_-])",
        judge=phone,
    ),
    _personal(
        "credit-card",
        "card numbers, by issuer, length and check digit",
        r"[0-9]"
        + _not_after(r"\w.-", ".")
        + r"[0-9]{3}(?:([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}|([ -])[0-9]{6}\2[0-9]{4,5}|"
        r"[0-9]{15}|[0-9]{10,12})"
        r"(?![0-9A-Za-z_]|[.-][0-9])",
        judge=card_span,
    ),
    _personal(
        "iban",
        "international bank account numbers, by country, length and check digits",
        r"[A-Z]" + _not_after("A-Za-z0-9", ".") + r"[A-Z][0-9]{2}(?:[ -]?[A-Z0-9]){11,30}+",
        judge=iban_span,
    ),
    _personal(
        "us-ssn",
        "social security numbers of the USA, written with dashes",
        r"[0-8]" + _not_after(r"\w-", ".") + r"[0-9]{2}(?<!000|666)-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w-])",
        hints="-",
    ),
    Detector(
        "ip-address",
        None,
        "IPv4 and IPv6 addresses other than loopback; in no group, since much of what servers say has some",
        (".", ":"),
        (
            re.compile(r"[0-9]" + _not_after(r"\w.", ".") + r"[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![\w.]{0,8}[0-9])"),
            re.compile(
                r"[0-9A-Fa-f]"
                + _not_after(r"\w:.", ".")
                + r"[0-9A-Fa-f]{0,3}+:(?:[0-9A-Fa-f]{0,4}+:){1,6}+[0-9A-Fa-f]{0,4}+(?![\w:])"
            ),
        ),
        ip_address,
    ),
)

DETECTORS: Final[Mapping[str, Detector]] = {detector.name: detector for detector in _TABLE}
"""By name, in the order in which they are told."""

GROUPS: Final[Mapping[Group, tuple[str, ...]]] = {
    "secrets": tuple(one.name for one in DETECTORS.values() if one.group == "secrets"),
    "personal": tuple(one.name for one in DETECTORS.values() if one.group == "personal"),
}
