"""Slow without a critical point: flat channels along which weights grow for ever, and ghosts of vanished points."""

import warnings
from typing import Any, Literal

import equinox as eqx
import numpy as np
import scipy
from diffrax import AbstractSolver
from jaxtyping import Float

from ...flows import Landscape, simulate
from ...flows.landscapes.taylor import third_products
from .critical_point import GRADIENT_TOLERANCE, damped

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
    - `landscape`, `theta`: the slowest point (ghost), or the network after three decades of time (channel).
    - `speed`: $\|\nabla L\|$ there.
    - `passage`: $\pi / \sqrt{g \mu}$ with $\mu = D^3 L(\hat g, \hat g, \hat g) / 2$, the time that a ghost holds the
      flow up; `None` for channels.
    - `evidence`: one sentence.

    Source: Strogatz (2014), "Nonlinear dynamics and chaos", Section 4.3, for ghosts; Brea, Martinelli, Şimşek &
    Gerstner (2025), "Flat channels to infinity in neural loss landscapes".
    """

    name: Literal["ghost", "flat channel"]
    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    speed: float
    passage: float | None
    evidence: str

    @property
    def model(self) -> Any:
        """The network there."""
        return self.landscape.at(self.theta)


def _slowest(landscape: Landscape, theta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    r"""The local minimum of $\|\nabla L\|^2$ next to θ."""
    near = damped(landscape, theta)
    size = np.sum(landscape.gradient(near) ** 2)

    def squared_speed(point: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = landscape.gradient(point)
        return gradient @ gradient / (2 * size), landscape.hessian_product(point, gradient) / size

    # Gauss–Newton's quadratic model of ‖∇L‖² has no curvature along the gradient of a ghost: finish by quasi-Newton.
    with np.errstate(all="ignore"):
        options = {"gtol": 1e-12, "maxiter": 400}
        return scipy.optimize.minimize(squared_speed, near, jac=True, method="BFGS", options=options).x


def ghost(
    landscape: Landscape, theta: Float[Any, " n"] | None = None, *, curvature: float = 1.0, gradient: float = 1.0
) -> SlowPoint | None:
    r"""The ghost next to a point, if the speed has a minimum there that is not zero.

    **Arguments:** `landscape`; `theta`: the closest approach, by default the landscape's own parameters; `curvature`,
    `gradient`: sizes of eigenvalues and gradients that count as large.
    """
    start = landscape.theta if theta is None else np.asarray(theta)
    end = _slowest(landscape, start)
    slope = landscape.gradient(end)
    speed = float(np.linalg.norm(slope))
    unit = slope / speed if speed > 0 else slope
    image = landscape.hessian_product(end, unit)
    if not speed > GRADIENT_TOLERANCE * gradient or not np.linalg.norm(image) <= STATIONARY * curvature:
        return None
    third = float(third_products(landscape, end, unit[:, None])[:, 0] @ unit)
    passage = float(np.pi / np.sqrt(speed * third / 2)) if speed * third > 0 else None
    distance = float(np.linalg.norm(end - start))
    evidence = f"the speed has a minimum that is not zero, ‖∇L‖ = {speed:.3g}, at distance {distance:.2g}"
    if passage is not None:
        evidence += f"; passing it takes π/√(gμ) = {passage:.4g}"
    return SlowPoint("ghost", landscape, end, speed, passage, evidence)


def flat_channel(
    landscape: Landscape, theta: Float[Any, " n"] | None = None, *, solver: AbstractSolver | None = None
) -> SlowPoint | None:
    """The flat channel that a point is in, if its flow goes on for ever.

    The flow is followed for three decades of time. It is in a channel if in each decade the weights move at least
    about as far as in the one before, and grow, while speed and loss fall.

    **Arguments:** `landscape`; `theta`: the closest approach, or the last point of a flow, by default the landscape's
    own parameters; `solver`: for the flow, by default `simulate`'s choice.
    """
    theta = landscape.theta if theta is None else np.asarray(theta)
    value, gradient = landscape.value_and_gradient(theta)
    size, speed = float(np.linalg.norm(theta)), float(np.linalg.norm(gradient))
    if not (size > 0 and speed > 0):
        return None
    times = size / speed * 10.0 ** np.arange(DECADES + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a flow that ends early shows in its result
        settings: dict[str, Any] = {"t1": times[-1], "save_times": times[:-1], "rtol": 1e-6, "max_steps": MAX_STEPS}
        flow = simulate(landscape.at(theta), landscape.loss, landscape.data, solver=solver, **settings)
    if flow.result.failed:
        return None
    index = np.searchsorted(flow.ts, times)
    states, speeds, losses = flow.thetas[index], flow.speeds[index], flow.losses[index]
    moved, sizes = np.linalg.norm(np.diff(states, axis=0), axis=1), np.linalg.norm(states, axis=1)
    endless = np.all(moved[1:] >= GROWTH * moved[:-1]) and np.all(np.diff(sizes) > 0)
    if not (endless and np.all(np.diff(speeds) < 0) and np.all(np.diff(losses) < 0)):
        return None
    factors = ", ".join(f"{step:.3g}" for step in moved)
    evidence = (
        f"no end in sight: in each further decade of time the weights move on ({factors}) to size {sizes[-1]:.3g}, "
        f"while the loss falls from {float(value):.4g} to {losses[-1]:.4g} and the speed to {speeds[-1]:.1e}"
    )
    return SlowPoint("flat channel", landscape, flow.thetas[-1], float(speeds[-1]), None, evidence)
