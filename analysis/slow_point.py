"""Slow without a critical point: flat channels along which weights grow for ever, and ghosts of vanished points."""

import warnings
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float

from ..flows import GradientFlow, flatten, simulate, unflatten
from .critical_point import GRADIENT_TOLERANCE

# Decades of time over which a channel is followed, in units of ‖θ‖ / ‖∇L‖, in which the weights change by themselves.
DECADES = 3
MAX_STEPS = 20_000
# Weights that converge move by less in each decade of time: like 10^(-1/2) on a quartic floor. Along a channel they
# move by at least as much as in the decade before, if only logarithmically.
GROWTH = 0.9
# The gradient is stationary in size where the Hessian maps it to less than this share of what it could.
STATIONARY = 1e-4


class SlowPoint(eqx.Module):
    r"""Why a flow is slow where no critical point is.

    - `name`: "ghost": a local minimum of $\|\nabla L\|$ that is not zero, as a saddle and a minimum leave behind where
      they have merged and vanished; "flat channel": the loss falls ever more slowly while the weights grow without end.
    - `model`: the slowest point (ghost), or the network after three decades of time (channel).
    - `speed`: $\|\nabla L\|$ there.
    - `passage`: $\pi / \sqrt{g \mu}$ with $\mu = D^3 L(\hat g, \hat g, \hat g) / 2$, the time that a ghost holds the
      flow up; `None` for channels.
    - `evidence`: one sentence.

    Source: Strogatz (2014), "Nonlinear dynamics and chaos", Section 4.3, for ghosts; Brea, Martinelli, Şimşek &
    Gerstner (2025), "Flat channels to infinity in neural loss landscapes".
    """

    name: Literal["ghost", "flat channel"]
    model: Any
    speed: float
    passage: float | None
    evidence: str


@eqx.filter_jit
def _slowest(flow: GradientFlow, theta: Float[Array, " n"], data: Any) -> Float[Array, " n"]:
    """The local minimum of ‖∇L‖² next to θ."""
    speed = lambda p, data: flow.value_and_gradient(p, data)[1]  # noqa: E731
    damped = optx.LevenbergMarquardt(rtol=1e-12, atol=1e-12)
    near = optx.least_squares(speed, damped, theta, args=data, max_steps=200, throw=False).value
    # Gauss–Newton's quadratic model of ‖∇L‖² has no curvature along the gradient of a ghost: finish by quasi-Newton.
    squared = lambda p, data: 0.5 * jnp.sum(speed(p, data) ** 2) / jnp.sum(speed(near, data) ** 2)  # noqa: E731
    return optx.minimise(squared, optx.BFGS(rtol=1e-12, atol=1e-14), near, args=data, max_steps=400, throw=False).value


@eqx.filter_jit
def _derivatives(flow: GradientFlow, theta: Array, data: Any) -> tuple[Array, Array, Array]:
    """The gradient g, Hĝ, and D³L(ĝ, ĝ, ĝ)."""
    gradient = jax.grad(flow.value)
    g = gradient(theta, data)
    unit = g / jnp.linalg.norm(g)
    product = lambda p: jax.jvp(lambda q: gradient(q, data), (p,), (unit,))[1]  # noqa: E731
    image, third = jax.jvp(product, (theta,), (unit,))
    return g, image, third @ unit


def ghost(model: Any, loss: Callable, data: Any, *, curvature: float = 1.0, gradient: float = 1.0) -> SlowPoint | None:
    """The ghost next to a model, if the speed has a minimum there that is not zero.

    **Arguments:** `model`: at the closest approach; `loss`, `data`; `curvature`, `gradient`: sizes of eigenvalues and
    gradients that count as large.
    """
    flow, start = GradientFlow(model, loss), flatten(model)
    theta = _slowest(flow, start, data)
    g, image, third = (np.asarray(part) for part in _derivatives(flow, theta, data))
    speed = float(np.linalg.norm(g))
    if not speed > GRADIENT_TOLERANCE * gradient or not np.linalg.norm(image) <= STATIONARY * curvature:
        return None
    passage = float(np.pi / np.sqrt(speed * third / 2)) if speed * third > 0 else None
    distance = float(jnp.linalg.norm(theta - start))
    evidence = f"the speed has a minimum that is not zero, ‖∇L‖ = {speed:.3g}, at distance {distance:.2g}"
    if passage is not None:
        evidence += f"; passing it takes π/√(gμ) = {passage:.4g}"
    return SlowPoint("ghost", unflatten(model, theta), speed, passage, evidence)


def flat_channel(model: Any, loss: Callable, data: Any) -> SlowPoint | None:
    """The flat channel that a model is in, if its flow goes on for ever.

    The flow is followed for three decades of time. It is in a channel if in each decade the weights move at least
    about as far as in the one before, and grow, while speed and loss fall.

    **Arguments:** `model`: at the closest approach, or the last point of a flow; `loss`, `data`.
    """
    value, gradient = GradientFlow(model, loss).value_and_gradient(flatten(model), data)
    size, speed = float(jnp.linalg.norm(flatten(model))), float(jnp.linalg.norm(gradient))
    if not (size > 0 and speed > 0):
        return None
    times = size / speed * 10.0 ** np.arange(DECADES + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a flow that ends early shows in its result
        flow = simulate(model, loss, data, t1=times[-1], saveat=times[:-1], rtol=1e-6, max_steps=MAX_STEPS)
    if flow.result.failed:
        return None
    index = np.searchsorted(flow.ts, times)
    states, speeds, losses = flow.ys[index], flow.speeds[index], flow.losses[index]
    moved, sizes = np.linalg.norm(np.diff(states, axis=0), axis=1), np.linalg.norm(states, axis=1)
    endless = np.all(moved[1:] >= GROWTH * moved[:-1]) and np.all(np.diff(sizes) > 0)
    if not (endless and np.all(np.diff(speeds) < 0) and np.all(np.diff(losses) < 0)):
        return None
    factors = ", ".join(f"{step:.3g}" for step in moved)
    evidence = (
        f"no end in sight: in each further decade of time the weights move on ({factors}) to size {sizes[-1]:.3g}, "
        f"while the loss falls from {float(value):.4g} to {losses[-1]:.4g} and the speed to {speeds[-1]:.1e}"
    )
    return SlowPoint("flat channel", flow.final_model, float(speeds[-1]), None, evidence)
