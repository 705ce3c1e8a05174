"""What a formula says of a given model, loss and data: values, or why it does not apply."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np

from ...flows import Landscape
from ..tables import new_table, plain_text

# Columns of the printed table: wide enough for a sentence beside the name.
WIDTH = 160


class NotApplicable(ValueError):
    """An assumption of a formula fails; the message says which."""

    def __init__(self, reason: str):
        super().__init__(f"not applicable, because {reason}")
        self.reason = reason


class Prediction(eqx.Module):
    """What one formula says.

    - `name`, `source`: the formula; `assumptions`: what it takes for granted.
    - `applicable`: whether all of that was found to hold; `reason`: what was found, or which assumption fails.
    - `values`: what it predicts, by name, in the units of the model's own loss and time; empty if not applicable.
    """

    name: str
    source: str
    assumptions: str
    applicable: bool
    reason: str
    values: dict[str, np.ndarray]

    def __getitem__(self, key: str) -> np.ndarray:
        """A predicted value by name; a `ValueError` that says why there is none."""
        if not self.applicable:
            raise ValueError(f"{self.name}: not applicable, because {self.reason}")
        return self.values[key]

    def __str__(self) -> str:
        return str(Predictions((self,)))


class Predictions(tuple[Prediction, ...]):
    """The verdicts of all formulas; printing it gives the table."""

    def named(self, name: str) -> Prediction:
        """The prediction of one formula; a `ValueError` that lists the names if there is none."""
        for prediction in self:
            if prediction.name == name:
                return prediction
        raise ValueError(f"unknown formula {name!r}; there are: {', '.join(p.name for p in self)}.")

    @property
    def applicable(self) -> "Predictions":
        """Those that apply."""
        return Predictions(prediction for prediction in self if prediction.applicable)

    def __str__(self) -> str:
        columns = ("formula", "verdict")
        table = new_table(columns, left=columns)
        for prediction in self:
            kind = _summary(prediction) if prediction.applicable else f"not applicable, because {prediction.reason}"
            table.add_row(prediction.name, kind)
        return plain_text(table, width=WIDTH)


def _summary(prediction: Prediction) -> str:
    with np.printoptions(precision=5, threshold=6, edgeitems=3):
        values = [f"{name} = {np.asarray(value)}" for name, value in prediction.values.items()]
    return "; ".join(values)


class Formula(eqx.Module):
    """A formula of the theory: `evaluate(landscape)` returns named values or raises `NotApplicable`."""

    name: str = eqx.field(static=True)
    source: str = eqx.field(static=True)
    assumptions: str = eqx.field(static=True)
    evaluate: Callable[[Landscape], dict[str, Any]] = eqx.field(static=True)

    def __call__(self, landscape: Landscape) -> Prediction:
        try:
            found = self.evaluate(landscape)
        except NotApplicable as failure:
            return Prediction(self.name, self.source, self.assumptions, False, failure.reason, {})
        values = {name: np.asarray(value) for name, value in found.items()}
        return Prediction(self.name, self.source, self.assumptions, True, self.assumptions, values)
