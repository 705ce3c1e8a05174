"""Formulas of units that enter quadratically, with their assumptions checked."""

import numpy as np

from ....flows import Landscape
from ....flows.losses.statistics import SufficientStatistics
from ....models import incoming, outgoing, quadratic
from ..closed_forms.low_rank import isotropic_quadratic_levels
from ..closed_forms.unit_escape import unit_escape_times
from ..prediction import NotApplicable, Values, formula
from .setting import dense_units, require_small, statistics_of, unit_form

# Eigenvalues below this share of the largest have no sign.
ZERO = 1e-10
# Population moments are exact to rounding; those of a sample differ by far more.
EQUAL = 1e-8
# A constant part of the loss below this share of the rest is rounding.
ROUNDING = 1e-12


@formula(
    name="escape of quadratic units",
    source="Zhang, Saxe & Latham (2025), Eqs. 55, 56",
    assumptions="units that enter quadratically, one output each, small start",
)
def escape(landscape: Landscape) -> Values:
    """Escape time of each unit, the first of them, and the eigenvalues that set them."""
    form = unit_form(landscape)
    require_small(landscape)
    u, v = np.asarray(incoming(landscape.model)), np.asarray(outgoing(landscape.model))[:, 0]
    times = unit_escape_times(form, u, v)
    return {"escape_times": times, "first": times.min(), "eigenvalues": np.linalg.eigvalsh(form)}


@formula(
    name="Proposition 5",
    source="Zhang, Saxe & Latham (2025), Proposition 5",
    assumptions="units that enter quadratically, one output each, Gaussian small start, eigenvalues of Σ_yZ of both "
    "signs",
)
def proposition_5(landscape: Landscape) -> Values:
    """Powers of ε of the second-largest unit when the first has grown, and of the time of that."""
    values = np.linalg.eigvalsh(unit_form(landscape))
    scale = np.max(np.abs(values))
    if values[0] > -ZERO * scale or values[-1] < ZERO * scale:
        raise NotApplicable(
            f"the eigenvalues of Σ_yZ have one sign, from {values[0]:.3g} to {values[-1]:.3g}: some units never escape"
        )
    require_small(landscape)
    return {"runner_up_exponent": 1.0, "time_exponent": -1.0}


@formula(
    name="isotropic quadratic levels",
    source="derivation in isotropic_quadratic_levels",
    assumptions="quadratic network, standard normal inputs (population), target ∝ ‖x‖²",
)
def isotropic_levels(landscape: Landscape) -> Values:
    """Plateau losses up to the network's width."""
    model = landscape.model
    architecture = dense_units(model, quadratic, outputs=1)
    if not isinstance(landscape.data, SufficientStatistics):
        raise NotApplicable("a sample of Gaussian inputs is never isotropic: use the population's moments")
    statistics, inputs = statistics_of(landscape), architecture.inputs
    factor, target = np.asarray(statistics.factor), np.asarray(statistics.target)[0]
    first, second = np.triu_indices(inputs)
    diagonal = first == second
    # E[x_i x_j x_k x_l] of standard normal inputs, for the products i ≤ j.
    moments = np.outer(diagonal, diagonal) + np.diag(np.where(diagonal, 2.0, 1.0))
    found = factor.T @ factor
    found *= moments.sum() / found.sum()
    if not np.allclose(found, moments, rtol=0, atol=EQUAL):
        raise NotApplicable("the features' moments are not those of standard normal inputs")
    if not np.allclose(target, target[0] * diagonal, rtol=0, atol=EQUAL * abs(target[0])):
        raise NotApplicable("the target is not proportional to ‖x‖²")
    if float(statistics.constant) > ROUNDING * np.sum((factor @ target) ** 2):
        raise NotApplicable("the target is not proportional to ‖x‖²: part of it is not a quadratic form")
    levels = np.array(isotropic_quadratic_levels(inputs)) * np.sum((factor @ target) ** 2)
    return {"levels": levels[: model.u.shape[0] + 1]}
