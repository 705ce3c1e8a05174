"""Whether the loss attains a lower bound: one that it declares or its program proves, or that of the model's rank."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ...flows import Landscape, SquaredError, statistics_loss
from ...flows.losses.declaration import lower_bound_of
from ...flows.losses.interval_bound import lowest_value
from ...flows.losses.statistics import SufficientStatistics, features_on, from_sample
from ...models.features import features_of
from ..rounding import perturbed
from ..thresholds import Thresholds

# A loss below its bound by more than this share of its size is no error of rounding, also where terms cancel as in
# kernels near coincident arguments, which are good to the square root of double precision.
BELOW = 1e-7


@dataclass(frozen=True)
class _Bound:
    """A lower bound of a landscape, as a function of the data, and what it is."""

    value: Callable[[Any], float]
    name: str

    def excess(self, landscape: Landscape, theta: Float[np.ndarray, " n"]) -> float:
        """The loss above the bound."""
        return float(landscape.value(theta)) - self.value(landscape.data)


def lower_bound_attained(landscape: Landscape, theta: Float[np.ndarray, " n"], *, thresholds: Thresholds) -> str | None:
    r"""Whether the loss attains a lower bound: that which it declares or its program proves, or that of all maps.

    A program proves a bound by interval arithmetic: a sum of squares is never negative.

    For $f = A Z$ with A of rank r at most, a squared error is $L = \|(A - A^*) R^\top\|^2 + L^* \ge L^* +
    \sum_{k > r} \sigma_k^2$ with the singular values σ of $A^* R^\top$.

    The excess over the bound is zero if it is within its error of rounding, or negligible beside the smaller of the
    excesses at zero weights and at twice the weights: this does not depend on the loss's units.

    Args:
        landscape: the loss.
        theta: a critical point.
        thresholds: `rounding_safety` and `loss_zero`.

    Returns:
        The sentence, `None` where no bound is known or the loss is above it.

    Source: Eckart & Young (1936); Baldi & Hornik (1989) for linear networks.
    """
    for bound in _bounds(landscape):
        sentence = _attained(bound, landscape, theta, thresholds)
        if sentence is not None:
            return sentence
    return None


def highest_bound(landscape: Landscape) -> float | None:
    """The highest lower bound of the loss that is known; `None` where none is."""
    return max((bound.value(landscape.data) for bound in _bounds(landscape)), default=None)


def _bounds(landscape: Landscape) -> list[_Bound]:
    """The bound that a loss declares or its program proves, and that of all maps of the model's rank."""
    loss, features, bounds = landscape.loss, features_of(landscape.model), []
    if lower_bound_of(loss, landscape.data) is not None:
        declared = lambda data: lower_bound_of(loss, data) or 0.0  # noqa: E731
        bounds.append(_Bound(value=declared, name="the loss attains its lower bound"))
    elif _proved(landscape, landscape.data) is not None:
        proved = lambda data: _proved(landscape, data) or 0.0  # noqa: E731
        bounds.append(_Bound(value=proved, name="the loss attains the lower bound that its program proves"))
    if features is not None and (isinstance(loss, SquaredError) or loss is statistics_loss):
        rank = None if features.rank is None else features.rank(landscape.model)
        name = "the loss is the lowest of any coefficients of the features"
        name += "" if rank is None else f" of rank {rank}"
        bounds.append(_Bound(value=lambda data: _least(landscape, data, rank), name=name))
    return bounds


def _proved(landscape: Landscape, data: Any) -> float | None:
    """The lower bound that the loss's program proves, for these data and any weights."""
    arrays = [leaf for leaf in jax.tree.leaves(data) if eqx.is_array(leaf)]
    return lowest_value(landscape.program.program.jaxpr, landscape.program.constants, [None, *arrays])


def _least(landscape: Landscape, data: Any, rank: int | None) -> float:
    """The lowest squared error of any coefficients of the features, of some rank at most."""
    statistics = _statistics(landscape, data)
    best = np.asarray(statistics.target) @ np.asarray(statistics.factor).T
    if not np.all(np.isfinite(best)):
        # Of inputs whose squares leave the range of numbers: what no squared error undercuts.
        return 0.0
    values = np.linalg.svd(best, compute_uv=False)
    return float(statistics.constant) + (0.0 if rank is None else float(np.sum(values[rank:] ** 2)))


def _statistics(landscape: Landscape, data: Any) -> SufficientStatistics:
    """The sufficient statistics of data, also where they are no smaller than the sample."""
    if isinstance(data, SufficientStatistics):
        return data
    features = features_of(landscape.model)
    assert features is not None and isinstance(landscape.loss, SquaredError)
    x, y = data
    outputs = np.asarray(y).reshape(len(y), -1)
    return from_sample(features_on(features, x), outputs, landscape.loss.weight(y))


def _attained(
    bound: _Bound, landscape: Landscape, theta: Float[np.ndarray, " n"], thresholds: Thresholds
) -> str | None:
    """The sentence if the excess over a bound is zero; a loss below the bound is an error."""
    excess, level = bound.excess(landscape, theta), bound.value(landscape.data)
    changes = [abs(bound.excess(copy, point) - excess) for copy, point in perturbed(landscape, theta)]
    # Beside what changes with the numbers there is the difference's own rounding.
    noise = max(changes) + float(np.finfo(theta.dtype).eps) * abs(level)
    size = min(abs(bound.excess(landscape, point)) for point in (0 * theta, 2 * theta))
    size = size if np.isfinite(size) else 0.0
    zero = max(thresholds.rounding_safety * noise, thresholds.loss_zero * size)
    if excess < -max(zero, BELOW * size):
        raise ValueError(
            f"the loss is {level + excess:.8g}, below its lower bound {level:.8g}: what the loss declares as its "
            "lower_bound, or the model as its features, is wrong; correct it or leave it out."
        )
    return f"{bound.name}, {level:.6g}" if abs(excess) <= zero else None
