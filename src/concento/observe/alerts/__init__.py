"""Alerts without another system: rules over the hub's own metrics and calls, and messages to who has to know.

It is no time series database: a few hours of what rules ask for are kept in rings of fixed size, and nothing of it on
disk. Read next: `alerts.py`, which says in what order everything happens; the rest is pure.
"""

from .alerts import Alerts, NoSuchAlert
from .channels import NotDelivered
from .messages import clean
from .silences import Silence
from .state import Alert

__all__ = ["Alert", "Alerts", "NoSuchAlert", "NotDelivered", "Silence", "clean"]
