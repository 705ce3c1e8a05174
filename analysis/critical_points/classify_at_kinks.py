"""Kinds where the gradient is seen to have no derivative, in any model: the form of second order on rays."""

import numpy as np
from jaxtyping import Float

from ..curvature.kinks import SHARES, Rays, jumps
from ..curvature.spectrum import DENSE_HESSIAN_LIMIT
from ..leading_order.sphere import STALLED, minima_on_sphere, normal_vectors
from .evidence import Evidence
from .kind import Kind

# Local searches for the lowest value of the form, and before it is called positive, up to some number of weights.
SEARCHES, THOROUGH, WEIGHTS = 4, 64, 100
# Slopes are known to this share of the form's largest value, beyond which a sign is one.
RESOLVED = 1e-4
KINKED = "no Hessian: not twice differentiable here"
KINKED_BESIDE = "the Hessian says nothing: the loss is not twice differentiable next to the point"


def classify_at_kinks(known: Evidence, rays: Rays) -> Kind:
    """The kind of a point at which the loss is not twice differentiable, whatever model it is made of.

    Args:
        known: the point, with the effect of added units.
        rays: from it, of the distances at which the kink is seen.

    Returns:
        The kind.
    """
    kinked = KINKED if (at_point := rays.shares == SHARES) else KINKED_BESIDE
    directions, n = rays.directions(), rays.theta.size
    values = np.array([rays.form(d)[0] for d in directions])
    scale, lowest = float(np.max(np.abs(values))), float(np.min(values))
    if n <= DENSE_HESSIAN_LIMIT:
        lowest = _lowest(rays, directions[np.argsort(values)[:SEARCHES]], scale)
    jumping = jumps(rays)
    if lowest < -RESOLVED * scale and jumping:
        reason = "the gradient jumps next to the point, and along a ray the loss falls at first order"
        return Kind(name="no critical point", added_unit_form=known.form, evidence=reason)
    if lowest < -RESOLVED * scale:
        evidence = f"{kinked}; along a ray the loss falls at second order, by {-lowest:.6g} r² at a distance r"
        return Kind(name="non-smooth saddle", order=2, added_unit_form=known.form, evidence=evidence)
    if known.lower_bound_attained is not None:
        return Kind(name="minimum", added_unit_form=known.form, evidence=known.lower_bound_attained)
    if lowest > STALLED * scale and n <= WEIGHTS and at_point and not jumping:
        lowest = _lowest(rays, normal_vectors(THOROUGH, n), scale)
        if lowest > STALLED * scale:
            evidence = f"{KINKED}; its form of second order is positive on all rays, as far as a search can tell"
            return Kind(name="minimum", added_unit_form=known.form, evidence=evidence)
    seen = f"along no ray was the loss seen to fall at {'first' if jumping else 'second'} order"
    return Kind(name="undetermined", added_unit_form=known.form, evidence=f"{kinked}; {seen}")


def _lowest(rays: Rays, starts: Float[np.ndarray, "k n"], scale: float) -> float:
    """The lowest value of the form on unit vectors that some searches find."""

    def objective(d: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
        value, slope = rays.form(d)
        return value / scale, slope / scale

    return scale * min(value for value, _ in minima_on_sphere(objective, starts))
