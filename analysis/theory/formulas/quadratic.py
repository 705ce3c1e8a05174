"""Formulas of units that enter quadratically, with their assumptions checked."""

import numpy as np

from ....flows import Landscape
from ....flows.losses.statistics import SufficientStatistics
from ....models import LinearAttention, incoming, outgoing, quadratic
from ..closed_forms.low_rank import isotropic_quadratic_levels
from ..closed_forms.sigmoids import deep_mode_time
from ..closed_forms.unit_escape import unit_escape_times
from ..prediction import Formula, NotApplicable
from .setting import architecture_of, commute, dense_units, require_small, statistics_of, unit_form


def _unit_escape(landscape: Landscape):
    form = unit_form(landscape)
    require_small(landscape)
    u, v = np.asarray(incoming(landscape.model)), np.asarray(outgoing(landscape.model))[:, 0]
    times = unit_escape_times(form, u, v)
    return {"escape_times": times, "first": times.min(), "eigenvalues": np.linalg.eigvalsh(form)}


def _proposition5(landscape: Landscape):
    form = unit_form(landscape)
    values = np.linalg.eigvalsh(form)
    scale = np.max(np.abs(values))
    if values[0] > -1e-10 * scale or values[-1] < 1e-10 * scale:
        raise NotApplicable(
            f"the eigenvalues of Σ_yZ have one sign, from {values[0]:.3g} to {values[-1]:.3g}: some units never escape"
        )
    require_small(landscape)
    return {"runner_up_exponent": 1.0, "time_exponent": -1.0}


def _isotropic_quadratic(landscape: Landscape):
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
    if not np.allclose(found, moments, atol=1e-8):
        raise NotApplicable("the features' moments are not those of standard normal inputs")
    if not np.allclose(target, target[0] * diagonal, atol=1e-8 * abs(target[0])):
        raise NotApplicable("the target is not proportional to ‖x‖²")
    if float(statistics.constant) > 1e-12 * np.sum((factor @ target) ** 2):
        raise NotApplicable("the target is not proportional to ‖x‖²: part of it is no quadratic form")
    levels = np.array(isotropic_quadratic_levels(inputs)) * np.sum((factor @ target) ** 2)
    return {"levels": levels[: model.u.shape[0] + 1]}


def _attention_directions(landscape: Landscape):
    """Correlations c, second moments of the features b λ, and what is left, per direction, strongest first."""
    model = landscape.model
    architecture = architecture_of(model, LinearAttention)
    assert isinstance(architecture, LinearAttention)
    statistics, inputs = statistics_of(landscape), architecture.inputs
    factor = np.asarray(statistics.factor)
    second = factor.T @ factor
    cross = (second @ np.asarray(statistics.target)[0]).reshape(inputs, inputs)
    # E[ββᵀ] ⊗ E[xxᵀ] is of rank one once its indices are sorted by factor.
    sorted_by_factor = second.reshape(4 * (inputs,)).transpose(0, 2, 1, 3).reshape(inputs**2, inputs**2)
    left, sizes, right = np.linalg.svd(sorted_by_factor)
    rest = np.linalg.norm(sizes[1:]) / sizes[0]
    if rest > 1e-8:
        raise NotApplicable(
            f"the second moments are not a product of those of context and query (to {rest:.1g}); "
            "on a sample they never are: use the population's moments"
        )
    context, query = (np.sqrt(sizes[0]) * m.reshape(inputs, inputs) for m in (left[:, 0], right[0]))
    context, query = np.sign(np.trace(context)) * context, np.sign(np.trace(query)) * query
    if np.linalg.norm(cross - cross.T) > 1e-8 * np.linalg.norm(cross):
        raise NotApplicable("the correlation of targets with the features is not symmetric")
    if not (commute(context, query) and commute(cross, query) and commute(cross, context)):
        raise NotApplicable("the moments of context, query and target have no common eigenvectors")
    # A generic combination tells the common eigenvectors apart wherever any of the three does.
    mixture = sum(w * m / np.linalg.norm(m) for w, m in ((1.0, cross), (0.7, query), (0.3, context)))
    vectors = np.linalg.eigh(mixture)[1]
    diagonals = [np.einsum("id,ij,jd->d", vectors, m, vectors) for m in (cross, context, query)]
    c, seconds = diagonals[0], diagonals[1] * diagonals[2]
    order = np.argsort(-c)
    if c[order][-1] <= 0:
        raise NotApplicable("a direction is not correlated positively with the target")
    return c[order], seconds[order], float(statistics.constant), architecture.rank


def _attention_levels(landscape: Landscape):
    c, seconds, constant, rank = _attention_directions(landscape)
    require_small(landscape)
    drops, heads = c**2 / seconds, landscape.model.u.shape[0]
    learned = np.minimum(rank * np.arange(min(heads, -(-len(c) // rank)) + 1), len(c))
    return {"levels": [constant + drops[m:].sum() for m in learned], "rates": 2 * c}


def _attention_times(landscape: Landscape):
    c, seconds, _, rank = _attention_directions(landscape)
    if rank != 1:
        raise NotApplicable(f"heads of rank {rank} are not single modes of key and query")
    require_small(landscape)
    theta = np.concatenate([incoming(landscape.model), outgoing(landscape.model)], axis=1)
    # A lower bound: the largest head, as if it pointed along the direction and were balanced.
    start = np.linalg.norm(theta, axis=1).max() / np.sqrt(3)
    strength = c / seconds
    return {"earliest_half_times": deep_mode_time((strength / 2) ** (1 / 3), strength, 3, start) / (2 * seconds)}


FORMULAS = (
    Formula(
        "escape of quadratic units",
        "Zhang, Saxe & Latham (2025), Eqs. 55, 56",
        "units that enter quadratically, one output each, small start",
        _unit_escape,
    ),
    Formula(
        "Proposition 5",
        "Zhang, Saxe & Latham (2025), Proposition 5",
        "units that enter quadratically, one output each, Gaussian small start, eigenvalues of Σ_yZ of both signs",
        _proposition5,
    ),
    Formula(
        "isotropic quadratic levels",
        "derivation in isotropic_quadratic_levels",
        "quadratic network, standard normal inputs (population), target ∝ ‖x‖²",
        _isotropic_quadratic,
    ),
    Formula(
        "attention levels",
        "Zhang, Singh, Latham & Saxe (2025)",
        "linear attention, moments of context and query (population) with common eigenvectors, small start",
        _attention_levels,
    ),
    Formula(
        "attention times",
        "Zhang, Singh, Latham & Saxe (2025); Kunin et al. (2025)",
        "as attention levels, rank-one heads; lower bounds, from the largest head as if aligned",
        _attention_times,
    ),
)
