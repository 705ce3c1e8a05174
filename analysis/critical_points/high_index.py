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
from ...flows.losses.statistics import reduced_landscape
from ..curvature.spectrum import hessian
from .classify import classify
from .critical_point import CriticalPoint, critical_point
from .kind import Kind

# The dynamics stop when the gradient is this share of one that counts as large: Newton's method does the rest.
NEAR = 1e-5
# They have got lost when they are this many times their size away from where they began: they climb along the frame,
# without end where the loss has no saddle of that index above.
LOST = 30.0
# Newton's method may move the end of the dynamics by this share of the weights, not to some other point.
MOVED = 1e-2
# How far from a saddle the search for lower ones begins, relative to the weights.
DISPLACEMENT = 1e-2


class _Dynamics(eqx.Module):
    landscape: Landscape
    rate: Any

    @property
    def small(self) -> bool:
        """Whether a program with the dynamics need not be optimised."""
        return self.landscape.small

    def __call__(self, t: Any, state: tuple[Array, Array], args: Any = None) -> tuple[Array, Array]:
        theta, frame = state
        # The directions matter, not the lengths, which rounding lets drift; the factors' signs are free.
        v, triangle = jnp.linalg.qr(frame)
        v = v * jnp.sign(jnp.diag(triangle))
        slope, product = jax.linearize(self.landscape.gradient, theta)
        images = jax.vmap(product, in_axes=1, out_axes=1)(v)
        # (I − v_i v_iᵀ − 2 Σ_{j<i} v_j v_jᵀ) H v_i: the part along v_i once, along the earlier ones twice.
        overlaps = v.T @ images
        turned = images - v @ (jnp.diag(jnp.diag(overlaps)) + 2 * jnp.triu(overlaps, 1))
        return -(slope - 2 * v @ (v.T @ slope)), -self.rate * turned


@compiled
def _run(dynamics: _Dynamics, theta: Float[Array, " n"], frame: Float[Any, "n k"], limits: Float[Any, "3"]):
    """The end of the dynamics, and whether the gradient is small there."""
    t1, near, lost = limits

    def slope(state):
        return jnp.linalg.norm(dynamics.landscape.gradient(state[0]))

    def ended(t, state, args, **_):
        return (slope(state) < near) | (jnp.linalg.norm(state[0] - theta) > lost)

    state = dfx.diffeqsolve(
        dfx.ODETerm(dynamics),
        dfx.Tsit5(),
        jnp.zeros(()),
        t1,
        None,
        (theta, frame),
        # Only the end counts, but errors of single steps must not keep the gradient up.
        stepsize_controller=dfx.PIDController(rtol=1e-7, atol=1e-8),
        event=dfx.Event(ended),
        max_steps=100_000,
        throw=False,
    ).ys
    end = jax.tree.map(lambda leaf: leaf[-1], state)
    return end[0], slope(end) < near


def high_index_saddle(
    landscape: Landscape,
    index: int,
    theta: Float[Any, " n"] | None = None,
    *,
    t1: float = 500.0,
    rate: float = 1.0,
    size: float = 1.0,
    gradient_scale: float = 1.0,
) -> CriticalPoint:
    r"""A saddle of a prescribed index, as a stable point of dynamics of its own.

    $\dot\theta = -(I - 2 \sum_{i \le k} v_i v_i^\top) \nabla L$ with
    $\dot v_i = -\gamma (I - v_i v_i^\top - 2 \sum_{j < i} v_j v_j^\top) \nabla^2 L\, v_i$: up along the k lowest
    eigenvectors of the Hessian, down along all others. Near a saddle of index k it is attracted by it; far from any,
    it may climb without end.

    **Arguments:** `landscape`; `index`: k; `theta`: where to start, by default the landscape's own parameters; `t1`:
    time after which to give up; `rate`: γ, of the directions' motion; `size`: of the weights at full use;
    `gradient_scale`: of gradients that count as large.

    **Returns:** the critical point, solved for from where the dynamics ended; `converged` is false where they got lost
    or did not settle. Its index is a question to `kind`, as directions of no curvature count neither way.

    **Raises:** `ValueError` for an index that is not between 1 and the number of parameters.

    Source: Yin, Zhang & Zhang (2019), "High-index optimization-based shrinking dimer method for finding high-index
    saddle points", Eqs. 2.7–2.8.
    """
    theta = landscape.theta if theta is None else np.asarray(theta)
    if not 1 <= index <= theta.size:
        raise ValueError(f"the index must be between 1 and the number of parameters, {theta.size}; got {index}.")
    landscape = reduced_landscape(landscape)
    frame = np.linalg.eigh(hessian(landscape, theta))[1][:, :index]
    lost = LOST * max(size, float(np.linalg.norm(theta)))
    limits = np.array([t1, NEAR * gradient_scale, lost], theta.dtype)
    end, settled = map(np.asarray, _run(_Dynamics(landscape, np.asarray(rate, theta.dtype)), theta, frame, limits))
    point = critical_point(landscape, end, gradient_scale=gradient_scale)
    known = point.converged and bool(settled) and point.distance <= MOVED * max(size, float(np.linalg.norm(end)))
    return eqx.tree_at(lambda p: p.converged, point, known)


def saddle_below(
    point: CriticalPoint, index: int, *, kind: Kind | None = None, size: float = 1.0, **options: Any
) -> CriticalPoint:
    r"""A saddle of lower index, by the dynamics of that index from a saddle above it.

    They start a little away from the saddle along its eigenvector number index + 1, the first unstable one that the
    dynamics do not climb: a flow from small weights would leave along the first instead.

    **Arguments:** `point`: a strict saddle; `index`: lower than the saddle's; `kind`: its `kind`, determined if not
    given; `size`: of the weights at full use; `options`: of `high_index_saddle`.

    Source: Yin, Wang, Chen, Zhang & Zhang (2020), "Construction of a pathway map on a complicated energy landscape".
    """
    spectral = (classify(point) if kind is None else kind).spectrum
    if spectral is None or not 1 <= index < spectral.index:
        above = "none" if spectral is None else spectral.index
        raise ValueError(f"the index must be at least 1 and below that of the saddle, {above}; got {index}.")
    start = point.theta + DISPLACEMENT * size * spectral.eigenvectors[:, index]
    return high_index_saddle(point.landscape, index, start, size=size, **options)
