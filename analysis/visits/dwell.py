"""How long a flow will stay near a saddle, predicted from its state at arrival, and within which error."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ...flows.solvers.explicit import Step, explicit_steps
from ..critical_points.critical_point import CriticalPoint
from ..critical_points.kind import Kind
from .coordinates_flow import coordinates_flow
from .reduced_flow import ReducedFlow
from .units_flow import units_flow

# Relative tolerance of a step, and of the ten steps that a departure takes: they err by less than is estimated, and in
# all set-ups their errors of the time add up to less than half of this.
TOLERANCE, ACCUMULATED = 3e-4, 3e-4
# The first step moves the state by this share of itself.
FIRST_STEP = 0.01
# Of the polynomial through the loss within a step, on which growth by less than e² is exact to six digits.
DEGREE = 8
# Logarithms of ratios closer to one than this are left to the arithmetic mean, which is as good there.
FLAT = 1e-3
# Steps after which the search is given up: stiff, or a loss that never falls. Departures take thirty to a hundred.
STEPS = 300


class Dwell(NamedTuple):
    """A predicted time, and its error as a share of it, estimated from the next order."""

    time: float
    error: float


def said_share(share: float) -> str:
    """A share in per cent, rounded up to one digit: the bound stays one."""
    percent = 100 * share
    unit = 10.0 ** np.floor(np.log10(percent)) if percent > 0 else 1.0
    return f"{np.ceil(percent / unit - 1e-9) * unit:.3g} %"


def predicted_dwell(
    landscape: Landscape, theta: Float[np.ndarray, " n"], point: CriticalPoint, kind: Kind, level: float
) -> Dwell | None:
    r"""The time in which the loss falls from θ near a saddle to a level, by the saddle's leading-order form.

    The form's own flow is integrated, see `UnitsFlow` and `CoordinatesFlow`: all growing coordinates, from where they
    are and in whatever direction, while the others relax. Its error is estimated by the full gradient along the
    predicted path θ(t), T being the predicted time. With the defect $d = \dot x + \nabla_x L(\theta)$ of the growing
    coordinates x, the full flow loses the time $\int d \cdot \dot x / \|\dot x\|^2\,dt$ on the way, to first order, and
    needs $(L(\theta(T)) - L) / \|\nabla L\|^2$ more at its end. The integrand's size is integrated.

    Args:
        landscape: of the wide network.
        theta: θ.
        point: the saddle.
        kind: of the saddle.
        level: L, the loss at departure.

    Returns:
        Time and error; `None` where there is no such form or its flow does not reach the level.
    """
    if kind.order is None:
        return None
    flow: ReducedFlow | None = None
    if point.single_layer is not None:
        flow = units_flow(landscape, theta, point.single_layer, kind)
    if flow is None and kind.spectrum is not None:
        flow = coordinates_flow(landscape, theta, point.theta, point.loss, kind.spectrum, kind.order)
    return None if flow is None else _time_to(landscape, flow, level)


def _time_to(landscape: Landscape, flow: ReducedFlow, level: float) -> Dwell | None:
    """The time in which a reduced flow comes to a level of the loss, and the share of it by which the full one lags."""
    if flow.loss(0.0, flow.start) <= level:
        return None
    elapsed, lag, taken, steps = 0.0, 0.0, 0, _steps(flow)
    rate = _lag_rate(landscape, flow, 0.0, flow.start, flow.velocity(0.0, flow.start))
    while taken < STEPS and (step := next(steps, None)) is not None:
        taken += 1
        length, y, velocity = step.length, step.end, step.end_velocity
        arrived = flow.loss(step.t + length, y) <= level
        if arrived:
            share = _crossing(flow, step, level)
            length, y = share * length, step.at(share)
            velocity = flow.velocity(step.t + length, y)
        end = step.t + length
        before, rate = rate, _lag_rate(landscape, flow, end, y, velocity)
        lag += length * _mean(before, rate)
        if arrived:
            left, gradient = landscape.value_and_gradient(flow.parameters(end, y))
            lag += abs(float(left) - level) / float(gradient @ gradient)
            return Dwell(time=elapsed + end, error=float(lag) / (elapsed + end) + ACCUMULATED)
        simpler = flow.relaxed(y)
        if simpler is not None:
            elapsed, flow, steps = elapsed + end, simpler, _steps(simpler)
    return None


def _crossing(flow: ReducedFlow, step: Step, level: float) -> float:
    """The share of a step after which the loss falls to a level."""

    def excess(shares: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
        return np.array([flow.loss(step.t + share * step.length, step.at(share)) - level for share in shares])

    polynomial = np.polynomial.Chebyshev.interpolate(excess, DEGREE, domain=[0.0, 1.0])
    roots = [float(root.real) for root in polynomial.roots() if np.isreal(root) and 0 <= root.real <= 1]
    return min(roots, default=1.0)


def _steps(flow: ReducedFlow) -> Iterator[Step]:
    """The steps of an integration of the flow; none where nothing moves."""
    if not np.all(flow.scale > 0):
        return iter(())
    speed = float(np.linalg.norm(flow.velocity(0.0, flow.start) / flow.scale))
    if not speed > 0:
        return iter(())
    first = FIRST_STEP * float(np.linalg.norm(flow.start / flow.scale)) / speed
    return explicit_steps(flow.velocity, flow.start, scale=flow.scale, rtol=TOLERANCE, first=first)


def _lag_rate(landscape: Landscape, flow: ReducedFlow, t: float, y: np.ndarray, velocity: np.ndarray) -> float:
    """The share of time that the full flow loses, whatever its sign: errors that cancel are still errors."""
    velocity = flow.growing(velocity)
    defect = velocity + flow.seen(landscape.gradient(flow.parameters(t, y)))
    square = float(velocity @ velocity)
    return abs(float(defect @ velocity)) / square if square > 0 else 0.0


def _mean(a: float, b: float) -> float:
    """The mean over a step on which a quantity goes from a to b exponentially."""
    return (a + b) / 2 if min(a, b) <= 0 or abs(np.log(b / a)) < FLAT else (b - a) / float(np.log(b / a))
