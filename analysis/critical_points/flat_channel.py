"""Flat channels to infinity, along which the loss decreases ever more slowly and the weights diverge."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from diffrax import AbstractSolver
from jaxtyping import Float

from ...flows import Landscape, Trajectory, simulate
from ...flows.landscapes.point import point_of
from ...flows.simulation.tolerances import default_rtol
from ...flows.solvers import BDF
from ..thresholds import STANDARD, Thresholds
from .lower_bound import highest_bound
from .refine_by_products import BY_PRODUCTS_FROM
from .slow_point import SlowPoint

# Decades of time over which a channel is followed, in units of ‖θ‖ / ‖∇L‖, in which the weights change by themselves.
DECADES = 3
MAX_STEPS = 20_000
# Relative tolerance of the flow along a channel, or what the precision of the weights allows.
RTOL = 1e-6
# Large networks are followed while the loss falls like 1/t by a factor of ten, in two halves, and one digit of the
# exponent is asked for: without a Hessian steps become no longer than the largest curvature allows equations of a step
# to be solved.
HALVES, LARGE_RTOL, MAX_LARGE_STEPS = np.array([1.0, np.sqrt(10), 10.0]), 1e-4, 1000


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
    that settles, and the loss falls like 1/t to the lowest that is possible (zero, or what labels leave open): an
    exponent close to −1 shows it earlier. From 400 parameters on it alone counts, in both halves of the decade in which
    the loss falls to a tenth, followed in at most 1000 steps.

    Where $L - L_0 \propto (t - t_0)^{-a}$, $(L - L_0) / \|\nabla L\|^2 = (t - t_0) / a$: the growth of this quotient
    gives the exponent −a, whenever the channel began. In networks that are homogeneous of degree k in their weights the
    loss falls like $t^{-1} (\ln t)^{-2 + 2/k}$: exponents down to −1 − 2/m, with the margin
    $m = \ln ((L(0) - L_0) / (L - L_0))$ in place of ln t, are as good as −1.

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
    floor = highest_bound(landscape) or 0.0
    course = _course(theta, value - floor, gradient, solver)
    if course is None:
        return None
    flow = _followed(landscape, theta, course)
    if flow.result.failed:
        return None
    index = np.searchsorted(flow.ts, course.times)
    states, speeds, losses = flow.thetas[index], flow.speeds[index], flow.losses[index]
    if not (np.all(np.diff(_norms(states)) > 0) and np.all(np.diff(speeds) < 0) and np.all(np.diff(losses) < 0)):
        return None
    exponents = _exponents(flow.ts[index], losses - floor, speeds)
    *_, before, last = _deviations(exponents, landscape, losses[1:] - floor, floor)
    if course.large:  # large networks go on learning for decades, and move as far in each
        as_separable, moving = max(before, last) < thresholds.exponent_agreement, False
    else:
        as_separable = last < thresholds.exponent_agreement and last <= before
        moved = _norms(np.diff(states, axis=0))
        moving = np.all(moved[1:] >= thresholds.channel_growth * moved[:-1])
    if not (as_separable or moving):
        return None
    evidence = _in_words(states, value, losses[-1], speeds[-1], course.span)
    evidence += _as_separable(states, exponents[-1], floor, course.span) if as_separable else ""
    return SlowPoint(
        name="flat channel",
        landscape=landscape,
        theta=flow.thetas[-1],
        speed=float(speeds[-1]),
        passage=None,
        evidence=evidence,
        exponent=float(exponents[-1]),
    )


class _Course(NamedTuple):
    """How a flow is followed along a channel: times, what lies between two of them in words, settings of the flow."""

    large: bool
    times: Float[np.ndarray, " m"]
    span: str
    settings: dict[str, Any]


def _course(
    theta: Float[np.ndarray, " n"], above: Any, gradient: Float[np.ndarray, " n"], solver: AbstractSolver[Any] | None
) -> _Course | None:
    """How a flow would be followed from a point; `None` where it stands still or has nowhere to go."""
    size, speed, resolved = float(np.linalg.norm(theta)), float(np.linalg.norm(gradient)), default_rtol(theta.dtype)
    if not (size > 0 and speed > 0):
        return None
    if theta.size < BY_PRODUCTS_FROM:
        times, span = size / speed * 10.0 ** np.arange(DECADES + 1), "decade"
        settings = {"solver": solver, "rtol": max(RTOL, resolved), "max_steps": MAX_STEPS}
        return _Course(False, times.astype(theta.dtype), span, settings)
    if above <= 0:
        return None
    # A Hessian would cost more than the flow took.
    solver = BDF(matrix_free=True, quadratures=1) if solver is None else solver
    times, span = float(above) / speed**2 * (HALVES - 1), "half decade"
    settings = {"solver": solver, "rtol": max(LARGE_RTOL, resolved), "max_steps": MAX_LARGE_STEPS}
    return _Course(True, times.astype(theta.dtype), span, settings)


def _followed(landscape: Landscape, theta: Float[np.ndarray, " n"], course: _Course) -> Trajectory:
    """The flow to the last of some times, with its states at all of them."""
    times = course.times
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a flow that ends early is recognised by its result
        return simulate(
            landscape.at(theta),
            landscape.loss,
            landscape.data,
            t1=float(times[-1]),
            save_times=times[times > 0][:-1].tolist(),
            **course.settings,
        )


def _norms(rows: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " m"]:
    return np.linalg.norm(rows, axis=1)


def _exponents(
    ts: Float[np.ndarray, " m"], above: Float[np.ndarray, " m"], speeds: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " k"]:
    """The exponents −a between successive points; −∞ where the loss falls faster than any power of time."""
    paces = np.divide(above, speeds**2, out=np.zeros_like(above), where=speeds > 0)
    grown = np.diff(paces)
    return -np.divide(np.diff(ts), grown, out=np.full_like(grown, np.inf), where=grown > 0)


def _deviations(
    exponents: Float[np.ndarray, " k"], landscape: Landscape, above: Float[np.ndarray, " k"], floor: float
) -> Float[np.ndarray, " k"]:
    """How far exponents are from those of 1/t, with the powers of ln t that homogeneous networks add."""
    at_zero = float(landscape.value(np.zeros_like(landscape.theta))) - floor
    with np.errstate(invalid="ignore", divide="ignore"):
        margins = np.log(at_zero / above)
    powers = np.where(margins > 0, 2 / np.where(margins > 0, margins, 1.0), 0.0)
    return np.maximum(exponents + 1, -1 - powers - exponents).clip(0.0)


def _in_words(states: Float[np.ndarray, "d n"], before: Any, after: Any, speed: Any, span: str) -> str:
    """The evidence for a channel, in one sentence."""
    factors = ", ".join(f"{step:.3g}" for step in _norms(np.diff(states, axis=0)))
    return (
        f"diverges along a channel to infinity: in each further {span} of time the weights move on ({factors}) to size "
        f"{np.linalg.norm(states[-1]):.3g}, while the loss falls from {before:.6g} to {after:.6g} and the speed to "
        f"{speed:.1e}"
    )


def _as_separable(states: Float[np.ndarray, "d n"], exponent: Any, floor: float, span: str) -> str:
    """The evidence that data are separable, in one sentence."""
    cosine = states[-1] @ states[-2] / (np.linalg.norm(states[-1]) * np.linalg.norm(states[-2]))
    turned = float(np.arccos(np.clip(cosine, -1.0, 1.0)))
    target = f" to its lower bound {floor:.6g}" if floor else ""
    return (
        f". The loss falls{target} like t^{exponent:.2f}, as 1/t where all samples are classified with a growing "
        f"margin; the direction of the weights turned by {turned:.2g} in the last {span}"
    )
