"""What `serve` shows of alerts."""

from types import SimpleNamespace
from typing import Any

import pytest
from tests.observe.alerts.kit import DOWN, Bench, alerting

from concento.cli.display import Display
from concento.model.config import Address, Config


async def test_an_alert_is_shown_once_when_it_fires_and_once_when_it_is_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = await Bench(alerting(DOWN)).begin()
    hub: Any = SimpleNamespace(alerts=made.alerts, audit=None)
    display = Display(hub, Address("127.0.0.1", 1), Config(), None)
    for up, seconds in ((0.0, 100), (0.0, 100), (1.0, 100)):
        made.up = {"ti\x1bme": up}
        await made.pass_s(seconds)
        display._tell_alerts()
        display._tell_alerts()
    assert capsys.readouterr().err.splitlines() == [
        "  ! alert server_down ti\N{REPLACEMENT CHARACTER}me: concento_server_up is 0, below 1",
        "  ✓ alert server_down ti\N{REPLACEMENT CHARACTER}me is over",
    ]


def test_the_first_words_say_whether_anybody_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    hub: Any = SimpleNamespace(alerts=None, audit=None)
    Display(hub, Address("127.0.0.1", 1), Config(), None).begin(as_json=False)
    assert "rules, shown only" in capsys.readouterr().err
