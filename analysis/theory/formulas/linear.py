"""Formulas of units that enter linearly, with their assumptions checked."""

from typing import NamedTuple

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
from ..prediction import NotApplicable, Values, formula
from .setting import (
    architecture_of,
    commute,
    cross_matrix,
    dense_units,
    loss_of_zero_network,
    require_invertible_covariance,
    require_linear_units,
    require_small,
    sample_of,
    statistics_of,
)

# Random starts of the weighted low-rank fits, and the largest matrix for which they take seconds.
STARTS, LARGEST_FIT = 6, 400
# Correlations below this share of the loss, and singular values below this share of the largest, are rounding.
ROUNDING = 1e-12
# Relative gap of two singular values below which their modes grow together for most of their rise.
TIE = 1e-6


@formula(
    name="Lemma 6 levels",
    source="Baldi & Hornik (1989); Zhang, Saxe & Latham (2025), Lemma 6",
    assumptions="two-layer linear network or merged attention, squared error, invertible input covariance, largest "
    "modes first",
)
def lemma_6(landscape: Landscape) -> Values:
    """Plateau losses up to the network's width."""
    model = landscape.model
    require_linear_units(model)
    statistics = statistics_of(landscape)
    require_invertible_covariance(statistics)
    width = model.u.shape[0]
    return {"levels": best_rank_levels(statistics)[: width + 1]}


@formula(
    name="weighted low-rank levels",
    source="Srebro & Jaakkola (2003); Zhang, Saxe & Latham (2025), Figure 1C",
    assumptions="linear convolution or attention, squared error, the best fit of each rank in turn",
)
def weighted_low_rank(landscape: Landscape) -> Values:
    """Plateau losses of convolution and attention up to the network's width."""
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
    levels = np.array(weighted_levels(factor, factor @ target, shape, starts=STARTS)) + float(statistics.constant)
    units = np.arange(min(model.u.shape[0], -(-min(shape) // rank)) + 1)
    return {"levels": levels[np.minimum(rank * units, min(shape))]}


class Modes(NamedTuple):
    """Modes of a two-layer linear network that grow independently, in the loss's own time, strongest first.

    Attributes:
        strengths: singular values s_k of Σ_yx.
        variances: d_k, of the inputs along each mode.
        starts: initial strengths.
    """

    strengths: np.ndarray
    variances: np.ndarray
    starts: np.ndarray


def _commuting_modes(landscape: Landscape) -> Modes:
    model = landscape.model
    require_linear_units(model)
    statistics = statistics_of(landscape)
    require_small(landscape)
    factor, cross = np.asarray(statistics.factor), cross_matrix(landscape)
    # The flow of w⟨‖y − f‖²⟩ is v' = 2w(Σ_yx − W Σ_xx)u.
    covariance = 2 * factor.T @ factor
    if not commute(cross.T @ cross, covariance):
        raise NotApplicable("the right singular vectors of Σ_yx are not eigenvectors of Σ_xx")
    _, strengths, right = np.linalg.svd(cross, full_matrices=False)
    strengths = strengths[strengths > ROUNDING * strengths[0]]
    if not np.all(strengths[1:] < strengths[:-1] * (1 - TIE)):
        raise NotApplicable("modes are tied, so that they grow together: two singular values of Σ_yx are equal")
    variances = np.array([row @ covariance @ row for row in right[: len(strengths)]])
    u, v = np.asarray(incoming(model)), np.asarray(outgoing(model))
    starts = mode_starts(growing_parts(cross, u, v))[: len(strengths)]
    known = starts > 0
    return Modes(strengths=strengths[known], variances=variances[known], starts=starts[known])


@formula(
    name="logistic mode times",
    source="Saxe, McClelland & Ganguli (2014)",
    assumptions="two-layer linear network, squared error, small start, Σ_xx diagonal in Σ_yx's singular vectors, no "
    "ties",
)
def logistic_modes(landscape: Landscape) -> Values:
    """Half times and final strengths of the modes, and the times between."""
    modes = _commuting_modes(landscape)
    ends = modes.strengths / modes.variances
    half = logistic_half_time(modes.strengths, modes.starts, ends)
    return {"half_times": half, "dwell_times": np.diff(half), "strengths": ends}


@formula(
    name="linear schedule",
    source="Kunin et al. (2025), Conjecture 4.1",
    assumptions="two-layer linear network, squared error of a sample, vanishing start; times in units of ln(1/ε)",
)
def schedule(landscape: Landscape) -> Values:
    """Times of the steps in units of ln(1/ε)."""
    dense_units(landscape.model, linear)
    x, y, weight = sample_of(landscape)
    require_small(landscape)
    with np.errstate(invalid="ignore"):
        times = linear_schedule(x, y)
    if not np.all(np.isfinite(times)):
        raise NotApplicable("the strengths of the modes leave the range of numbers")
    # The closed form is in the time of the weight 1/2.
    return {"times_per_log": times / (2 * weight)}


@formula(
    name="Theorem 4",
    source="Zhang, Saxe & Latham (2025), Theorem 4",
    assumptions="units that enter linearly, Gaussian small start, not all singular values of Σ_yz equal",
)
def theorem_4(landscape: Landscape) -> Values:
    """Exponents of the separation between directions, growth rates, and the escape time of each unit."""
    model = landscape.model
    cross = cross_matrix(landscape)
    rates = np.linalg.svd(cross, compute_uv=False)
    if rates[0] <= ROUNDING * abs(loss_of_zero_network(landscape)):
        raise NotApplicable("targets and features are uncorrelated: Σ_yz = 0")
    require_small(landscape)
    if top_multiplicity(rates) == len(rates):
        raise NotApplicable("all singular values of Σ_yz are equal: no direction is separated")
    u, v = np.asarray(incoming(model)), np.asarray(outgoing(model))
    exponents = separation_exponents(cross)
    return {
        "exponent": exponents[0],
        "exponents": exponents,
        "rates": rates,
        "escape_times": direction_escape_times(cross, u, v),
    }
