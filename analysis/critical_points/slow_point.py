"""Slow without a critical point: flat channels to infinity, and ghosts of vanished critical points."""

import warnings
from typing import Any, Literal

import equinox as eqx
import numpy as np
import scipy
from diffrax import AbstractSolver
from jaxtyping import Float

from ...flows import Landscape, Trajectory, simulate
from ...flows.landscapes.point import point_of
from ...flows.landscapes.taylor import third_products
from ...flows.simulation.tolerances import default_rtol
from ...flows.solvers import BDF
from ..thresholds import STANDARD, Thresholds
from .refine import damped
from .refine_by_products import BY_PRODUCTS_FROM, solve_by_products

# Decades of time over which a channel is followed, in units of ‖θ‖ / ‖∇L‖, in which the weights change by themselves.
DECADES = 3
MAX_STEPS = 20_000
# Relative tolerance of the flow along a channel, or what the precision of the weights allows.
RTOL = 1e-6
# The same for large networks, where one digit of the exponent is asked for: a hundred steps suffice in a channel.
LARGE_RTOL, MAX_LARGE_STEPS = 1e-4, 1000
# The speed is least where its slope, relative to itself and to the curvature, is below this.
STATIONARY = 1e-12
# The curvature along the gradient is √(gμ) at the distance √(g/μ) from a ghost, where the speed has doubled; at the
# ghost it is at most this share of that. Beside a degenerate critical point it is all of it.
STILL = 0.1


class SlowPoint(eqx.Module):
    r"""Why a flow is slow where no critical point is.

    Attributes:
        name: "ghost": a local minimum of $\|\nabla L\|$ that is not zero, as a saddle and a minimum leave behind where
            they have merged and vanished; "flat channel": the loss decreases ever more slowly and the weights diverge.
        landscape: the loss.
        theta: the slowest point (ghost), or the network after three decades of time (channel).
        speed: $\|\nabla L\|$ there.
        exponent: of a channel, $d \ln L / d \ln t = -t \|\nabla L\|^2 / L$ at its end: −1 where separable data let the
            loss fall to zero as exponentials of growing weights; `None` for ghosts.
        passage: $\pi / \sqrt{g \mu}$ with $\mu = D^3 L(\hat g, \hat g, \hat g) / 2$ and g the speed, the time that a
            ghost delays the flow; `None` for channels.
        evidence: one sentence.

    Source: Strogatz (2014), "Nonlinear dynamics and chaos", Section 4.3, for ghosts; Brea, Martinelli, Şimşek &
    Gerstner (2025), "Flat channels to infinity in neural loss landscapes".
    """

    name: Literal["ghost", "flat channel"]
    landscape: Landscape
    theta: Float[np.ndarray, " n"]
    speed: float
    passage: float | None
    evidence: str
    exponent: float | None = None

    @property
    def model(self) -> Any:
        """The network there."""
        return self.landscape.at(self.theta)

    def __str__(self) -> str:
        passage = "" if self.passage is None else f", time of passage {self.passage:.4g}"
        return (
            f"{self.name}: speed ‖∇L‖ = {self.speed:.3g}{passage}\n"
            f"  where: ‖θ‖ = {np.linalg.norm(self.theta):.3g}, loss {float(self.landscape.value(self.theta)):.6g}\n"
            f"  evidence: {self.evidence}"
        )


def _slowest(landscape: Landscape, near: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    r"""The local minimum of $\|\nabla L\|^2$ next to a point."""
    large, speed = near.size >= BY_PRODUCTS_FROM, float(np.linalg.norm(landscape.gradient(near)))
    if not (speed > 0 and np.isfinite(speed)):
        return near
    curvature = float(
        landscape.sharpness(near) if large else np.max(np.abs(np.linalg.eigvalsh(landscape.hessian(near))))
    )
    if not (curvature > 0 and np.isfinite(curvature)):
        return near
    # In units of the speed, and of the length in which the curvature would change it by as much as it is.
    length = speed / curvature

    def squared_speed(z: np.ndarray) -> tuple[float, np.ndarray]:
        slope = landscape.gradient(near + length * z) / speed
        return float(slope @ slope) / 2, landscape.hessian_product(near + length * z, slope) / curvature

    # Gauss–Newton's quadratic model of ‖∇L‖² has no curvature along the gradient of a ghost: finish by quasi-Newton.
    with np.errstate(all="ignore"):
        method, steps = ("L-BFGS-B", 100) if large else ("BFGS", 400)
        options = {"gtol": STATIONARY, "maxiter": steps}
        found = scipy.optimize.minimize(squared_speed, np.zeros_like(near), jac=True, method=method, options=options)
    return near + length * found.x


def ghost(
    landscape: Landscape,
    theta: Float[Any, " n"] | None = None,
    *,
    curvature: float = 1.0,
    gradient: float = 1.0,
    nearby: Float[Any, " n"] | None = None,
    thresholds: Thresholds = STANDARD,
) -> SlowPoint | None:
    r"""The ghost next to a point, if the speed has a nonzero minimum there.

    Args:
        landscape: the loss.
        theta: the closest approach, by default the landscape's own parameters.
        curvature: characteristic scale of the Hessian's eigenvalues.
        gradient: characteristic scale of gradients.
        nearby: the point of small gradient to which a search from θ led, if one was made.
        thresholds: what counts as a zero of the gradient, and as a stationary speed.

    Returns:
        The ghost; `None` where the speed vanishes or has no minimum, as beside a degenerate critical point.
    """
    start = point_of(landscape, theta)
    if nearby is None:
        solve = solve_by_products if start.size >= BY_PRODUCTS_FROM else damped
        nearby = solve(landscape, start)
    end = _slowest(landscape, np.asarray(nearby))
    slope = landscape.gradient(end)
    speed = float(np.linalg.norm(slope))
    unit = slope / speed if speed > 0 else slope
    image = landscape.hessian_product(end, unit)
    positive = speed > thresholds.gradient_zero * gradient
    if not (positive and np.linalg.norm(image) <= thresholds.ghost_curvature * curvature):
        return None
    mu = float(third_products(landscape, end, unit[:, None])[:, 0] @ unit) / 2
    if not (mu > 0 and np.linalg.norm(image) <= STILL * np.sqrt(speed * mu)):
        return None
    passage = float(np.pi / np.sqrt(speed * mu))
    distance = float(np.linalg.norm(end - start))
    evidence = f"the speed has a nonzero minimum, ‖∇L‖ = {speed:.3g}, at distance {distance:.2g}"
    evidence += f"; the passage takes π/√(gμ) = {passage:.4g}"
    return SlowPoint(name="ghost", landscape=landscape, theta=end, speed=speed, passage=passage, evidence=evidence)


def flat_channel(
    landscape: Landscape,
    theta: Float[Any, " n"] | None = None,
    *,
    solver: AbstractSolver[Any] | None = None,
    thresholds: Thresholds = STANDARD,
) -> SlowPoint | None:
    r"""The flat channel that a point is in, if its flow diverges along a channel to infinity.

    The flow is integrated for three decades of time, in at most 20 000 steps and without warnings. It is in a channel
    if the weights grow while speed and loss fall, and in each decade the weights move at least about as far as in the
    one before. Where data are separable under cross-entropy the weights grow like the logarithm of time, in a direction
    that settles, and the loss falls like 1/t: an exponent close to −1 shows it earlier, and alone counts from 400
    parameters on.

    Args:
        landscape: the loss.
        theta: the closest approach, or the last point of a flow, by default the landscape's own parameters.
        solver: for the flow; by default `simulate` chooses, from 400 parameters on `BDF` without a Hessian.
        thresholds: what counts as moving as far, and `exponent_agreement`.

    Returns:
        The channel; `None` for a flow that converges, stops or fails.

    Source: Lyu & Li (2020), "Gradient descent maximizes the margin of homogeneous neural networks", for the rate.
    """
    theta = point_of(landscape, theta)
    value, gradient = landscape.value_and_gradient(theta)
    size, speed = float(np.linalg.norm(theta)), float(np.linalg.norm(gradient))
    if not (size > 0 and speed > 0):
        return None
    flow = _followed(landscape, theta, size / speed, solver)
    if flow.result.failed:
        return None
    index = np.searchsorted(flow.ts, (size / speed * 10.0 ** np.arange(DECADES + 1)).astype(theta.dtype))
    states, speeds, losses = flow.thetas[index], flow.speeds[index], flow.losses[index]
    moved, sizes = np.linalg.norm(np.diff(states, axis=0), axis=1), np.linalg.norm(states, axis=1)
    if not (np.all(np.diff(sizes) > 0) and np.all(np.diff(speeds) < 0) and np.all(np.diff(losses) < 0)):
        return None
    exponents = -flow.ts[index] * speeds**2 / np.where(losses > 0, losses, np.inf)
    *_, before, last = np.abs(exponents + 1)
    as_separable = bool(last <= min(thresholds.exponent_agreement, before))
    # Large networks go on learning for decades, and move as far in each.
    moving = theta.size < BY_PRODUCTS_FROM and np.all(moved[1:] >= thresholds.channel_growth * moved[:-1])
    if not (as_separable or moving):
        return None
    return SlowPoint(
        name="flat channel",
        landscape=landscape,
        theta=flow.thetas[-1],
        speed=float(speeds[-1]),
        passage=None,
        evidence=_channel_in_words(states, float(value), float(losses[-1]), float(speeds[-1]), exponents, as_separable),
        exponent=float(exponents[-1]),
    )


def _followed(
    landscape: Landscape, theta: Float[np.ndarray, " n"], unit: float, solver: AbstractSolver[Any] | None
) -> Trajectory:
    """The flow for three decades beyond a unit of time."""
    times, large = (unit * 10.0 ** np.arange(DECADES + 1)).astype(theta.dtype), theta.size >= BY_PRODUCTS_FROM
    # A Hessian would cost more than the flow took.
    rtol, steps = (LARGE_RTOL, MAX_LARGE_STEPS) if large else (RTOL, MAX_STEPS)
    rtol = max(rtol, default_rtol(theta.dtype))
    solver = BDF(matrix_free=True, quadratures=1) if large else solver
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a flow that ends early is recognised by its result
        settings: dict[str, Any] = {
            "t1": float(times[-1]),
            "save_times": times[:-1].tolist(),
            "rtol": rtol,
            "max_steps": steps,
        }
        return simulate(landscape.at(theta), landscape.loss, landscape.data, solver=solver, **settings)


def _channel_in_words(
    states: Float[np.ndarray, "d n"],
    before: float,
    after: float,
    speed: float,
    exponents: Float[np.ndarray, " d"],
    as_separable: bool,
) -> str:
    """The evidence for a channel, in one sentence."""
    factors = ", ".join(f"{step:.3g}" for step in np.linalg.norm(np.diff(states, axis=0), axis=1))
    words = (
        f"diverges along a channel to infinity: in each further decade of time the weights move on ({factors}) to size "
        f"{np.linalg.norm(states[-1]):.3g}, while the loss falls from {before:.4g} to {after:.4g} and the speed to "
        f"{speed:.1e}"
    )
    if not as_separable:
        return words
    cosine = states[-1] @ states[-2] / (np.linalg.norm(states[-1]) * np.linalg.norm(states[-2]))
    turned = float(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return (
        f"{words}. The loss falls like t^{exponents[-1]:.2f}, as 1/t where all samples are classified with a growing "
        f"margin; the direction of the weights turned by {turned:.2g} in the last decade"
    )
