"""All formulas, asked of one model."""

from ....flows import Landscape
from ..prediction import Predictions
from . import deep, linear, quadratic, relu

FORMULAS = (
    *linear.FORMULAS,
    *deep.FORMULAS,
    *quadratic.FORMULAS,
    *relu.FORMULAS,
)


def predictions(landscape: Landscape) -> Predictions:
    """What every formula of the theory says of a model at its initial weights, a loss and data.

    A formula whose assumptions do not hold says which. Values are in the loss's own units and time.

    **Arguments:** `landscape`: `Landscape(model, loss, data)` of what `simulate` takes.
    """
    return Predictions(formula(landscape) for formula in FORMULAS)
