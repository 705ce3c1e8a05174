"""All formulas, asked of one model."""

from ....flows import Landscape
from ....flows.landscapes.point import check_finite_at, point_of
from ..prediction import Formula, Predictions
from . import attention, deep, linear, quadratic, relu, transformers

# In the order in which they are printed.
FORMULAS: tuple[Formula, ...] = (
    linear.lemma_6,
    linear.weighted_low_rank,
    linear.logistic_modes,
    linear.schedule,
    linear.theorem_4,
    deep.levels,
    deep.escape,
    deep.bottleneck,
    deep.jumps,
    quadratic.escape,
    quadratic.proposition_5,
    quadratic.isotropic_levels,
    attention.levels,
    attention.times,
    relu.orthogonal_levels,
    relu.alignment,
    relu.slowed_linear,
    transformers.origin,
    transformers.levels,
)


def predictions(landscape: Landscape) -> Predictions:
    """What every formula of the theory predicts, or why it does not apply.

    Args:
        landscape: `Landscape(model, loss, data)` of what `simulate` takes; the model at its initial weights.

    Returns:
        One prediction per formula, in the loss's own units and time; `print` gives a table.
    """
    check_finite_at(landscape, point_of(landscape))
    return Predictions(formula(landscape) for formula in FORMULAS)
