"""Formulas of units that enter linearly, with their assumptions checked."""

import numpy as np

from ....flows import Landscape
from ....models import Convolution, LinearAttention, incoming, linear, outgoing
from ..closed_forms.alternating import linear_schedule
from ..closed_forms.directions import (
    direction_escape_times,
    growing_parts,
    mode_starts,
    separation_exponents,
    top_multiplicity,
)
from ..closed_forms.low_rank import best_rank_levels, weighted_levels
from ..closed_forms.sigmoids import logistic_half_time
from ..prediction import Formula, NotApplicable
from .setting import (
    architecture_of,
    commute,
    cross_matrix,
    dense_units,
    loss_of_zero_network,
    require_linear_units,
    require_small,
    sample_of,
    statistics_of,
)

# Random starts of the weighted low-rank fits, and the largest matrix for which they take seconds.
STARTS, LARGEST_FIT = 6, 400
# Correlations below this share of the loss are rounding.
ROUNDING = 1e-12


def _lemma6(landscape: Landscape):
    model = landscape.model
    require_linear_units(model)
    statistics = statistics_of(landscape)
    factor = np.asarray(statistics.factor)
    if np.linalg.matrix_rank(factor) < factor.shape[1]:
        raise NotApplicable("the input covariance is singular")
    width = model.u.shape[0]
    return {"levels": best_rank_levels(statistics)[: width + 1]}


def _commuting_modes(landscape: Landscape):
    """Strengths s_k, input variances d_k and initial strengths of the modes, in the loss's own time."""
    model = landscape.model
    require_linear_units(model)
    statistics = statistics_of(landscape)
    require_small(landscape)
    factor, cross = np.asarray(statistics.factor), cross_matrix(landscape)
    # The flow of w⟨‖y − f‖²⟩ is v' = 2w(Σ_yx − W Σ_xx)u.
    covariance = 2 * factor.T @ factor
    if not commute(cross.T @ cross, covariance):
        raise NotApplicable("the right singular vectors of Σ_yx are no eigenvectors of Σ_xx")
    _, strengths, right = np.linalg.svd(cross, full_matrices=False)
    strengths = strengths[strengths > 1e-12 * strengths[0]]
    distinct = np.all(strengths[1:] < strengths[:-1] * (1 - 1e-6))
    if not distinct:
        raise NotApplicable("modes are tied, so that they grow together: two singular values of Σ_yx are equal")
    variances = np.array([row @ covariance @ row for row in right[: len(strengths)]])
    u, v = np.asarray(incoming(model)), np.asarray(outgoing(model))
    starts = mode_starts(growing_parts(cross, u, v))[: len(strengths)]
    known = starts > 0
    return strengths[known], variances[known], starts[known]


def _logistic(landscape: Landscape):
    strengths, variances, starts = _commuting_modes(landscape)
    ends = strengths / variances
    half = logistic_half_time(strengths, starts, ends)
    return {"half_times": half, "dwell_times": np.diff(half), "strengths": ends}


def _linear_schedule(landscape: Landscape):
    dense_units(landscape.model, linear)
    x, y, weight = sample_of(landscape)
    require_small(landscape)
    times = linear_schedule(x, y) / (2 * weight)
    return {"times_per_log": times}


def _theorem4(landscape: Landscape):
    model = landscape.model
    cross = cross_matrix(landscape)
    values = np.linalg.svd(cross, compute_uv=False)
    if values[0] <= ROUNDING * abs(loss_of_zero_network(landscape)):
        raise NotApplicable("targets and features are uncorrelated: Σ_yz = 0")
    require_small(landscape)
    if top_multiplicity(values) == len(values):
        raise NotApplicable("all singular values of Σ_yz are equal: no direction is separated")
    u, v = np.asarray(incoming(model)), np.asarray(outgoing(model))
    exponents = separation_exponents(cross)
    return {
        "exponent": exponents[0],
        "exponents": exponents,
        "rates": values,
        "escape_times": direction_escape_times(cross, u, v),
    }


def _weighted(landscape: Landscape):
    model = landscape.model
    architecture = architecture_of(model, Convolution, LinearAttention)
    if isinstance(architecture, Convolution) and architecture.activation != linear:
        raise NotApplicable(f"the activation is {architecture.activation.name}, not linear")
    statistics = statistics_of(landscape)
    if isinstance(architecture, Convolution):
        shape, rank = (architecture.shapes[1][0], architecture.kernel), 1
    else:
        assert isinstance(architecture, LinearAttention)
        shape, rank = (architecture.inputs, architecture.inputs), architecture.rank
    if np.prod(shape) > LARGEST_FIT:
        raise NotApplicable(f"the fit of a {shape[0]} × {shape[1]} matrix would take long: call weighted_levels")
    factor, target = np.asarray(statistics.factor), np.asarray(statistics.target)[0]
    every = np.array(weighted_levels(factor, factor @ target, shape, starts=STARTS)) + float(statistics.constant)
    units = np.arange(min(model.u.shape[0], -(-min(shape) // rank)) + 1)
    return {"levels": every[np.minimum(rank * units, min(shape))]}


FORMULAS = (
    Formula(
        "Lemma 6 levels",
        "Baldi & Hornik (1989); Zhang, Saxe & Latham (2025), Lemma 6",
        "two-layer linear network or merged attention, squared error, invertible input covariance, largest modes first",
        _lemma6,
    ),
    Formula(
        "weighted low-rank levels",
        "Srebro & Jaakkola (2003); Zhang, Saxe & Latham (2025), Figure 1C",
        "linear convolution or attention, squared error, the best fit of each rank in turn",
        _weighted,
    ),
    Formula(
        "logistic mode times",
        "Saxe, McClelland & Ganguli (2014)",
        "two-layer linear network, squared error, small start, Σ_xx diagonal in Σ_yx's singular vectors, no ties",
        _logistic,
    ),
    Formula(
        "linear schedule",
        "Kunin et al. (2025), Conjecture 4.1",
        "two-layer linear network, squared error of a sample, vanishing start; times in units of ln(1/ε)",
        _linear_schedule,
    ),
    Formula(
        "Theorem 4",
        "Zhang, Saxe & Latham (2025), Theorem 4",
        "units that enter linearly, Gaussian small start, not all singular values of Σ_yz equal",
        _theorem4,
    ),
)
