"""All formulas, asked of one model."""

from ...flows import Landscape
from . import deep_formulas, linear_formulas, quadratic_formulas, relu_formulas
from .prediction import Predictions

FORMULAS = (
    *linear_formulas.FORMULAS,
    *deep_formulas.FORMULAS,
    *quadratic_formulas.FORMULAS,
    *relu_formulas.FORMULAS,
)


def predictions(landscape: Landscape) -> Predictions:
    """What every formula of the theory says of a model at its initial weights, a loss and data.

    A formula whose assumptions do not hold says which. Values are in the loss's own units and time.

    **Arguments:** `landscape`: `Landscape(model, loss, data)` of what `simulate` takes.
    """
    return Predictions(formula(landscape) for formula in FORMULAS)
