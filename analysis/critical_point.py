"""The critical point behind a visit: solve in the narrow network, embed back, certify in the wide one."""

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from ..flows import GradientFlow, flatten, unflatten
from ..models import layers_of
from .curvature import DENSE_LIMIT, hessian
from .embedding import Embedding, LayeredEmbedding
from .reduction import reduce_layers
from .width import EffectiveWidth

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


class CriticalPoint(eqx.Module):
    r"""A zero of the gradient, certified in the wide network.

    - `model`: the wide network at the point; `theta`: its flattened parameters.
    - `loss`; `gradient_norm`: $\|\nabla L\|_\infty$ in the wide network.
    - `distance`: Euclidean distance from the trajectory's closest approach to it.
    - `converged`: the gradient is zero to tolerance and the loss is that of the plateau.
    - `refined`: whether it was solved for at all; networks that are too large even when reduced are not.
    - `embedding`: the narrow network and its place in the wide one, in each layer where several have units; `None`
      for a model without units.
    - `start`: the model at the closest approach, from where it was sought.
    """

    model: Any
    theta: Float[np.ndarray, " n"]
    loss: float
    gradient_norm: float
    distance: float
    converged: bool
    refined: bool
    embedding: Embedding | LayeredEmbedding | None
    start: Any


@eqx.filter_jit
def _solve(flow: GradientFlow, theta: Float[Array, " n"], data: Any) -> Float[Array, " n"]:
    def gradient(point, data):
        return flow.value_and_gradient(point, data)[1]

    damped = optx.LevenbergMarquardt(rtol=1e-12, atol=1e-15)
    point = optx.least_squares(gradient, damped, theta, args=data, max_steps=100, throw=False).value
    # Symmetries leave zero eigenvalues: the pseudo-inverse moves across them, never along them.
    newton = optx.GaussNewton(rtol=1e-15, atol=1e-16, linear_solver=lx.SVD(rcond=RANK))
    polished = optx.least_squares(gradient, newton, point, args=data, max_steps=40, throw=False).value
    candidates = jnp.stack([theta, point, polished])
    norms = jax.vmap(lambda p: jnp.max(jnp.abs(gradient(p, data))))(candidates)
    return candidates[jnp.argmin(jnp.where(jnp.isfinite(norms), norms, jnp.inf))]


@eqx.filter_jit
def _descend(flow: GradientFlow, theta: Float[Array, " n"], data: Any) -> Float[Array, " n"]:
    method = optx.BFGS(rtol=1e-9, atol=1e-12)
    return optx.minimise(flow.value, method, theta, args=data, max_steps=1000, throw=False).value


def solve_gradient(model: Any, loss: Callable, data: Any) -> Any:
    """The model moved to a nearby zero of its gradient, a saddle as well as a minimum.

    Levenberg–Marquardt on ∇L, then a few Newton steps with the pseudo-inverse of the Hessian; whichever of start and
    results has the smallest gradient is returned, so a failure shows in the gradient. Beyond 3000 parameters, for
    which no dense Hessian is made, the model is returned as it is.
    """
    theta = flatten(model)
    if theta.size == 0 or theta.size > DENSE_LIMIT:
        return model
    return unflatten(model, _solve(GradientFlow(model, loss), theta, data))


def descend(model: Any, loss: Callable, data: Any) -> Any:
    """The model at the end of a descent by BFGS; as it is, beyond 3000 parameters."""
    theta = flatten(model)
    if theta.size == 0 or theta.size > DENSE_LIMIT:
        return model
    return unflatten(model, _descend(GradientFlow(model, loss), theta, data))


def candidates(model: Any, loss: Callable, data: Any) -> Iterator[Any]:
    """Critical points of a narrow network that its present state may belong to, most likely first.

    The zero of the gradient next to it, if that is a minimum of the narrow network or very near; then what descent
    leads to; then the next zero whatever it is. In a long flat valley the nearest zero of the gradient can be a saddle
    of the valley that the flow does not approach.
    """
    theta = np.asarray(flatten(model))
    nearest = solve_gradient(model, loss, data)
    if theta.size == 0 or theta.size > DENSE_LIMIT:
        yield nearest
        return
    moved = np.linalg.norm(np.asarray(flatten(nearest)) - theta)
    values = np.linalg.eigvalsh(hessian(nearest, loss, data))
    if values[0] >= -RANK * np.max(np.abs(values)) or moved <= NEAR * np.linalg.norm(theta):
        yield nearest
    yield solve_gradient(descend(model, loss, data), loss, data)
    yield nearest


def _gradient_norm(model: Any, loss: Callable, data: Any) -> float:
    return float(jnp.max(jnp.abs(GradientFlow(model, loss).value_and_gradient(flatten(model), data)[1]), initial=0.0))


def critical_point(
    model: Any,
    loss: Callable,
    data: Any,
    *,
    effective: EffectiveWidth | tuple[EffectiveWidth, ...] | None = None,
    gradient_scale: float = 1.0,
    drop: float | None = None,
) -> CriticalPoint:
    """The critical point next to a model, found in the narrow network of its effective width.

    **Arguments:** `model`, `loss`, `data`: the wide network at the closest approach; `effective`: its effective width,
    of each layer where several have units (computed if not given; models without units are solved as they are);
    `gradient_scale`: the size of gradients that counts as large, for the certificate; `drop`: the smaller drop of the
    loss beside the plateau, `None` if the loss need not agree.
    """
    level = float("inf") if drop is None else LEVEL * drop
    start = float(loss(model, data))

    def certify(wide: Any, embedding: Embedding | LayeredEmbedding | None) -> CriticalPoint:
        theta, value, norm = flatten(wide), float(loss(wide, data)), _gradient_norm(wide, loss, data)
        zero = bool(np.isfinite(norm) and norm <= GRADIENT_TOLERANCE * gradient_scale)
        distance = float(jnp.linalg.norm(theta - flatten(model)))
        converged = zero and abs(value - start) <= level
        refined = flatten(wide if embedding is None else embedding.narrow).size <= DENSE_LIMIT
        return CriticalPoint(wide, np.asarray(theta), value, norm, distance, converged, refined, embedding, model)

    def without_units() -> Iterator[CriticalPoint]:
        # A wide network's saddle is met first; slow convergence to a minimum is told by descent.
        yield certify(solve_gradient(model, loss, data), None)
        yield certify(solve_gradient(descend(model, loss, data), loss, data), None)

    def with_units() -> Iterator[CriticalPoint]:
        embedding = reduce_layers(model, effective)
        for narrow in candidates(embedding.narrow, loss, data):
            solved = eqx.tree_at(lambda e: e.narrow, embedding, narrow)
            yield certify(solved.wide(), solved)

    points = []
    for point in with_units() if layers_of(model) else without_units():
        points.append(point)
        if point.converged:
            return point
    return min(points, key=lambda point: point.distance)
