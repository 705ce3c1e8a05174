"""The critical point behind a visit: solve in the narrow network, embed back, certify in the wide one."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import numpy as np
import scipy
from jaxtyping import Float

from ...flows import Landscape, flatten, unflatten
from ...models.units import layers_of
from ..curvature.spectrum import DENSE_HESSIAN_LIMIT
from ..embeddings.embedding import Embedding, LayeredEmbedding
from ..embeddings.narrow_landscape import NarrowLandscape, narrow_landscape
from ..embeddings.reduction import reduce_layers
from ..embeddings.width import EffectiveWidth
from ..threads import in_one_thread

# Certificate: ‖∇L‖∞ in the wide network, relative to the largest speed of the flow.
GRADIENT_TOLERANCE = 1e-10
# A saddle of the narrow network itself counts as visited without further question only this near, relative to the
# weights: farther away the narrow network's own descent says where the flow is heading.
NEAR = 1e-3
# A critical point belongs to a plateau if its loss differs from the plateau's by less than this share of the smaller
# neighbouring drop.
LEVEL = 0.2
# Eigenvalues below this share of the largest are taken for zero: the square root of what double precision resolves.
RANK = 1e-7
# Steps of the damped method at most, and the factors by which its damping falls after a step that made the gradient
# smaller, and grows after one that did not.
MAX_DAMPED, SOFTENED, STIFFENED = 100, 3.5, 4.0
# Newton steps after which a point is taken as it is; quadratic convergence needs five.
MAX_NEWTON = 40


class CriticalPoint(eqx.Module):
    r"""A zero of the gradient, certified in the wide network.

    - `landscape`, `theta`: the point, in the wide network's parameters.
    - `loss`; `gradient_norm`: $\|\nabla L\|_\infty$ in the wide network.
    - `distance`: Euclidean distance from the trajectory's closest approach to it.
    - `converged`: the gradient is zero to tolerance and the loss is that of the plateau.
    - `refined`: whether it was solved for at all; networks that are too large even when reduced are not.
    - `embedding`: the narrow network and its place in the wide one, in each layer where several have units; `None`
      for a model without units.
    - `start`: the parameters at the closest approach, from where it was sought.
    """

    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    loss: float
    gradient_norm: float
    distance: float
    converged: bool
    refined: bool
    embedding: Embedding | LayeredEmbedding | None
    start: Float[np.ndarray, " n"]

    @property
    def model(self) -> Any:
        """The wide network at the point."""
        return self.landscape.at(self.theta)

    @property
    def start_model(self) -> Any:
        """The wide network at the closest approach."""
        return self.landscape.at(self.start)


def solve_gradient(landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """A nearby zero of the gradient, a saddle as well as a minimum.

    Levenberg–Marquardt on ∇L, then Newton steps with the pseudo-inverse of the Hessian; whichever of start and results
    has the smallest gradient is returned, so a failure shows in the gradient. Beyond 3000 parameters, for which no
    dense Hessian is made, θ is returned as it is.
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
    from the largest eigenvalue on, so that by the time it lets such directions move there is nothing left to gain; the
    trust-region methods of SciPy begin with steps as long as θ itself, or scale each coordinate by itself.
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
        # A step of rounding, or a damping that makes it one: nothing more is to be had.
        if np.linalg.norm(step) <= 1e-15 * np.linalg.norm(theta) or damping > largest**2 / np.finfo(float).eps:
            break
    return theta


def _polished(landscape: Landscape | NarrowLandscape, theta: np.ndarray) -> np.ndarray:
    """Newton's method, by the pseudo-inverse, which moves across the orbits of symmetries, never along them."""
    gradient = landscape.gradient(theta)
    for _ in range(MAX_NEWTON):
        if not np.all(np.isfinite(gradient)):
            break
        step = np.linalg.lstsq(landscape.hessian(theta), gradient, rcond=RANK)[0]
        trial = theta - step
        changed = landscape.gradient(trial)
        # Where it no longer falls, what is left is rounding or a singular point.
        if not np.max(np.abs(changed)) < np.max(np.abs(gradient)):
            break
        theta, gradient = trial, changed
    return theta


def descend_to_critical_point(
    landscape: Landscape | NarrowLandscape, theta: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """The end of a descent by BFGS; θ itself, beyond 3000 parameters."""
    if theta.size == 0 or theta.size > DENSE_HESSIAN_LIMIT:
        return theta
    scale = np.max(np.abs(landscape.gradient(theta)))
    options = {"gtol": 1e-9 * max(scale, np.finfo(float).tiny), "maxiter": 1000}
    with np.errstate(all="ignore"):
        return scipy.optimize.minimize(landscape.value_and_gradient, theta, jac=True, method="BFGS", options=options).x


def _candidate_points(narrow: NarrowLandscape) -> Iterator[np.ndarray]:
    """Critical points of a narrow network that its present state may belong to, most likely first.

    The zero of the gradient next to it, if that is a minimum of the narrow network or very near; then what descent
    leads to; then the next zero whatever it is. In a long flat valley the nearest zero of the gradient can be a saddle
    of the valley that the flow does not approach.
    """
    theta = narrow.theta
    nearest = solve_gradient(narrow, theta)
    if theta.size == 0 or theta.size > DENSE_HESSIAN_LIMIT:
        yield nearest
        return
    values = np.linalg.eigvalsh(narrow.hessian(nearest))
    near = np.linalg.norm(nearest - theta) <= NEAR * np.linalg.norm(theta)
    if near or values[0] >= -RANK * np.max(np.abs(values)):
        yield nearest
    yield solve_gradient(narrow, descend_to_critical_point(narrow, theta))
    yield nearest


@in_one_thread
def critical_point(
    landscape: Landscape,
    theta: Float[Any, " n"] | None = None,
    *,
    effective: EffectiveWidth | tuple[EffectiveWidth, ...] | None = None,
    gradient_scale: float = 1.0,
    drop: float | None = None,
) -> CriticalPoint:
    """The critical point next to θ, found in the narrow network of its effective width.

    **Arguments:** `landscape`; `theta`: the wide network at the closest approach, by default the landscape's own;
    `effective`: its effective width, of each layer where several have units (computed if not given; models without
    units are solved as they are); `gradient_scale`: the size of gradients that counts as large, for the certificate;
    `drop`: the smaller drop of the loss beside the plateau, `None` if the loss need not agree.
    """
    start = landscape.theta if theta is None else np.asarray(theta)
    level = float("inf") if drop is None else LEVEL * drop
    plateau = float(landscape.value(start))

    def certify(point: np.ndarray, embedding: Embedding | LayeredEmbedding | None, size: int) -> CriticalPoint:
        value, gradient = landscape.value_and_gradient(point)
        norm = float(np.max(np.abs(gradient), initial=0.0))
        zero = bool(np.isfinite(norm) and norm <= GRADIENT_TOLERANCE * gradient_scale)
        converged = zero and abs(float(value) - plateau) <= level
        distance = float(np.linalg.norm(point - start))
        refined = size <= DENSE_HESSIAN_LIMIT
        return CriticalPoint(landscape, point, float(value), norm, distance, converged, refined, embedding, start)

    def without_units() -> Iterator[CriticalPoint]:
        # A wide network's saddle is met first; slow convergence to a minimum shows in descent.
        yield certify(solve_gradient(landscape, start), None, start.size)
        yield certify(solve_gradient(landscape, descend_to_critical_point(landscape, start)), None, start.size)

    def with_units() -> Iterator[CriticalPoint]:
        embedding = reduce_layers(landscape.at(start), effective)
        narrow = narrow_landscape(landscape, embedding)
        for point in _candidate_points(narrow):
            solved = eqx.tree_at(lambda e: e.narrow, embedding, unflatten(embedding.narrow, point))
            yield certify(flatten(solved.wide()), solved, point.size)

    points = []
    for point in with_units() if layers_of(landscape.model) else without_units():
        points.append(point)
        if point.converged:
            return point
    return min(points, key=lambda point: point.distance)
