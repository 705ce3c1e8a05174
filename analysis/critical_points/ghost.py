"""Ghosts of vanished critical points: local minima of the speed that are not zero."""

from typing import Any

import numpy as np
import scipy
from jaxtyping import Float

from ...flows import Landscape
from ...flows.landscapes.point import point_of
from ...flows.landscapes.taylor import third_products
from ..thresholds import STANDARD, Thresholds
from .refine import damped
from .refine_by_products import BY_PRODUCTS_FROM, solve_by_products
from .slow_point import SlowPoint

# The speed is least where its slope, relative to itself and to the curvature, is below this.
STATIONARY = 1e-12
# The curvature along the gradient is √(gμ) at the distance √(g/μ) from a ghost, where the speed has doubled; at the
# ghost it is at most this share of that. Beside a degenerate critical point it is all of it.
STILL = 0.1


def _slowest(landscape: Landscape, near: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    r"""The local minimum of $\|\nabla L\|^2$ next to a point."""
    large, speed = near.size >= BY_PRODUCTS_FROM, float(np.linalg.norm(landscape.gradient(near)))
    if not (speed > 0 and np.isfinite(speed)):
        return near
    curvature = (
        landscape.sharpness(near) if large else float(np.max(np.abs(np.linalg.eigvalsh(landscape.hessian(near)))))
    )
    if not (curvature > 0 and np.isfinite(curvature)):
        return near
    # In units of the speed, and of the length in which the curvature would change it by as much as it is.
    length = speed / curvature

    def squared_speed(z: np.ndarray) -> tuple[float, np.ndarray]:
        slope = landscape.gradient(near + length * z) / speed
        return float(slope @ slope) / 2, landscape.hessian_product(near + length * z, slope) / curvature

    # Gauss–Newton's quadratic model of ‖∇L‖² has no curvature along the gradient of a ghost: finish by quasi-Newton.
    with np.errstate(all="ignore"):
        method, steps = ("L-BFGS-B", 100) if large else ("BFGS", 400)
        options = {"gtol": STATIONARY, "maxiter": steps}
        found = scipy.optimize.minimize(squared_speed, np.zeros_like(near), jac=True, method=method, options=options)
    return near + length * found.x


def ghost(
    landscape: Landscape,
    theta: Float[Any, " n"] | None = None,
    *,
    curvature: float = 1.0,
    gradient: float = 1.0,
    nearby: Float[Any, " n"] | None = None,
    thresholds: Thresholds = STANDARD,
) -> SlowPoint | None:
    r"""The ghost next to a point, if the speed has a nonzero minimum there.

    Args:
        landscape: the loss.
        theta: the closest approach, by default the landscape's own parameters.
        curvature: characteristic scale of the Hessian's eigenvalues.
        gradient: characteristic scale of gradients.
        nearby: the point of small gradient to which a search from θ led, if one was made.
        thresholds: what counts as a zero of the gradient, and as a stationary speed.

    Returns:
        The ghost; `None` where the speed vanishes or has no minimum, as beside a degenerate critical point.
    """
    start = point_of(landscape, theta)
    if nearby is None:
        solve = solve_by_products if start.size >= BY_PRODUCTS_FROM else damped
        nearby = solve(landscape, start)
    end = _slowest(landscape, np.asarray(nearby))
    slope = landscape.gradient(end)
    speed = float(np.linalg.norm(slope))
    unit = slope / speed if speed > 0 else slope
    image = landscape.hessian_product(end, unit)
    positive = speed > thresholds.gradient_zero * gradient
    if not (positive and np.linalg.norm(image) <= thresholds.ghost_curvature * curvature):
        return None
    mu = float(third_products(landscape, end, unit[:, None])[:, 0] @ unit) / 2
    if not (mu > 0 and np.linalg.norm(image) <= STILL * np.sqrt(speed * mu)):
        return None
    passage = float(np.pi / np.sqrt(speed * mu))
    distance = float(np.linalg.norm(end - start))
    evidence = f"the speed has a nonzero minimum, ‖∇L‖ = {speed:.3g}, at distance {distance:.2g}"
    evidence += f"; the passage takes π/√(gμ) = {passage:.4g}"
    return SlowPoint(name="ghost", landscape=landscape, theta=end, speed=speed, passage=passage, evidence=evidence)
