"""The weights of evidence, fitted so that what is called likely is as often right. On the tuning half alone."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from .measure import Found

L2: Final = 0.3
"""How little the weights are let grow: there are few requests to learn from."""


def fitted(found: Sequence[Found]) -> list[float]:
    """The weights of a logistic regression (Newton's method): whether the first tool is right, by the evidence."""
    evidence, right = _table(found)
    weights: Any = np.zeros(evidence.shape[1])
    held = np.diag([0.0, *[L2] * (evidence.shape[1] - 1)])
    for _ in range(50):
        likely = 1 / (1 + np.exp(-evidence @ weights))
        slope = evidence.T @ (right - likely) - held @ weights
        bend = (evidence * (likely * (1 - likely))[:, None]).T @ evidence + held
        weights = weights + np.linalg.solve(bend, slope)
    return [round(float(weight), 2) for weight in weights]


def _table(found: Sequence[Found]) -> tuple[Any, Any]:
    rows = [one for one in found if one.evidence]
    return np.array([one.evidence for one in rows]), np.array([float(one.place == 0) for one in rows])
