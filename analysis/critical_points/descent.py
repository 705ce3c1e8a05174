"""Minima next to a point, by descent: with a Hessian that is built up on the way, or with products."""

import numpy as np
import scipy
from jaxtyping import Float

from ...flows import Landscape
from ..embeddings.narrow_landscape import NarrowLandscape
from .refine_by_products import BY_PRODUCTS_FROM

# The gradient relative to the first one, which Newton's method then reduces to rounding, and the steps.
DESCENDED, MAX_DESCENT = 1e-9, 1000
# The same for large networks, and products.
DESCENDED_BY_PRODUCTS, PRODUCTS = 1e-6, 1000


def descend_to_critical_point(
    landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"], *, lowest: float = -np.inf
) -> Float[np.ndarray, " n"]:
    """The end of a descent, whatever the units of loss and weights.

    By BFGS; from 400 parameters on by `descend_by_products`.

    Args:
        landscape: of the network or of its narrow equivalent.
        theta: where to start.
        lowest: a loss below which the descent of a large network ends.

    Returns:
        Where it ends.
    """
    if theta.size == 0:
        return theta
    if theta.size >= BY_PRODUCTS_FROM:
        return descend_by_products(landscape, theta, lowest=lowest)
    slope = float(np.linalg.norm(landscape.gradient(theta)))
    curvature = float(np.max(np.abs(np.linalg.eigvalsh(landscape.hessian(theta)))))
    if not (slope > 0 and curvature > 0 and np.isfinite(slope + curvature)):
        return theta
    # Its first step is one along the gradient: as long as Newton's, in this unit of length.
    length = slope / curvature

    def scaled(z: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
        value, gradient = landscape.value_and_gradient(theta + length * z)
        return float(value) / (slope * length), gradient / slope

    with np.errstate(all="ignore"):
        options = {"gtol": DESCENDED, "maxiter": MAX_DESCENT}
        found = scipy.optimize.minimize(scaled, np.zeros_like(theta), jac=True, method="BFGS", options=options)
    return theta + length * found.x


def descend_by_products(
    landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"], *, lowest: float = -np.inf
) -> Float[np.ndarray, " n"]:
    """The end of a descent by a trust-region method with conjugate gradients, or of a thousand products.

    Args:
        landscape: of the network or of its narrow equivalent.
        theta: where to start.
        lowest: a loss below which the descent ends.

    Returns:
        Where it ends.

    Source: Steihaug (1983), as in SciPy.
    """
    slope, left = float(np.linalg.norm(landscape.gradient(theta))), PRODUCTS
    if not 0 < slope < np.inf:
        return theta

    def product(point: Float[np.ndarray, " n"], direction: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        nonlocal left
        left -= 1
        return landscape.hessian_product(point, direction) / slope

    def value(point: Float[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
        loss, gradient = landscape.value_and_gradient(point)
        return float(loss) / slope, gradient / slope

    def ended(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        if left <= 0 or intermediate_result.fun * slope < lowest:
            raise StopIteration

    size = float(np.linalg.norm(theta)) or 1.0
    options = {"gtol": DESCENDED_BY_PRODUCTS, "initial_trust_radius": size / 100, "max_trust_radius": size}
    with np.errstate(all="ignore"):
        return scipy.optimize.minimize(
            value, theta, jac=True, hessp=product, method="trust-ncg", callback=ended, options=options
        ).x
