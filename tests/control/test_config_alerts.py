"""What `alerts:` may say: the hub's own rules changed, channels, routes and windows; and how mistakes are told."""

import os
from datetime import time
from pathlib import Path

import pytest

from concento.control.config import read
from concento.model.alert_rules import DEFAULTS
from concento.model.alerting import (
    Alerting,
    Burn,
    EmailChannel,
    Ratio,
    Route,
    Slow,
    Step,
    Threshold,
    WebhookChannel,
)
from concento.model.errors import ConfigError

ENV = {**os.environ, "HOOK": "https://hooks.example.com/T0KEN", "KEY": "0123456789abcdef"}
OPS = "channels: {ops: {webhook: {url: 'https://a.example.com'}}}"


def alerts(text: str) -> Alerting:
    return read(f"servers: {{time: {{command: [x]}}}}\nalerts: {text}\n".encode(), Path("/c/concento.yaml"), ENV).alerts


def rules(text: str) -> dict[str, object]:
    return {rule.name: rule for rule in alerts(f"{{rules: {text}}}").rules}


def test_the_hubs_own_rules_are_on_without_a_word() -> None:
    assert alerts("{}") == Alerting(DEFAULTS)
    assert alerts("off") == Alerting()


def test_a_rule_of_the_hubs_keeps_what_is_not_said_otherwise() -> None:
    changed = {rule.name: rule for rule in alerts("{rules: {slow_calls: {slow: {over_s: 5}, for_s: 60}}}").rules}
    own = {rule.name: rule for rule in DEFAULTS}
    assert changed["slow_calls"].condition == Slow(5.0, 0.05, 900.0, calls_min=50)
    assert (changed["slow_calls"].for_s, changed["slow_calls"].severity) == (60.0, "warning")
    assert changed["slow_calls"].means == own["slow_calls"].means
    assert changed["server_down"] == own["server_down"]


def test_a_rule_of_the_hubs_that_watches_another_metric_says_what_it_finds_in_numbers() -> None:
    changed = {rule.name: rule for rule in alerts("{rules: {loop_late: {threshold: {above: 3}}}}").rules}
    assert changed["loop_late"].says == "it was {value:.1f} s late"
    other = "{rules: {loop_late: {threshold: {metric: concento_sessions}}}}"
    assert {rule.name: rule for rule in alerts(other).rules}["loop_late"].says == ""


def test_a_rule_of_the_hubs_is_turned_off_by_its_name() -> None:
    assert set(rules("{server_down: off}")) == {rule.name for rule in DEFAULTS} - {"server_down"}


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("{threshold: {metric: concento_sessions, above: 10}}", Threshold("concento_sessions", above=10.0)),
        ("{ratio: {above: 0.2, of: [tool_error], by: tool}}", Ratio(0.2, of=("tool_error",), by="tool")),
        ("{burn: {objective: 0.999, factor: 6, short_s: 1800, long_s: 21600}}", Burn(0.999, 6.0, 1800.0, 21600.0)),
    ],
)
def test_a_rule_of_ones_own_watches_what_it_says(text: str, condition: object) -> None:
    assert getattr(rules(f"{{own: {text}}}")["own"], "condition") == condition  # noqa: B009


def test_channels_keep_their_secrets_and_show_none() -> None:
    slack, page = "{url: '${env:HOOK}', preset: slack}", "{preset: pagerduty, routing_key: '${env:KEY}'}"
    text = f"{{channels: {{ops: {{webhook: {slack}}}, page: {{webhook: {page}}}}}}}"
    whole = read(f"servers: {{}}\nalerts: {text}\n".encode(), Path("/c/concento.yaml"), ENV)
    assert {ENV["HOOK"], ENV["KEY"]} <= whole.secrets
    assert "T0KEN" not in repr(whole.alerts)
    assert ENV["KEY"] not in repr(whole.alerts)
    channel = whole.alerts.channels["page"]
    assert isinstance(channel, WebhookChannel)
    assert channel.url == "https://events.pagerduty.com/v2/enqueue"


@pytest.mark.parametrize(("tls", "port"), [("starttls", 587), ("implicit", 465)])
def test_a_mail_server_has_the_port_of_how_it_is_encrypted(tls: str, port: int) -> None:
    text = f"{{channels: {{mail: {{email: {{host: m.example.com, from: a@b.c, to: [d@e.f], tls: {tls}}}}}}}}}"
    mail = alerts(text).channels["mail"]
    assert isinstance(mail, EmailChannel)
    assert mail.port == port


def test_without_routes_what_matters_goes_to_all_channels() -> None:
    assert alerts(f"{{{OPS}}}").routes == (Route((Step(("ops",)),), ("warning", "critical")),)
    assert alerts("{}").routes == ()


def test_routes_have_steps() -> None:
    steps = "[{channels: [ops]}, {after_s: 900, channels: [ops]}]"
    more = "severity: [critical], match: {server: 't*'}, repeat_s: off"
    (route,) = alerts(f"{{{OPS}, routes: [{{{more}, steps: {steps}}}]}}").routes
    assert route.steps == (Step(("ops",)), Step(("ops",), 900.0))
    assert (route.severities, dict(route.match), route.repeat_s) == (("critical",), {"server": "t*"}, None)


def test_maintenance_has_days_and_hours_of_a_zone() -> None:
    text = '{maintenance: {night: {days: [sat, sun], from: "23:30", to: "4:00", timezone: Europe/Rome}}}'
    (window,) = alerts(text).maintenance
    assert (window.begins, window.ends, window.days, window.zone.key) == (
        time(23, 30),
        time(4, 0),
        (5, 6),
        "Europe/Rome",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{rules: {server_dwon: {for_s: 5}}}", "watches nothing: give it one of 'threshold'"),
        ("{rules: {server_dwon: {for_s: 5}}}", "did you mean the hub's 'server_down'?"),
        ("{rules: {server_dwon: off}}", "nothing to turn off: unknown rule 'server_dwon'; did you mean 'server_down'?"),
        ("{rules: {server_down: {ratio: {above: 1}}}}", "the hub's own rule, with 'threshold'; take another name"),
        ("{rules: {a: {ratio: {above: 0.1}, slow: {over_s: 1}}}}", "a rule watches one thing"),
        ("{rules: {a: {ratio: {}}}}", "it needs 'above'"),
        ("{rules: {a: {threshold: {metric: concento_sessions}}}}", "it needs 'above' or 'below'"),
        ("{rules: {a: {threshold: {above: 1}}}}", "it needs 'metric'"),
        ("{rules: {a: {burn: {objective: 0.9, factor: 14}}}}", "is more than all calls; lower 'factor'"),
        (
            "{rules: {a: {burn: {objective: 0.99, short_s: 3600}}}}",
            "'short_s' (3600) has to be less than 'long_s' (3600)",
        ),
        ("{rules: {a: {event: breaker}}}", "expected one of definition_changed"),
        ("{rules: {a: {ratio: {above: 0.1}, match: {server: tiem}}}}", "unknown server 'tiem'; did you mean 'time'?"),
        ("{rules: {a: {ratio: {abov: 0.1}}}}", "did you mean 'above'?"),
        ("{rules: {A: {ratio: {above: 0.1}}}}", "'A' can't be a rule"),
        (
            "{rules: {a: {slow: {over_s: 1}}, b: {slow: {over_s: 2}}, c: {slow: {over_s: 3}}, d: {slow: {over_s: 4}}}}",
            "rules have 5 different 'over_s'; calls are timed against 4 at most",
        ),
        ("{channels: {ops: {}}}", "needs 'webhook' or 'email', one of them"),
        ("{channels: {ops: {webhook: {}}}}", "a webhook needs the key 'url'"),
        ("{channels: {ops: {webhook: {url: 'http://a.example.com'}}}}", "in the clear; write https://"),
        ("{channels: {ops: {webhook: {preset: pagerduty}}}}", "PagerDuty needs 'routing_key'"),
        ("{channels: {ops: {webhook: {url: 'https://a.b', routing_key: k}}}}", "'routing_key' is PagerDuty's"),
        ("{channels: {m: {email: {host: m.b.c, from: a@b.c, to: [a@b.c], tls: none}}}}", "would go in the clear"),
        ("{channels: {m: {email: {host: m.b.c, from: a@b.c, to: [a@b.c], user: u}}}}", "belong together"),
        ("{channels: {m: {email: {host: m.b.c, from: 'a <a@b.c>', to: [a@b.c]}}}}", "expected an address alone"),
        (f"{{{OPS}, routes: [{{channels: [obs]}}]}}", "unknown channel 'obs'; did you mean 'ops'?"),
        (f"{{{OPS}, routes: [{{severity: [critical]}}]}}", "a route needs 'channels' or 'steps'"),
        (
            f"{{{OPS}, routes: [{{steps: [{{channels: [ops]}}, {{channels: [ops]}}]}}]}}",
            "'after_s' has to be more than 0",
        ),
        ('{maintenance: {n: {from: "02:00", to: "02:00"}}}', "begins when it ends"),
        ('{maintenance: {n: {from: "25:00", to: "02:00"}}}', 'such as "02:30"'),
        ('{maintenance: {n: {from: "01:00", to: "02:00", timezone: Europe/Rom}}}', "did you mean 'Europe/Rome'?"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_write(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        alerts(text)
    assert any(told in problem for problem in caught.value.problems), caught.value.problems
    assert all(problem.startswith("/c/concento.yaml:2:") for problem in caught.value.problems)
