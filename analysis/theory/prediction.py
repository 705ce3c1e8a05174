"""What a formula says of a given model, loss and data: values, or why it does not apply."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np

from ...flows import Landscape
from ..tables import new_table, plain_text

# Columns of the printed table: wide enough for a sentence beside the name.
WIDTH = 160

# What a formula predicts, by name.
Values = dict[str, Any]
Evaluation = Callable[[Landscape], Values]


class NotApplicable(ValueError):
    """An assumption of a formula fails; the message says which.

    Attributes:
        reason: the assumption that fails, as a clause without a full stop.
    """

    def __init__(self, reason: str):
        super().__init__(f"not applicable, because {reason}")
        self.reason = reason


class Prediction(eqx.Module):
    """What one formula predicts, or why it does not apply; `prediction["levels"]` is a predicted value.

    Attributes:
        name: of the formula.
        source: where it comes from: authors, year, and theorem or equation.
        assumptions: what it takes for granted.
        applicable: whether all assumptions were found to hold.
        reason: the assumptions, if they hold; otherwise the one that fails.
        values: what it predicts, by name, in the units of the model's own loss and time; empty if not applicable.
    """

    name: str
    source: str
    assumptions: str
    applicable: bool
    reason: str
    values: dict[str, np.ndarray]

    def __getitem__(self, key: str) -> np.ndarray:
        """A predicted value by name.

        Args:
            key: name of the value, as the printed table has it.

        Returns:
            The value.

        Raises:
            ValueError: if the formula does not apply; the message says why.
        """
        if not self.applicable:
            raise ValueError(f"{self.name}: {self.summary}")
        return self.values[key]

    @property
    def summary(self) -> str:
        """The values in one line, long arrays shortened, or why there are none."""
        if not self.applicable:
            return f"not applicable, because {self.reason}"
        with np.printoptions(precision=5, threshold=6, edgeitems=3):
            return "; ".join(f"{name} = {np.asarray(value)}" for name, value in self.values.items())

    def __str__(self) -> str:
        return f"{self.name} ({self.source})\nassumes: {self.assumptions}\n{self.summary}"


class Predictions(tuple[Prediction, ...]):
    """What all formulas predict; printing it gives the table."""

    def named(self, name: str) -> Prediction:
        """The prediction of one formula.

        Args:
            name: of the formula, as the printed table has it.

        Returns:
            Its prediction.

        Raises:
            ValueError: if there is no formula of that name; the message lists the names.
        """
        for prediction in self:
            if prediction.name == name:
                return prediction
        raise ValueError(f"unknown formula {name!r}; there are: {', '.join(p.name for p in self)}.")

    @property
    def applicable(self) -> "Predictions":
        """Those of the formulas that apply."""
        return Predictions(prediction for prediction in self if prediction.applicable)

    def __str__(self) -> str:
        columns = ("formula", "prediction")
        table = new_table(columns, left=columns)
        for prediction in self:
            table.add_row(prediction.name, prediction.summary)
        return plain_text(table, width=WIDTH)


class Formula(eqx.Module):
    """A formula of the theory with its assumptions; called with a landscape it returns a `Prediction`.

    Attributes:
        name: unique among the formulas.
        source: authors, year, and theorem or equation.
        assumptions: what it takes for granted, in the order in which it is checked.
        evaluate: from a landscape to values by name; raises `NotApplicable` where an assumption fails.
    """

    name: str = eqx.field(static=True)
    source: str = eqx.field(static=True)
    assumptions: str = eqx.field(static=True)
    evaluate: Evaluation = eqx.field(static=True)

    def __call__(self, landscape: Landscape) -> Prediction:
        """What the formula predicts of the model at its initial weights, or why it does not apply."""
        try:
            found = self.evaluate(landscape)
        except NotApplicable as failure:
            applicable, reason, values = False, failure.reason, {}
        else:
            applicable, reason = True, self.assumptions
            values = {name: np.asarray(value) for name, value in found.items()}
        return Prediction(
            name=self.name,
            source=self.source,
            assumptions=self.assumptions,
            applicable=applicable,
            reason=reason,
            values=values,
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.source})\nassumes: {self.assumptions}"


def formula(*, name: str, source: str, assumptions: str) -> Callable[[Evaluation], Formula]:
    """Makes a `Formula` of the function below it.

    Args:
        name: of the formula, unique.
        source: authors, year, and theorem or equation.
        assumptions: what the formula takes for granted.

    Returns:
        A decorator of functions from a landscape to values by name.
    """

    def of_function(evaluate: Evaluation) -> Formula:
        return Formula(name=name, source=source, assumptions=assumptions, evaluate=evaluate)

    return of_function
