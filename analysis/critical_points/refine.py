"""Zeros of the gradient next to a point, saddles and minima, by damped Newton steps."""

import numpy as np
from jaxtyping import Float, Int

from ...flows import Landscape
from ..embeddings.narrow_landscape import NarrowLandscape
from .flatness import as_flat_as_known, flatter
from .refine_by_products import BY_PRODUCTS_FROM, solve_by_products
from .zero_gradient import is_critical
from .zero_residuals import zero_residuals

# Eigenvalues below this share of the largest are taken for zero: the square root of what double precision resolves.
RANK = 1e-7
# Steps of the damped method at most, and the factors by which its damping falls after a step that made the gradient
# smaller, and grows after one that did not.
MAX_DAMPED, SOFTENED, STIFFENED = 100, 3.5, 4.0
# Newton steps after which a point is taken as it is; quadratic convergence needs five.
MAX_NEWTON = 40
# Beside a degenerate point of order p each Newton step leaves the share (p − 2)/(p − 1) of the distance: eighty of them
# reduce it by five decades at order eight.
MAX_SINGULAR = 80
# Steps with a constant Hessian across a valley, each of which leaves about the length of the step along it.
RELAXATIONS = 3
# Between curvatures that differ by a decade there is a gap: what is degenerate lies below the lowest one.
WIDE = 10.0
# Newton's steps have left the neighbourhood when one is this many times as long as the first.
ASTRAY = 10.0
# Newton's steps have led straight to their end if the distance is at least this share of the path: directions of finite
# curvature are left in one step, at a right angle to the rest of the path, and coordinates may be bent.
STRAIGHT = 0.65
# They may lead this many times as far as the nearest critical point: of ten factors with random values the two
# smallest, which are zero at the nearest critical point of their product, are together a tenth or a hundredth of all.
BESIDE = 100.0
# A critical point at less than half the distance is taken instead of another one.
MUCH_NEARER = 0.5
# A gradient that has fallen to this share of that at the start has come to zero.
SETTLED = 1e-10
# Newton's steps end if the gradient has not decreased for so many of them: what is left is rounding.
PATIENCE = 6


def solve_gradient(landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """A nearby zero of the gradient, a saddle as well as a minimum.

    Levenberg–Marquardt on ∇L, then Newton steps with the pseudo-inverse of the Hessian; whichever of start and results
    has the smallest gradient is taken, so that a failure shows in the gradient. A degenerate point may lie on a set of
    less degenerate ones, which the damped steps meet first; where the loss about it is homogeneous, Newton's steps lead
    straight to it, and if they do and more eigenvalues are zero there, it is returned, unless the other may be as
    degenerate and is much nearer. It is returned as well if the damped steps have led much farther away. Where a
    squared error is almost zero, a zero of its residuals is sought from there.

    Args:
        landscape: of the network or of its narrow equivalent.
        theta: where to start.

    Returns:
        The zero, from 400 parameters on by `solve_by_products`.
    """
    if theta.size == 0 or is_critical(landscape, theta):
        return theta
    if theta.size >= BY_PRODUCTS_FROM:
        return solve_by_products(landscape, theta)
    return zero_residuals(landscape, _newton(landscape, theta))


def _newton(landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The nearby zero of the gradient."""
    points = [theta, damped(landscape, theta)]
    points.append(polished(landscape, points[-1]))
    if not is_critical(landscape, points[-1]):
        points.append(singular_newton(landscape, points[-1])[0])
    norms = [_size(landscape, point) for point in points]
    nearest, least = points[int(np.argmin(norms))], min(norms)
    end, travelled = singular_newton(landscape, theta, relaxed=False)
    settled = _size(landscape, end) <= max(least, SETTLED * norms[0]) or is_critical(landscape, end)
    distance = np.linalg.norm(end - theta)
    straight = settled and distance >= STRAIGHT * travelled
    other = np.linalg.norm(nearest - theta)
    if settled and distance <= MUCH_NEARER * other:
        return end
    if straight and distance <= BESIDE * other and flatter(landscape, end, nearest):
        return end if distance * MUCH_NEARER <= other or not as_flat_as_known(landscape, nearest) else nearest
    return nearest


def _size(landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"]) -> float:
    """The size of the gradient, infinite where it is not a number."""
    size = float(np.max(np.abs(landscape.gradient(theta))))
    return size if np.isfinite(size) else np.inf


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
    gradient, decomposed, damping = landscape.gradient(theta), None, None
    for _ in range(MAX_DAMPED):
        size = np.linalg.norm(gradient)
        if not np.isfinite(size) or size == 0:
            break
        if decomposed is None:
            matrix = landscape.hessian(theta)
            if not np.all(np.isfinite(matrix)):
                break
            decomposed = np.linalg.eigh(matrix)
        values, vectors = decomposed
        largest = float(np.max(np.abs(values)))
        damping = largest**2 if damping is None else damping
        step = -vectors @ (values * (vectors.T @ gradient) / (values**2 + damping))
        trial = landscape.gradient(theta + step)
        if np.linalg.norm(trial) < size:
            theta, gradient, decomposed, damping = theta + step, trial, None, damping / SOFTENED
        else:
            damping *= STIFFENED
        # The step is at rounding level, or the damping makes it so.
        if np.linalg.norm(step) <= 1e-15 * np.linalg.norm(theta) or damping > largest**2 / np.finfo(float).eps:
            break
    return theta


def polished(landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
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


def singular_newton(
    landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"], *, relaxed: bool = True
) -> tuple[Float[np.ndarray, " n"], float]:
    """Newton's method beside a point with a singular Hessian, in which its steps leave a share of the distance.

    Along a curved valley Newton's method alone need not converge: then it moves only along the directions of small
    curvature, and relaxes all others in between. Towards a point at which all directions are equally degenerate
    Newton's steps alone lead straight.

    Args:
        landscape: of the network or of its narrow equivalent.
        theta: where to start.
        relaxed: whether to relax the directions of large curvature between the steps.

    Returns:
        The point with the smallest gradient, and the length of the steps that led to it.

    Source: Griewank & Osborne (1983), "Analysis of Newton's method at irregular singularities".
    """
    best, least, longest, idle = theta, np.inf, np.inf, 0
    path, travelled = 0.0, 0.0
    for _ in range(MAX_SINGULAR):
        gradient, matrix = landscape.gradient(theta), landscape.hessian(theta)
        if not (np.all(np.isfinite(gradient)) and np.all(np.isfinite(matrix))):
            break
        size, idle = float(np.linalg.norm(gradient)), idle + 1
        if size < least:
            best, least, idle, travelled = theta, size, 0, path
        if idle > PATIENCE:
            break
        values, vectors = np.linalg.eigh(matrix)
        small, large = _split(values, relaxed)
        along = vectors[:, small] @ ((vectors[:, small].T @ gradient) / values[small])
        length = float(np.linalg.norm(along))
        longest = min(longest, ASTRAY * length)
        if not np.finfo(theta.dtype).tiny < length <= longest:
            break
        theta, path = theta - along, path + length
        for _ in range(RELAXATIONS):
            gradient = landscape.gradient(theta)
            theta = theta - vectors[:, large] @ ((vectors[:, large].T @ gradient) / values[large])
    return best, travelled


def _split(values: Float[np.ndarray, " n"], relaxed: bool) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " m"]]:
    """Positions of the small and the large eigenvalues, beside the lowest wide gap; what is rounding is neither."""
    sizes = np.abs(values)
    order = np.argsort(sizes)
    order = order[sizes[order] > len(values) * np.finfo(values.dtype).eps * np.max(sizes, initial=0.0)]
    if len(order) < 2 or not relaxed:
        return order, order[:0]
    ratios = sizes[order][1:] / sizes[order][:-1]
    gap = int(np.argmax(ratios >= WIDE) if np.any(ratios >= WIDE) else np.argmax(ratios)) + 1
    return order[:gap], order[gap:]
