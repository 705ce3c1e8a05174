"""Zeros of the gradient of large networks, by Hessian–vector products alone."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..curvature.krylov import krylov_space
from ..embeddings.narrow_landscape import NarrowLandscape
from ..threads import one_thread
from .zero_gradient import is_critical

# From this number of parameters on a decomposition of the Hessian takes longer than a hundred products, which make a
# step.
BY_PRODUCTS_FROM = 400
# Products in all: a thousand suffice for networks whose Hessian has a few dozen curvatures that matter, five times as
# many along the curved valleys beside small initial weights.
PRODUCTS = 6000
# Vectors of one Krylov space: 100 MB for 66 000 parameters.
DEPTH = 200
# A Krylov space is large enough once the linear equation is solved to this share of the gradient; where only large
# curvatures are to be relaxed, to a larger one.
SOLVED, RELAXED = 0.01, 0.1
# The steps that are tried, from one of steepest descent to Newton's: half a decade of damping apart, down to
# what double precision resolves of the largest curvature.
DAMPINGS = 10.0 ** -np.linspace(0.0, 7.5, 16)
# The gentlest step counts that reduces the gradient to this share: it moves along the orbits of symmetries, where
# the Hessian is small but not zero beside a critical point, only once the gradient is.
GENTLY = 0.1
# A step that leaves more than this share of the gradient has stalled, and after so many of these the search ends.
STALLED, PATIENCE = 0.7, 3
# Relaxations after a step along a curved valley.
RELAXATIONS = 3
# Steps among which their length must fall to a half: at a degenerate point of order p each is (p − 2)/(p − 1) of the
# one before, a half in eight at order 13; towards infinity they stay as long.
WINDOW = 8
# A gradient that has fallen to this share is asked whether it is rounding.
SETTLED = 1e-9
# After so many products the gradient must have fallen to this share.
EARLY, HARDLY = 1000, 0.01
# A search that moves by more than this many times the weights has left for some other point.
ASTRAY = 2.0


class _Point(NamedTuple):
    """A point with its gradient, and the number of products that are left."""

    theta: Float[np.ndarray, " n"]
    gradient: Float[np.ndarray, " n"]
    left: int

    @property
    def size(self) -> float:
        """The size of the gradient, infinite where it is not finite."""
        return float(np.nan_to_num(np.linalg.norm(self.gradient), nan=np.inf))


def solve_by_products(
    landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"], *, products: int = PRODUCTS
) -> Float[np.ndarray, " n"]:
    r"""A nearby zero of the gradient, a saddle as well as a minimum, without a dense Hessian.

    Levenberg–Marquardt on ∇L: steps that minimise $\|H s + \nabla L\|^2 + \mu^2 \|s\|^2$ in a Krylov space, which
    holds those for all dampings μ. At each step the gentlest counts that reduces the gradient well. Along a curved
    valley none does: then a longer step is taken, and the large curvatures are relaxed after it. The search ends where
    it drifts to infinity or moves much farther than the weights are long.

    Args:
        landscape: of the network or of its narrow equivalent.
        theta: where to start.
        products: the number of Hessian–vector products after which to end.

    Returns:
        The point with the smallest gradient, whether or not it vanishes there.

    Source: Moré (1978) for the damping; Knoll & Keyes (2004), "Jacobian-free Newton–Krylov methods".
    """
    # Each operation is on a few vectors: threads of BLAS would take three times the processor's time for the same.
    with one_thread():
        return _solve(landscape, _Point(theta, landscape.gradient(theta), products))


def _solve(landscape: Landscape | NarrowLandscape, point: _Point) -> Float[np.ndarray, " n"]:
    """The point with the smallest gradient that the search meets."""
    start, stalls, reach, lengths = point, 0, 2, []
    while stalls < PATIENCE and not _drifts(lengths) and not _hopeless(start, point):
        if point.size <= SETTLED * start.size and is_critical(landscape, point.theta, moved=sum(lengths)):
            break
        if not (trials := _trials(landscape, point, SOLVED)):
            break
        gentlest = best = _gentlest(trials, point)
        if trials[gentlest].size > STALLED * point.size:
            best = min(gentlest + reach, len(trials) - 1)
            trials[best] = _relaxed(landscape, trials[best], STALLED * point.size)
            further = trials[best].size < trials[gentlest].size
            best, reach = (best, 2 * reach) if further else (gentlest, max(reach // 2, 1))
        after = trials[best]
        moved = float(np.linalg.norm(after.theta - start.theta))
        if not after.size < point.size or moved > ASTRAY * np.linalg.norm(start.theta):
            break
        stalls = stalls + 1 if after.size > STALLED * point.size else 0
        lengths.append(float(np.linalg.norm(after.theta - point.theta)))
        point = after
    return point.theta


def nearly_zero(landscape: Landscape, start: Float[np.ndarray, " n"], found: Float[np.ndarray, " n"]) -> bool:
    """Whether a search has brought the gradient so near to zero that where it ended there is a zero, or one ahead.

    Args:
        landscape: of the network.
        start: where the search began.
        found: where it ended.

    Returns:
        Whether it has.
    """
    before, after = (float(np.linalg.norm(landscape.gradient(theta))) for theta in (start, found))
    return after <= HARDLY * before


def _hopeless(start: _Point, point: _Point) -> bool:
    """Whether the gradient has hardly fallen by now."""
    return start.left - point.left > EARLY and point.size > HARDLY * start.size


def _drifts(lengths: list[float]) -> bool:
    """Whether the steps do not become shorter."""
    return len(lengths) > WINDOW and lengths[-1] > lengths[-1 - WINDOW] / 2


def _trials(landscape: Landscape | NarrowLandscape, point: _Point, residual: float) -> list[_Point]:
    """The ends of a step for each damping, up to one that reduces the gradient well; none where no step can be made."""
    if point.left <= 0 or not 0 < point.size < np.inf:
        return []
    depth = min(DEPTH, point.left)
    space = krylov_space(lambda v: landscape.hessian_product(point.theta, v), point.gradient, depth, residual=residual)
    left = point.left - max(len(space.basis), 1)
    if not np.any(space.tridiagonal):
        return []
    thetas = point.theta + space.damped_steps(DAMPINGS * float(np.linalg.norm(space.tridiagonal, 2)))
    trials = []
    for theta in thetas:
        trials.append(_Point(theta, landscape.gradient(theta), left))
        if _well(trials[-1], point):
            break
    return trials


def _well(trial: _Point, point: _Point) -> bool:
    """Whether a step reduces the gradient well."""
    return trial.size <= GENTLY * point.size


def _gentlest(trials: list[_Point], point: _Point) -> int:
    """The number of the step that reduces the gradient well, the last, or else of the one that reduces it most."""
    return len(trials) - 1 if _well(trials[-1], point) else int(np.argmin([trial.size for trial in trials]))


def _relaxed(landscape: Landscape | NarrowLandscape, point: _Point, enough: float) -> _Point:
    """The point after a few steps in the directions of large curvature, until the gradient is small enough."""
    for _ in range(RELAXATIONS):
        if point.size <= enough or not (trials := _trials(landscape, point, RELAXED)):
            break
        after = trials[_gentlest(trials, point)]
        if not after.size < point.size:
            break
        point = after
    return point
