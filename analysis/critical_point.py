"""The critical point behind a visit: solve in the narrow network, embed back, certify in the wide one."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from ..flows import GradientFlow, flatten, unflatten
from ..models import units_of
from .reduction import Reduction, reduce
from .width import EffectiveWidth

# Certificate: ‖∇L‖∞ in the wide network, relative to the largest speed of the flow.
GRADIENT_TOLERANCE = 1e-10
# A critical point is that of a visit if it lies nearer than this share of the weights' own size.
DISTANCE_TOLERANCE = 0.5


class CriticalPoint(eqx.Module):
    r"""A zero of the gradient, certified in the wide network.

    - `model`: the wide network at the point; `theta`: its flattened parameters.
    - `loss`; `gradient_norm`: $\|\nabla L\|_\infty$ in the wide network.
    - `distance`: Euclidean distance from the trajectory's closest approach to it.
    - `converged`: the gradient is zero to tolerance and the point is near enough to be the one visited.
    - `reduction`: the narrow network and its embedding; `None` for a model without units.
    """

    model: Any
    theta: Float[np.ndarray, " n"]
    loss: float
    gradient_norm: float
    distance: float
    converged: bool
    reduction: Reduction | None


@eqx.filter_jit
def _solve(flow: GradientFlow, theta: Float[Array, " n"], data: Any) -> Float[Array, " n"]:
    def gradient(point, data):
        return flow.value_and_gradient(point, data)[1]

    damped = optx.LevenbergMarquardt(rtol=1e-12, atol=1e-15)
    point = optx.least_squares(gradient, damped, theta, args=data, max_steps=300, throw=False).value
    # Symmetries leave zero eigenvalues: the pseudo-inverse moves across them, never along them. Eigenvalues below
    # 1e-7 of the largest are taken for zero, the square root of what double precision resolves.
    newton = optx.GaussNewton(rtol=1e-15, atol=1e-16, linear_solver=lx.SVD(rcond=1e-7))
    polished = optx.least_squares(gradient, newton, point, args=data, max_steps=8, throw=False).value
    candidates = jnp.stack([theta, point, polished])
    norms = jax.vmap(lambda p: jnp.max(jnp.abs(gradient(p, data))))(candidates)
    return candidates[jnp.argmin(jnp.where(jnp.isfinite(norms), norms, jnp.inf))]


def solve_gradient(model: Any, loss: Callable, data: Any) -> Any:
    """The model moved to a nearby zero of its gradient, a saddle as well as a minimum.

    Levenberg–Marquardt on ∇L, then a few Newton steps with the pseudo-inverse of the Hessian; whichever of start and
    results has the smallest gradient is returned, so a failure shows in the gradient.
    """
    theta = flatten(model)
    if theta.size == 0:
        return model
    return unflatten(model, _solve(GradientFlow(model, loss), theta, data))


def critical_point(
    model: Any,
    loss: Callable,
    data: Any,
    *,
    effective: EffectiveWidth | None = None,
    gradient_scale: float = 1.0,
    weight_scale: float | None = None,
) -> CriticalPoint:
    """The critical point next to a model, found in the narrow network of its effective width.

    **Arguments:** `model`, `loss`, `data`: the wide network at the closest approach; `effective`: its effective width
    (computed if not given; models without units are solved as they are); `gradient_scale`: the size of gradients that
    counts as large, for the certificate; `weight_scale`: the size of Θ at full use, for the distance.
    """
    reduction = None
    if units_of(model) is None:
        wide = solve_gradient(model, loss, data)
    else:
        reduction = reduce(model, effective)
        narrow = solve_gradient(reduction.narrow, loss, data)
        reduction = eqx.tree_at(lambda r: r.narrow, reduction, narrow)
        wide = reduction.embed()
    theta = flatten(wide)
    value, gradient = GradientFlow(wide, loss).value_and_gradient(theta, data)
    norm = float(jnp.max(jnp.abs(gradient)))
    distance = float(jnp.linalg.norm(theta - flatten(model)))
    size = float(jnp.linalg.norm(flatten(model))) if weight_scale is None else weight_scale
    near = distance <= DISTANCE_TOLERANCE * max(size, np.finfo(float).tiny)
    converged = bool(np.isfinite(norm) and norm <= GRADIENT_TOLERANCE * gradient_scale and near)
    return CriticalPoint(wide, np.asarray(theta), float(value), norm, distance, converged, reduction)
