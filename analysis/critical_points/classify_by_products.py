"""The index of critical points that are too large for a dense Hessian, from its products with vectors."""

import dataclasses

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..curvature.krylov import krylov_space
from ..curvature.lowest import NegativeEigenvalues, negative_eigenvalues
from ..curvature.nullity import nullity
from ..curvature.signs import EXAMINED, STEPS
from ..rounding import COPIES, perturbed
from ..symmetries.mixing import orbit_dimension
from ..threads import one_thread
from ..thresholds import STANDARD, Thresholds
from .evidence import Evidence
from .kind import Kind
from .null_space import ORBIT_SHARE

# Of the Krylov space in which Newton's step is made, which tells how far the critical point may be: its dimension, the
# share of the gradient that is left, and the damping beside the largest curvature.
DEPTH, SOLVED, DAMPING = 200, 0.01, 1e-7


def classify_by_products(known: Evidence, kind: Kind) -> Kind:
    """The kind with index and nullity, by searches for eigenvalues that need no dense Hessian.

    Args:
        known: the point, at which the loss is twice differentiable.
        kind: what is known of it without the index.

    Returns:
        A strict saddle where a negative eigenvalue was found, beyond the uncertainty of the point; else the kind with
        what the search established. Null directions along orbits of symmetries exist at any critical point.
    """
    point, landscape, theta = known.point, known.point.landscape, known.point.theta
    found = critical_negative_eigenvalues(landscape, theta, moved=point.distance, thresholds=known.thresholds)
    orbits = orbit_dimension(point.model, landscape.data, least=ORBIT_SHARE * point.distance)
    with one_thread():
        zeros = nullity(lambda v: landscape.hessian_product(theta, v), theta.size, found, by_symmetry=orbits)
    counts = f"{found.summary}; {zeros.summary}"
    kind = dataclasses.replace(kind, negative=found, zeros=zeros, evidence=f"{kind.evidence}; by products {counts}")
    if not found.index:
        return kind
    return dataclasses.replace(kind, name="strict saddle", order=2, evidence=f"by Hessian–vector products {counts}")


def critical_negative_eigenvalues(
    landscape: Landscape, theta: Float[np.ndarray, " n"], *, moved: float = 0.0, thresholds: Thresholds = STANDARD
) -> NegativeEigenvalues:
    """The negative eigenvalues at a critical point, of which those count as zero whose sign is uncertain.

    The sign of λ is uncertain below the errors of rounding in the Hessian, or where it changes when the point moves by
    some of Newton's steps, as in `critical_spectrum`.

    Args:
        landscape: the loss.
        theta: the critical point, as well as it is known.
        moved: the distance by which a search moved to it.
        thresholds: `rounding_safety` and `sign_certain`.

    Returns:
        The eigenvalues that a search by products finds, with that threshold.
    """
    zero = thresholds.rounding_safety * _rounding(landscape, theta, moved)
    found = negative_eigenvalues(lambda v: landscape.hessian_product(theta, v), theta.size, zero_threshold=zero)
    step = STEPS * _newton_step(landscape, theta)
    examined = np.arange(len(found.values))[-EXAMINED:]
    if not len(examined) or not np.any(step):
        return found
    vectors, values = found.vectors[:, examined], found.values[examined]
    beside = [landscape.hessian_products(place, vectors) for place in (theta + step, theta - step)]
    changes = [np.abs(np.sum(vectors * images, axis=0) - values) for images in beside]
    uncertain = np.max(changes, axis=0) >= thresholds.sign_certain * np.abs(values)
    largest = float(np.max(np.abs(values), where=uncertain, initial=0.0))
    return dataclasses.replace(found, zero_threshold=max(zero, largest))


def _rounding(landscape: Landscape, theta: Float[np.ndarray, " n"], moved: float) -> float:
    """The norm of the error that rounding makes in a Hessian, as `hessian_noise`, from products alone."""
    directions = np.random.default_rng(1).standard_normal((theta.size, COPIES))
    directions /= np.linalg.norm(directions, axis=0)
    exact, changes = landscape.hessian_products(theta, directions), []
    for copy, point in perturbed(landscape, theta, moved=moved):
        changed = copy.hessian_products(point, directions) - exact
        changes.append(float(np.max(np.linalg.norm(changed, axis=0))))
    size = float(np.max(np.linalg.norm(exact, axis=0)))
    return 2 * max(changes) + theta.size * float(np.finfo(theta.dtype).eps) * size


def _newton_step(landscape: Landscape, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Newton's step, as far as a Krylov space resolves it; zero where the gradient is."""
    gradient = landscape.gradient(theta)
    if not np.any(gradient):
        return np.zeros_like(theta)
    with one_thread():
        space = krylov_space(lambda v: landscape.hessian_product(theta, v), gradient, DEPTH, residual=SOLVED)
        largest = float(np.linalg.norm(space.tridiagonal, 2))
        return space.damped_steps(np.array([DAMPING * largest]))[0] if largest else np.zeros_like(theta)
