"""Kinds where the loss is not twice differentiable, as seen by its gradient alone: the form of second order on rays."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..curvature.spectrum import DENSE_HESSIAN_LIMIT
from ..leading_order.sphere import minima_on_sphere, normal_vectors
from ..rounding import gradient_changes
from .critical_point import CriticalPoint
from .evidence import Evidence
from .kind import Kind

# Random directions in which kinks are looked for, with their opposites: a rectified unit is seen in half of them. In
# large networks, where a gradient takes longer, some of the many units are seen in any.
DIRECTIONS, IN_LARGE = 16, 2
# Distances, as shares of the weights, at which the gradient is compared with the Hessian. What is left shrinks a
# hundredfold from one to the next where there is a third derivative, and stays where there is a kink.
FAR, NEAR = 1e-6, 1e-8
SHRINKS = 0.3
# Local searches for the lowest value of the form, and before it is called positive, up to some number of weights.
SEARCHES, THOROUGH, WEIGHTS = 4, 64, 100
# Distances are exact to this share of the form's largest value, beyond which a sign is one.
RESOLVED = 1e-4
KINKED = "no Hessian: not twice differentiable here"


class _Rays(NamedTuple):
    r"""The form $F_2(d) = \langle g(d), d \rangle / 2$, g being the derivative of $\nabla L$ along the ray d."""

    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    gradient: Float[np.ndarray, " n"]
    size: float

    def slope(self, d: Float[np.ndarray, " n"], share: float = NEAR) -> Float[np.ndarray, " n"]:
        """g(d), of a unit vector d."""
        distance = share * self.size
        return (self.landscape.gradient(self.theta + distance * d) - self.gradient) / distance

    def form(self, d: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
        """The form, which is homogeneous of degree 2, and its gradient."""
        slope = self.slope(d)
        return float(slope @ d) / 2, slope


def classify_at_kinks(known: Evidence) -> Kind | None:
    """The kind of a point at which the loss is not twice differentiable, whatever model it is made of.

    Args:
        known: the point, with the effect of added units.

    Returns:
        The kind, `None` where the gradient has a derivative.
    """
    rays, n = _rays(known.point), known.point.theta.size
    large = n > DENSE_HESSIAN_LIMIT
    directions = normal_vectors(IN_LARGE if large else DIRECTIONS, n)
    directions = np.concatenate([directions, -directions]) / np.linalg.norm([*directions, *directions], axis=1)[:, None]
    if not _are_kinked(rays, directions, known.thresholds.rounding_safety):
        return None
    values = np.array([rays.form(d)[0] for d in directions])
    scale = float(np.max(np.abs(values)))
    lowest = float(np.min(values)) if large else _lowest(rays, directions[np.argsort(values)[:SEARCHES]], scale)
    if lowest < -RESOLVED * scale:
        evidence = f"{KINKED}; along a ray the loss falls at second order, by {-lowest:.6g} r² at a distance r"
        return Kind(name="non-smooth saddle", order=2, added_unit_form=known.form, evidence=evidence)
    if known.lower_bound_attained is not None:
        return Kind(name="minimum", added_unit_form=known.form, evidence=known.lower_bound_attained)
    if lowest > RESOLVED * scale and n <= WEIGHTS:
        lowest = _lowest(rays, normal_vectors(THOROUGH, n), scale)
        if lowest > RESOLVED * scale:
            evidence = f"{KINKED}; its form of second order is positive on all rays, as far as a search can tell"
            return Kind(name="minimum", added_unit_form=known.form, evidence=evidence)
    evidence = f"{KINKED}; along no ray was the loss seen to fall at second order"
    return Kind(name="undetermined", added_unit_form=known.form, evidence=evidence)


def _rays(point: CriticalPoint) -> _Rays:
    """The rays from a point, with the size of the weights: there or, if they vanish, where the search began."""
    size = max(float(np.linalg.norm(point.theta)), float(np.linalg.norm(point.start))) or 1.0
    return _Rays(point.landscape, point.theta, point.landscape.gradient(point.theta), size)


def _are_kinked(rays: _Rays, directions: Float[np.ndarray, "k n"], safety: float) -> bool:
    """Whether the gradient changes along some ray by more than the Hessian says, however near."""
    products = rays.landscape.hessian_products(rays.theta, directions.T).T
    far, near = (
        np.array([np.linalg.norm(rays.slope(d, share) - p) for d, p in zip(directions, products, strict=True)])
        for share in (FAR, NEAR)
    )
    if not np.any(suspected := near > SHRINKS * far):
        return False
    noise = float(np.max(np.linalg.norm(gradient_changes(rays.landscape, rays.theta), axis=1))) / (NEAR * rays.size)
    # Where the weights are zero so is that noise, and what is left is rounding of the products.
    noise += np.finfo(rays.theta.dtype).eps * float(np.max(np.linalg.norm(products, axis=1))) * len(rays.theta)
    return bool(np.any(near[suspected] > safety * noise))


def _lowest(rays: _Rays, starts: Float[np.ndarray, "k n"], scale: float) -> float:
    """The lowest value of the form on unit vectors that some searches find."""

    def objective(d: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
        value, slope = rays.form(d)
        return value / scale, slope / scale

    return scale * min(value for value, _ in minima_on_sphere(objective, starts))
