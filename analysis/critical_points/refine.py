"""Zeros of the gradient next to a point: saddles by damped Newton steps, minima by descent."""

import numpy as np
import scipy
from jaxtyping import Float

from ...flows import Landscape
from ..curvature.spectrum import DENSE_HESSIAN_LIMIT
from ..embeddings.narrow_landscape import NarrowLandscape

# Eigenvalues below this share of the largest are taken for zero: the square root of what double precision resolves.
RANK = 1e-7
# Steps of the damped method at most, and the factors by which its damping falls after a step that made the gradient
# smaller, and grows after one that did not.
MAX_DAMPED, SOFTENED, STIFFENED = 100, 3.5, 4.0
# Newton steps after which a point is taken as it is; quadratic convergence needs five.
MAX_NEWTON = 40
# Of the descent: its gradient relative to the first one, which Newton's method then reduces to rounding, and its steps.
DESCENDED, MAX_DESCENT = 1e-9, 1000


def solve_gradient(landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """A nearby zero of the gradient, a saddle as well as a minimum.

    Levenberg–Marquardt on ∇L, then Newton steps with the pseudo-inverse of the Hessian; whichever of start and results
    has the smallest gradient is returned, so that a failure shows in the gradient.

    Args:
        landscape: of the network or of its narrow equivalent.
        theta: where to start.

    Returns:
        The zero; θ itself beyond 3000 parameters, for which no dense Hessian is made.
    """
    if theta.size == 0 or theta.size > DENSE_HESSIAN_LIMIT:
        return theta
    candidate_points = [theta, damped(landscape, theta)]
    candidate_points.append(_polished(landscape, candidate_points[-1]))
    norms = [np.max(np.abs(landscape.gradient(point))) for point in candidate_points]
    return candidate_points[int(np.argmin(np.where(np.isfinite(norms), norms, np.inf)))]


def damped(landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    r"""The result of Levenberg–Marquardt's method on the gradient, steps $-(H^2 + \lambda)^{-1} H \nabla L$.

    Beside a critical point the Hessian is small but not zero along the orbits of symmetries. The damping falls slowly
    from the largest eigenvalue on, so that the gradient is zero by the time that it lets such directions move; the
    trust-region methods of SciPy begin with steps as long as θ itself, or scale each coordinate by itself.

    Args:
        landscape: of the network or of its narrow equivalent.
        theta: where to start.

    Returns:
        The last θ, whether or not the gradient vanishes there.
    """
    gradient, damping = landscape.gradient(theta), None
    for _ in range(MAX_DAMPED):
        size = np.linalg.norm(gradient)
        if not np.isfinite(size) or size == 0:
            break
        matrix = landscape.hessian(theta)
        if not np.all(np.isfinite(matrix)):
            break
        values, vectors = np.linalg.eigh(matrix)
        largest = float(np.max(np.abs(values)))
        damping = largest**2 if damping is None else damping
        step = -vectors @ (values * (vectors.T @ gradient) / (values**2 + damping))
        trial = landscape.gradient(theta + step)
        if np.linalg.norm(trial) < size:
            theta, gradient, damping = theta + step, trial, damping / SOFTENED
        else:
            damping *= STIFFENED
        # The step is at rounding level, or the damping makes it so.
        if np.linalg.norm(step) <= 1e-15 * np.linalg.norm(theta) or damping > largest**2 / np.finfo(float).eps:
            break
    return theta


def _polished(landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Newton's method by the pseudo-inverse, which moves across the orbits of symmetries, never along them."""
    gradient = landscape.gradient(theta)
    for _ in range(MAX_NEWTON):
        if not np.all(np.isfinite(gradient)):
            break
        step = np.linalg.lstsq(landscape.hessian(theta), gradient, rcond=RANK)[0]
        trial = theta - step
        changed = landscape.gradient(trial)
        # A gradient that no longer decreases is rounding, or the point is singular.
        if not np.max(np.abs(changed)) < np.max(np.abs(gradient)):
            break
        theta, gradient = trial, changed
    return theta


def descend_to_critical_point(
    landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """The end of a descent by BFGS; θ itself beyond 3000 parameters."""
    if theta.size == 0 or theta.size > DENSE_HESSIAN_LIMIT:
        return theta
    scale = np.max(np.abs(landscape.gradient(theta)))
    options = {"gtol": DESCENDED * max(scale, np.finfo(float).tiny), "maxiter": MAX_DESCENT}
    with np.errstate(all="ignore"):
        return scipy.optimize.minimize(landscape.value_and_gradient, theta, jac=True, method="BFGS", options=options).x
