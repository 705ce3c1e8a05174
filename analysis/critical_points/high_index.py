"""Saddles of a prescribed index, whether or not a flow from small weights visits them."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...flows import Landscape
from ...flows.compilation.traced import compiled
from ...flows.landscapes.point import point_of
from ...flows.losses.statistics import reduced_landscape
from ...models.quick import Effort
from ..curvature.spectrum import hessian
from .classify import classify
from .critical_point import CriticalPoint, critical_point
from .kind import Kind

# The dynamics stop when the gradient is this share of its characteristic scale: Newton's method does the rest.
NEAR = 1e-5
# Relative tolerance of their steps, in units of the weights: only the end counts, but errors of single steps must not
# keep the gradient up.
RTOL = 1e-7
# The time after which they are given up, in units of the weights over the gradient.
PATIENCE = 500.0
# They have diverged when they are this many typical ‖θ‖ away from their start: they climb along the frame, without
# bound where the loss has no saddle of that index above.
DIVERGED = 30.0
# Newton's method may move the end of the dynamics by this share of the weights, not to some other point.
MOVED = 1e-2
# How far from a saddle the search for lower ones begins, relative to the weights.
DISPLACEMENT = 1e-2


class _Dynamics(eqx.Module):
    """The vector field of the point, in units of the weights, and of its frame of ascending directions."""

    landscape: Landscape
    rate: Any
    unit: Any

    @property
    def effort(self) -> Effort:
        """How thoroughly a program with the dynamics is to be optimised."""
        return self.landscape.effort

    def __call__(self, t: Any, state: tuple[Array, Array], args: Any = None) -> tuple[Array, Array]:
        theta, frame = self.unit * state[0], state[1]
        # The directions matter, not the lengths, which rounding lets drift; the factors' signs are free.
        v, triangle = jnp.linalg.qr(frame)
        v = v * jnp.sign(jnp.diag(triangle))
        slope, product = jax.linearize(self.landscape.gradient, theta)
        images = jax.vmap(product, in_axes=1, out_axes=1)(v)
        # (I − v_i v_iᵀ − 2 Σ_{j<i} v_j v_jᵀ) H v_i: the part along v_i once, along the earlier ones twice.
        overlaps = v.T @ images
        turned = images - v @ (jnp.diag(jnp.diag(overlaps)) + 2 * jnp.triu(overlaps, 1))
        return -(slope - 2 * v @ (v.T @ slope)) / self.unit, -self.rate * turned


@compiled
def _run(
    dynamics: _Dynamics, theta: Float[Any, " n"], frame: Float[Any, "n k"], limits: Float[Any, "3"]
) -> tuple[Array, Array]:
    """The end of the dynamics, and whether the gradient is small there."""
    t1, near, diverged = limits
    rtol = max(RTOL, 10 * float(jnp.finfo(theta.dtype).eps))

    def slope(state: tuple[Array, Array]) -> Array:
        return jnp.linalg.norm(dynamics.landscape.gradient(dynamics.unit * state[0]))

    def ended(t: Any, state: tuple[Array, Array], args: Any, **_: Any) -> Array:
        return (slope(state) < near) | (jnp.linalg.norm(dynamics.unit * state[0] - theta) > diverged)

    state = dfx.diffeqsolve(
        dfx.ODETerm(dynamics),
        dfx.Tsit5(),
        jnp.zeros(()),
        t1,
        None,
        (theta / dynamics.unit, frame),
        stepsize_controller=dfx.PIDController(rtol=rtol, atol=rtol / 10),
        event=dfx.Event(ended),
        max_steps=100_000,
        throw=False,
    ).ys
    end = jax.tree.map(lambda leaf: leaf[-1], state)
    return dynamics.unit * end[0], slope(end) < near


def high_index_saddle(
    landscape: Landscape,
    index: int,
    theta: Float[Any, " n"] | None = None,
    *,
    t1: float | None = None,
    rate: float = 1.0,
    size: float = 1.0,
    gradient_scale: float = 1.0,
) -> CriticalPoint:
    r"""A saddle of a prescribed index, as a stable point of dynamics of its own.

    $\dot\theta = -(I - 2 \sum_{i \le k} v_i v_i^\top) \nabla L$ with
    $\dot v_i = -\gamma (I - v_i v_i^\top - 2 \sum_{j < i} v_j v_j^\top) \nabla^2 L\, v_i$: up along the k lowest
    eigenvectors of the Hessian, down along all others. Near a saddle of index k it is attracted by it; far from any,
    it may climb without bound.

    Args:
        landscape: the loss.
        index: k, between 1 and the number of parameters.
        theta: where to start, by default the landscape's own parameters.
        t1: time after which to give up, by default 500 `size` / `gradient_scale`: some hundred times the slowest 1/|λ|.
        rate: γ, of the motion of the directions v relative to that of θ.
        size: typical ‖θ‖ after learning.
        gradient_scale: characteristic scale of the gradient.

    Returns:
        The critical point, solved for from the end of the dynamics; `converged` is false where they diverged or did not
        settle. `classify` tells its index: null directions are not counted in the index.

    Raises:
        ValueError: for an index that is not between 1 and the number of parameters.

    Source: Yin, Zhang & Zhang (2019), "High-index optimization-based shrinking dimer method for finding high-index
    saddle points", Eqs. 2.7–2.8.
    """
    theta = point_of(landscape, theta)
    if not 1 <= index <= theta.size:
        raise ValueError(f"the index must be between 1 and the number of parameters, {theta.size}; got {index}.")
    landscape = reduced_landscape(landscape)
    frame = np.linalg.eigh(hessian(landscape, theta))[1][:, :index]
    unit = max(size, float(np.linalg.norm(theta)))
    t1 = PATIENCE * size / gradient_scale if t1 is None else t1
    limits = np.array([t1, NEAR * gradient_scale, DIVERGED * unit], theta.dtype)
    dynamics = _Dynamics(landscape, *np.array([rate, unit], theta.dtype))
    end, settled = map(np.asarray, _run(dynamics, theta, frame, limits))
    point = critical_point(landscape, end, gradient_scale=gradient_scale)
    known = point.converged and bool(settled) and point.distance <= MOVED * max(size, float(np.linalg.norm(end)))
    return eqx.tree_at(lambda p: p.converged, point, known)


def saddle_below(
    point: CriticalPoint, index: int, *, kind: Kind | None = None, size: float = 1.0, **options: Any
) -> CriticalPoint:
    r"""A saddle of lower index, by the dynamics of that index from a saddle above it.

    The dynamics start close to the saddle, along its eigenvector number index + 1, the first
    unstable one that they do not climb: a flow from small weights would leave along the first instead.

    Args:
        point: a strict saddle.
        index: at least 1 and lower than the saddle's.
        kind: its `Kind`, determined if not given.
        size: typical ‖θ‖ after learning.
        options: further arguments of `high_index_saddle`.

    Returns:
        The critical point, with `converged` as of `high_index_saddle`.

    Raises:
        ValueError: for an index that is not lower than the saddle's, or a point without unstable eigenvectors.

    Source: Yin, Wang, Chen, Zhang & Zhang (2020), "Construction of a pathway map on a complicated energy landscape".
    """
    spectrum = (classify(point) if kind is None else kind).spectrum
    if spectrum is None or not 1 <= index < spectrum.index:
        above = "none" if spectrum is None else spectrum.index
        raise ValueError(f"the index must be at least 1 and below that of the saddle, {above}; got {index}.")
    start = point.theta + DISPLACEMENT * size * spectrum.eigenvectors[:, index]
    return high_index_saddle(point.landscape, index, start, size=size, **options)
