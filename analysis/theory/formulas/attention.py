"""Formulas of linear attention with separate key and query, with their assumptions checked."""

from typing import NamedTuple

import numpy as np

from ....flows import Landscape
from ....models import LinearAttention, incoming, outgoing
from ..closed_forms.sigmoids import deep_mode_time
from ..prediction import NotApplicable, Values, formula
from .setting import architecture_of, commute, require_small, statistics_of

# Population moments factorise and are symmetric to rounding; those of a sample are off by far more.
EQUAL = 1e-8
# Unequal weights of the three matrices in the combination whose eigenvectors are taken for the common ones.
MIXTURE = (1.0, 0.7, 0.3)


class Directions(NamedTuple):
    """What heads learn of each common eigendirection of the moments, the most correlated first.

    Attributes:
        correlations: c, of the target with the direction's feature.
        seconds: second moments of the direction's feature.
        constant: the loss that remains when all are learned.
        rank: directions that one head learns.
    """

    correlations: np.ndarray
    seconds: np.ndarray
    constant: float
    rank: int


def _directions(landscape: Landscape) -> Directions:
    architecture = architecture_of(landscape.model, LinearAttention)
    assert isinstance(architecture, LinearAttention)
    statistics, inputs = statistics_of(landscape), architecture.inputs
    factor = np.asarray(statistics.factor)
    second = factor.T @ factor
    cross = (second @ np.asarray(statistics.target)[0]).reshape(inputs, inputs)
    context, query = _factorised(second, inputs)
    if np.linalg.norm(cross - cross.T) > EQUAL * np.linalg.norm(cross):
        raise NotApplicable("the correlation of targets with the features is not symmetric")
    if not (commute(context, query) and commute(cross, query) and commute(cross, context)):
        raise NotApplicable("the moments of context, query and target have no common eigenvectors")
    # A generic combination distinguishes the common eigenvectors wherever any of the three does.
    matrices = cross, query, context
    mixture = sum(w * m / np.linalg.norm(m) for w, m in zip(MIXTURE, matrices, strict=True))
    vectors = np.linalg.eigh(mixture)[1]
    correlations, of_query, of_context = (np.einsum("id,ij,jd->d", vectors, m, vectors) for m in matrices)
    order = np.argsort(-correlations)
    if correlations[order][-1] <= 0:
        raise NotApplicable("a direction is not correlated positively with the target")
    return Directions(
        correlations=correlations[order],
        seconds=(of_context * of_query)[order],
        constant=float(statistics.constant),
        rank=architecture.rank,
    )


def _factorised(second: np.ndarray, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """The moments of context and query, of which those of the features are the Kronecker product."""
    # E[ββᵀ] ⊗ E[xxᵀ] has rank one once its indices are sorted by factor (Van Loan & Pitsianis 1993).
    sorted_by_factor = second.reshape(4 * (inputs,)).transpose(0, 2, 1, 3).reshape(inputs**2, inputs**2)
    left, values, right = np.linalg.svd(sorted_by_factor)
    rest = np.linalg.norm(values[1:]) / values[0]
    if rest > EQUAL:
        raise NotApplicable(
            f"the second moments are not a product of those of context and query (to {rest:.1g}); "
            "on a sample they never are: use the population's moments"
        )
    context, query = (np.sqrt(values[0]) * m.reshape(inputs, inputs) for m in (left[:, 0], right[0]))
    return np.sign(np.trace(context)) * context, np.sign(np.trace(query)) * query


@formula(
    name="attention levels",
    source="Zhang, Singh, Latham & Saxe (2025)",
    assumptions="linear attention, moments of context and query (population) with common eigenvectors, small start",
)
def levels(landscape: Landscape) -> Values:
    """Plateau losses up to the number of heads, and the growth rate of each direction."""
    c, seconds, constant, rank = _directions(landscape)
    require_small(landscape)
    drops, heads = c**2 / seconds, landscape.model.u.shape[0]
    learned = np.minimum(rank * np.arange(min(heads, -(-len(c) // rank)) + 1), len(c))
    return {"levels": [constant + drops[m:].sum() for m in learned], "rates": 2 * c}


@formula(
    name="attention times",
    source="Zhang, Singh, Latham & Saxe (2025); Kunin et al. (2025)",
    assumptions="as attention levels, rank-one heads; lower bounds, from the largest head as if aligned",
)
def times(landscape: Landscape) -> Values:
    """Lower bounds on the half times of all directions."""
    c, seconds, _, rank = _directions(landscape)
    if rank != 1:
        raise NotApplicable(f"heads of rank {rank} are not single modes of key and query")
    require_small(landscape)
    theta = np.concatenate([incoming(landscape.model), outgoing(landscape.model)], axis=1)
    # A lower bound: the largest head, as if it pointed along the direction and were balanced, v = ‖k‖ = ‖q‖.
    start = np.linalg.norm(theta, axis=1).max() / np.sqrt(3)
    strength = c / seconds
    return {"earliest_half_times": deep_mode_time((strength / 2) ** (1 / 3), strength, 3, start) / (2 * seconds)}
