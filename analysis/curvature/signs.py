"""Which eigenvalues of a Hessian have a sign, the critical point being known to finite accuracy."""

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ..rounding import gradient_noise, hessian_noise
from ..thresholds import STANDARD, Thresholds
from .kinks import Rays, is_kinked, rays_from
from .spectrum import Spectrum, hessian

# The point moves by this multiple of Newton's step: at a distance δ from a degenerate point of order p Newton's step is
# δ / (p − 1), so that four of them lead to it or past it up to order 5, and beyond that change an eigenvalue by more
# than half all the same.
STEPS = 4.0
# Eigenvalues examined, the smallest: what is uncertain is small.
EXAMINED = 100
# Curvatures below this share of the largest can be due to the point's not being the critical one.
SMALL = 1e-4
# A step that changes an eigenvalue by more than this factor has nothing to do with the distance from a critical point:
# it is rounding over rounding, as along orbits of symmetries.
WILD = 1e3
# Directions of such steps are left out from the smallest eigenvalue up, those within this factor of it together.
GROWTH = 2.0
# Null directions, the flattest, along which the point's uncertainty is measured, and halvings of the logarithm of the
# distance, from that by which it was moved down to rounding, which find it within a sixth.
FLATTEST, HALVINGS = 20, 8


def spectrum_unless_kinked(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    *,
    start: Float[np.ndarray, " n"],
    moved: float = 0.0,
    thresholds: Thresholds = STANDARD,
) -> Spectrum | Rays:
    """`critical_spectrum`, or rays on which the gradient is seen to have no derivative, so that it would mislead.

    Args:
        landscape: the loss.
        theta: the critical point.
        start: where the search began, which tells the size of weights that vanish at the point.
        moved: the distance by which it moved.
        thresholds: `rounding_safety` and `sign_certain`.

    Returns:
        The spectrum, or the rays.
    """
    rays = rays_from(landscape, theta, start)
    if is_kinked(rays):
        return rays
    found = critical_spectrum(landscape, theta, moved=moved, thresholds=thresholds)
    # Rectified units that are off for all samples leave no curvature, however near to their kink a search has put them.
    hides = found.index == 0 and found.nullity > 0 and is_kinked(rays.beside, found.null_space)
    return rays.beside if hides else found


def critical_spectrum(
    landscape: Landscape, theta: Float[np.ndarray, " n"], *, moved: float = 0.0, thresholds: Thresholds = STANDARD
) -> Spectrum:
    r"""The spectrum at a critical point, in which eigenvalues count as zero whose sign is uncertain.

    The sign of λ is uncertain where λ is below the errors of rounding in the Hessian, or where it could change within
    the uncertainty of the point: beside a degenerate critical point of order p, at a distance δ, Newton's step is
    $\delta / (p - 1)$ and λ is of size $\delta^{p-2}$, so that moving by some such steps changes λ by as much as it
    is. Of the gradient as much is added to each component as rounding leaves open. Along directions whose eigenvalue is
    rounding the point is uncertain as far as the gradient does not change beyond that, unless it does not change as far
    as the search has moved: then it is one of a family. All eigenvalues up to the largest uncertain one count as zero.

    Args:
        landscape: the loss.
        theta: the critical point, as well as it is known.
        moved: the distance by which a search moved to it, to the last place of which the point is known at best.
        thresholds: `rounding_safety` and `sign_certain`.

    Returns:
        The spectrum, with that threshold.
    """
    values, vectors = np.linalg.eigh(hessian(landscape, theta))
    safety, sizes = thresholds.rounding_safety, np.abs(values)
    slopes = vectors.T @ landscape.gradient(theta)
    errors = np.max(np.abs(gradient_noise(landscape, theta, values, vectors, moved=moved) @ vectors), axis=0)
    zero = safety * hessian_noise(landscape, theta, values, vectors, moved=moved)
    small = np.any((sizes > zero) & (sizes <= SMALL * np.max(sizes, initial=0.0)))
    if small:
        # Elsewhere what is small is rounding, and no sign rests on the errors along it.
        errors = np.maximum(errors, _second_differences(landscape, theta, values, vectors, moved))
    steps = np.where(slopes < 0, -1.0, 1.0) * (np.abs(slopes) + safety * errors)
    null = (sizes <= zero) & small
    along = _along_null_directions(landscape, theta, vectors[:, null], np.abs(steps[null]), moved)
    while np.any(open_signs := sizes > zero):
        step = STEPS * vectors[:, open_signs] @ (steps[open_signs] / values[open_signs]) + along
        examined = np.flatnonzero(open_signs)
        examined = examined[np.argsort(sizes[examined])[:EXAMINED]]
        changes = _changes(landscape, theta, values[examined], vectors[:, examined], step) / sizes[examined]
        if np.any(wild := ~(changes < WILD)):
            zero = GROWTH * float(np.min(sizes[examined][wild]))
            continue
        zero = max(zero, float(np.max(sizes[examined], where=changes >= thresholds.sign_certain, initial=0.0)))
        break
    return Spectrum(eigenvalues=values, eigenvectors=vectors, zero_threshold=zero)


def _along_null_directions(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    directions: Float[np.ndarray, "n k"],
    bounds: Float[np.ndarray, " k"],
    moved: float,
) -> Float[np.ndarray, " n"]:
    """How far a point may be off along null directions, along which Newton's step says nothing.

    Args:
        landscape: the loss.
        theta: the critical point.
        directions: null eigenvectors, as columns.
        bounds: the size of the gradient along each of them, with its error of rounding.
        moved: as of `critical_spectrum`.

    Returns:
        The sum of the largest displacements that, to one side, change the gradient along each direction by no more than
        its bound; of directions along which it changes by no more at the distance `moved` none.
    """
    gradient, sum_of_displacements = landscape.gradient(theta), np.zeros_like(theta)

    def zero(direction: np.ndarray, bound: float, distance: float) -> bool:
        beside = np.array([landscape.gradient(theta + side * distance * direction) for side in (1, -1)])
        return bool(np.min(np.abs((beside - gradient) @ direction)) <= bound)

    for direction, bound in zip(directions.T[:FLATTEST], bounds[:FLATTEST], strict=True):
        near, far = np.finfo(theta.dtype).eps * moved, moved
        if moved == 0 or zero(direction, bound, far):
            continue
        for _ in range(HALVINGS):
            middle = float(np.sqrt(near * far))
            near, far = (middle, far) if zero(direction, bound, middle) else (near, middle)
        sum_of_displacements += near * direction
    return sum_of_displacements


def _second_differences(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
    vectors: Float[np.ndarray, "n n"],
    moved: float,
) -> Float[np.ndarray, " n"]:
    """Rounding that hides in a gradient that does not change at all, as of cos x − 1 below x = 1e-8.

    Second differences of the gradient's components along the directions of small curvature, each over a distance at
    which what is smooth in them is as small as rounding.

    Args:
        landscape: the loss.
        theta: the critical point.
        values: eigenvalues of the Hessian.
        vectors: its eigenvectors, as columns.
        moved: as of `critical_spectrum`.

    Returns:
        Their sizes; zero for directions of larger curvature.
    """
    distance = float(np.sqrt(np.finfo(theta.dtype).eps)) * max(float(np.linalg.norm(theta)), moved)
    differences, sizes = np.zeros(len(values)), np.abs(values)
    small = np.flatnonzero(sizes <= SMALL * np.max(sizes, initial=0.0))
    gradient = landscape.gradient(theta)
    for k in small[np.argsort(sizes[small])[:EXAMINED]] if distance > 0 else ():
        beside = [landscape.gradient(theta + side * distance * vectors[:, k]) for side in (1, -1)]
        differences[k] = abs(float(vectors[:, k] @ (beside[0] + beside[1] - 2 * gradient))) / 2
    return differences


def _changes(
    landscape: Landscape,
    theta: Float[np.ndarray, " n"],
    values: Float[np.ndarray, " m"],
    vectors: Float[np.ndarray, "n m"],
    displacement: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " m"]:
    """By how much eigenvalues change when the point moves to either side; not a number where there is no Hessian."""
    if not np.any(displacement):
        return np.zeros(len(values))
    moved = [
        np.sum(vectors * landscape.hessian_products(point, vectors), axis=0)
        for point in (theta + displacement, theta - displacement)
    ]
    return np.max(np.abs(np.array(moved) - values), axis=0)
