"""`guards:` of a configuration: what it is read as, and what is refused, at its place and with words that help."""

from pathlib import Path

import pytest

from concento.control.config.document import parse
from concento.control.config.guards import GUARDS, build_guards
from concento.control.config.kinds import Keys, Reader, Table
from concento.control.config.problems import Problems
from concento.control.config.references import References
from concento.model.errors import ConfigError
from concento.model.guards import Guard, Redaction, ResultLimits, Webhook
from concento.model.policy import Conditions, Role
from concento.policy.detectors import GROUPS

ROLES = {"reader": Role("reader")}
SERVERS = ("git", "crm")


def build(text: str) -> tuple[tuple[Guard, ...], Problems, References]:
    problems, references = (
        Problems(),
        References({"DLP": "a-token-of-ours", "SIGN": "sixteen-or-more-characters"}, Path()),
    )
    reader = Reader(problems, references)
    node = parse(text, problems)
    assert node is not None
    root: Table = Keys("a configuration", GUARDS).read(node, reader)
    return build_guards(root, ROLES, "hub.yaml", reader, SERVERS), problems, references


def told(text: str) -> list[str]:
    _, problems, _ = build(text)
    error = problems.error("hub.yaml")
    assert isinstance(error, ConfigError)
    return [problem.removeprefix("hub.yaml:") for problem in error.problems]


def test_a_guard_with_everything() -> None:
    guards, problems, references = build(
        """
guards:
  dlp:
    match: ["crm.*"]
    kinds: [tools]
    when: {roles: [reader]}
    unless: {networks: [10.0.0.0/8]}
    confirm: always
    result: {bytes_max: 1000, types: [text, structured]}
    redact: [email, secrets]
    patterns: {customer number: "CUST-[0-9]{8}"}
    on: [arguments, result]
    action: refuse
    webhook:
      url: https://dlp.example.com/check
      bearer: "${env:DLP}"
      secret: "${env:SIGN}"
      after: false
      timeout_s: 0.5
      on_failure: pass
"""
    )
    assert not problems
    assert guards == (
        Guard(
            "dlp",
            ("crm.*",),
            ("tool",),
            Conditions(roles=("reader",)),
            Conditions(networks=("10.0.0.0/8",)),
            "always",
            ResultLimits(1000, ("text", "structured")),
            Redaction(
                (*GROUPS["secrets"], "email"),
                ("arguments", "result"),
                "refuse",
                (("customer number", "CUST-[0-9]{8}"),),
            ),
            Webhook(
                *("https://dlp.example.com/check", True, False, 0.5, "pass", "a-token-of-ours"),
                secret="sixteen-or-more-characters",
            ),
        ),
    )
    assert guards[0].place == "hub.yaml:3"
    assert {"a-token-of-ours", "sixteen-or-more-characters"} <= references.secrets


def test_what_is_left_out_is_safe() -> None:
    (guard,), problems, _ = build("guards: {g: {redact: [jwt], webhook: {url: http://127.0.0.1:9/x}}}")
    assert not problems
    assert (guard.patterns, guard.kinds) == (("*",), ("tool", "prompt", "resource"))
    assert guard.redaction == Redaction(("jwt",), ("result",), "redact")
    assert guard.webhook is not None
    assert (guard.webhook.before, guard.webhook.after, guard.webhook.on_failure) == (True, True, "refuse")


def test_secrets_are_in_no_repr() -> None:
    (guard,), _, _ = build('guards: {g: {webhook: {url: https://x.example/token-in-path, bearer: "${env:DLP}"}}}')
    assert "a-token-of-ours" not in repr(guard)
    assert "token-in-path" not in repr(guard)


@pytest.mark.parametrize(
    ("guard", "problem"),
    [
        ("{}", "1:10: the guard 'g' does nothing: give it 'confirm', 'result', 'redact', 'patterns' or 'webhook'"),
        (
            "{match: ['git.*']}",
            "1:10: the guard 'g' does nothing: give it 'confirm', 'result', 'redact', 'patterns' or 'webhook'",
        ),
        ("{redact: [emial]}", "1:23: unknown detector 'emial'; did you mean 'email'?"),
        ("{redact: [secret]}", "1:23: unknown detector 'secret'; did you mean 'secrets'?"),
        ("{redact: []}", "1:22: expected a list, such as [secrets, email], with at least 1 in it"),
        ("{redact: [jwt], on: [results]}", "1:34: expected one of arguments, result; did you mean 'result'?"),
        ("{redact: [jwt], action: block}", "1:37: expected one of redact, refuse, note"),
        ("{confirm: always, on: [result]}", "1:31: 'on' has no effect without 'redact' or 'patterns'"),
        ("{confirm: always, action: note}", "1:31: 'action' has no effect without 'redact' or 'patterns'"),
        (
            "{redact: [jwt], on: [arguments], kinds: [resources]}",
            "1:29: resources are read without arguments: with these kinds nothing is searched",
        ),
        ("{result: {}}", "1:14: 'result' limits nothing: give it 'bytes_max' or 'types'"),
        ("{result: {bytes_max: 0}}", "1:34: expected a whole number from 1 to 16777216, found 0"),
        ("{result: {bytes_max: 99999999}}", "1:34: expected a whole number from 1 to 16777216, found 99999999"),
        (
            "{result: {types: [txt]}}",
            "1:31: expected one of text, image, audio, resource, resource_link, blob, structured; did you mean 'text'?",
        ),
        ("{match: ['gti.*'], redact: [jwt]}", "1:22: unknown server 'gti'; did you mean 'git'?"),
        (
            "{kinds: [prompts], confirm: always}",
            "1:14: only calls of tools are confirmed: with these kinds nobody would be asked",
        ),
        (
            "{confirm: destructive, when: {annotations: {readOnlyHint: true}}}",
            "1:14: 'when' leaves only tools that destroy nothing, so that nobody is asked; write 'confirm: always'",
        ),
        ("{redact: [jwt], when: {roles: [raeder]}}", "1:44: unknown role 'raeder'; did you mean 'reader'?"),
        ("{redact: [jwt], unless: {}}", "1:29: 'unless' without conditions always holds: the guard would never apply"),
        ("{webhook: {}}", "1:23: a webhook needs the key 'url'"),
        (
            "{webhook: {url: http://dlp.example.com/}}",
            "1:29: what calls hold would go to another machine in the clear; write https://, or run it on 127.0.0.1",
        ),
        (
            "{webhook: {url: ftp://x}}",
            "1:29: expected an http:// or https:// URL, such as https://docs.example.com/mcp",
        ),
        (
            "{webhook: {url: https://x.example/, before: false, after: false}}",
            "1:49: it would never be asked: leave 'before' or 'after' on",
        ),
        (
            "{webhook: {url: https://x.example/, timeout_s: 60}}",
            "1:60: expected a number above 0 and up to 30, found 60",
        ),
        ("{webhook: {url: https://x.example/, secret: short}}", "1:57: expected a secret of at least 16 characters"),
        (
            '{patterns: {x: "[0-9]+"}}',
            "1:28: a repetition has to have an end: write {0,64} in place of *, and {1,64} in place of +",
        ),
        ('{patterns: {jwt: "a"}}', "1:25: 'jwt' is a detector's name; take another, or name it in 'redact'"),
        ("{redcat: [jwt]}", "1:14: unknown key 'redcat'; did you mean 'redact'?"),
    ],
)
def test_what_is_wrong_is_told_with_a_remedy(guard: str, problem: str) -> None:
    assert told(f"guards: {{g: {guard}}}") == [problem]
