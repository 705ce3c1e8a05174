"""All formulas, asked of one model."""

from collections.abc import Callable
from typing import Any

from . import deep_formulas, linear_formulas, quadratic_formulas, relu_formulas
from .prediction import Predictions

FORMULAS = (
    *linear_formulas.FORMULAS,
    *deep_formulas.FORMULAS,
    *quadratic_formulas.FORMULAS,
    *relu_formulas.FORMULAS,
)


def predictions(model: Any, loss: Callable, data: Any) -> Predictions:
    """What every formula of the theory says of a model at its initial weights, a loss and data.

    A formula whose assumptions do not hold says which. Values are in the loss's own units and time.

    **Arguments:** `model`, `loss`, `data`: what `simulate` takes.
    """
    return Predictions(formula(model, loss, data) for formula in FORMULAS)
