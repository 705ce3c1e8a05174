"""Separation between units: quadratic units escape in finite times, set by their own initial weights."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import scipy
from jaxtyping import Float

from ...quadrature import interval_integrals

# Eigenvalues below this share of the largest count as zero.
ZERO = 1e-10
# The integral is cut off where √F exceeds its start by exp(30): the rest is 1e-13 of it.
E_FOLDS = 60.0
# Relative accuracy of the quadrature, and points of its rule on each interval.
ACCURACY, POINTS = 1e-11, 20
# Accuracy of turning points: that of double precision.
ROOT = {"xtol": 1e-15, "rtol": 1e-14}


def unit_escape_time(form: Float[np.ndarray, "N N"], u: Float[np.ndarray, " N"], v: float) -> float:
    r"""The time at which a unit of the leading-order flow becomes infinite.

    The flow is $\dot v = u^\top \Sigma u$, $\dot u = 2 v \Sigma u$. With $d\tau = 2 v\, dt$ every component along an
    eigenvector grows as $a_k = a_k(0) e^{s_k \tau}$, and, as $v^2 - \sum a_k^2 / 2$ is conserved,
    $v^2 = F(\tau) = v(0)^2 + \frac{1}{2} \sum_k a_k(0)^2 (e^{2 s_k \tau} - 1)$. So
    $t = \int d\tau / (2 \sqrt{F(\tau)})$, to infinity on the side of v(0)'s sign: the published integral, there in
    $\pi = e^{s_m \tau}$. It presumes that v does not change its sign. F is convex; where it has a zero on that side, v
    changes its sign there, and the unit turns round and escapes on the other side.

    Args:
        form: the symmetric $\Sigma_{yZ}$, in the flow's own time (`unit_form`).
        u: incoming weights of the unit at time zero.
        v: outgoing weight of the unit at time zero.

    Returns:
        t; $\infty$ if the unit never escapes.

    Source: Zhang, Saxe & Latham (2025), Proposition 5 and Eqs. 55, 56; derived here: the units that turn round.
    """
    values, vectors = np.linalg.eigh(form)
    squares = (vectors.T @ u) ** 2 / 2
    moving = (squares > 0) & (np.abs(values) > ZERO * np.max(np.abs(values)))
    values, squares = values[moving], squares[moving]
    if v < 0 or (v == 0 and squares @ values < 0):
        values, v = -values, -v
    turning = _turning_point(values, squares, v)
    if turning is None:
        return _time(values, squares, v)
    # v² is the same on the way back: past the start with the other sign of v, and on to the other side.
    return 2 * _time_to_turn(values, squares, turning) + _time(-values, squares, v)


def unit_escape_times(
    form: Float[np.ndarray, "N N"], u: Float[np.ndarray, "H N"], v: Float[np.ndarray, " H"]
) -> Float[np.ndarray, " H"]:
    r"""`unit_escape_time` of every unit.

    Args:
        form: the symmetric $\Sigma_{yZ}$, in the flow's own time.
        u: incoming weights, one row per unit.
        v: outgoing weights.

    Returns:
        One time per unit.

    Source: Zhang, Saxe & Latham (2025), Proposition 5 and Eqs. 55, 56.
    """
    return np.array([unit_escape_time(form, row, float(weight)) for row, weight in zip(u, v, strict=True)])


def single_direction_escape_time(s: float, u: float, v: float) -> float:
    r"""`unit_escape_time` for a single direction, in closed form.

    With $c = v^2 - u^2/2$: $t = (\pi/2 - \arctan(v / \sqrt{-c})) / (2 s \sqrt{-c})$ for c < 0;
    $t = \ln\frac{v + \sqrt c}{v - \sqrt c} / (4 s \sqrt c)$ for c > 0, v > 0; $t = 1 / (2 s v)$ for c = 0, v > 0; the
    unit never escapes for c ≥ 0, v ≤ 0: it is dead.

    Args:
        s: the eigenvalue, positive.
        u: initial incoming weight along its eigenvector.
        v: initial outgoing weight.

    Returns:
        t; $\infty$ if the unit never escapes.

    Source: derived here, from Zhang, Saxe & Latham (2025), Eqs. 55, 56.
    """
    c = v**2 - u**2 / 2
    if c < 0:
        return (math.pi / 2 - math.atan(v / math.sqrt(-c))) / (2 * s * math.sqrt(-c))
    if v <= 0:
        return math.inf
    if c == 0:
        return 1 / (2 * s * v)
    return math.log((v + math.sqrt(c)) / (v - math.sqrt(c))) / (4 * s * math.sqrt(c))


def _squared_outgoing(tau: float, values: np.ndarray, squares: np.ndarray, v: float) -> float:
    """F(τ) = v²."""
    return float(v**2 + np.sum(squares * np.expm1(2 * values * tau)))


def _turning_point(values: np.ndarray, squares: np.ndarray, v: float) -> float | None:
    """The first zero of the convex F at τ > 0, where there is one."""

    def slope(tau: float) -> float:
        return float(np.sum(squares * values * np.exp(2 * values * tau)))

    if slope(0.0) >= 0:
        return None
    if np.all(values < 0):
        # F falls monotonically to v² − Σa²/2.
        if v**2 >= squares.sum():
            return None
        lowest = 1 / np.max(-values)
        while _squared_outgoing(lowest, values, squares, v) > 0:
            lowest *= 2
    else:
        end = 1 / np.max(values)
        while slope(end) < 0:
            end *= 2
        lowest = float(scipy.optimize.brentq(slope, 0.0, end, **ROOT))  # pyright: ignore
        if _squared_outgoing(lowest, values, squares, v) > 0:
            return None
    return scipy.optimize.brentq(_squared_outgoing, 0.0, lowest, args=(values, squares, v), **ROOT)  # pyright: ignore


def _time(values: np.ndarray, squares: np.ndarray, v: float) -> float:
    r"""$\int_0^\infty d\tau / (2\sqrt F)$; with τ = x², as F may vanish at the start."""
    slope = 2 * float(squares @ values)
    if not np.any(values > 0) or v == slope == 0:
        return math.inf
    top = float(np.max(values))
    weight = float(np.sum(squares[values == top]))
    end = (E_FOLDS + math.log((v**2 + squares.sum()) / weight)) / (2 * top)

    def squared_outgoing(tau: np.ndarray) -> np.ndarray:
        return v**2 + np.sum(squares * np.expm1(2 * values * tau[..., None]), axis=-1)

    return _integral(squared_outgoing, _edges(values, end), slope)


def _time_to_turn(values: np.ndarray, squares: np.ndarray, turning: float) -> float:
    r"""$\int d\tau / (2\sqrt F)$ from 0 to the zero of F, with σ = x² of the way σ to that, on which F grows from 0."""
    falling = values < 0

    def squared_outgoing(sigma: np.ndarray) -> np.ndarray:
        # As differences without cancellation; what has fallen by then grows on this way, out of the range of numbers.
        sigma = sigma[..., None]
        grown = np.exp(2 * np.where(falling, values * (turning - sigma), values * turning))
        return np.sum(squares * grown * np.expm1(-2 * np.abs(values) * sigma) * np.where(falling, -1, 1), axis=-1)

    slope = 2 * float(np.sum(squares * values * np.exp(2 * values * turning)))
    return _integral(squared_outgoing, (turning - _edges(values, turning))[::-1].clip(0.0), slope)


def _integral(
    squared_outgoing: Callable[[np.ndarray], np.ndarray], edges: Float[np.ndarray, " n"], slope: float
) -> float:
    """∫ dτ / (2 √F) over halved pieces; `slope` is that of F at the start, where it may be zero."""
    edges = np.sqrt(edges)

    def integrand(x: np.ndarray) -> np.ndarray:
        squared = squared_outgoing(x**2)
        # Where v = 0, F is its slope times τ to first order, and x / √F has a limit.
        limit = 1 / math.sqrt(abs(slope)) if slope else math.inf
        return np.where(squared > 0, x / np.sqrt(np.where(squared > 0, squared, 1.0)), limit)

    coarse, fine = (float(np.sum(interval_integrals(integrand, knots, POINTS))) for knots in (edges[::2], edges))
    if abs(coarse - fine) <= ACCURACY * abs(fine):
        return fine
    # A unit that barely gets past a turning point: adaptively.
    parts, at = itertools.pairwise(edges), lambda x: float(integrand(np.array([x]))[0])
    return sum(scipy.integrate.quad(at, a, b, epsabs=0.0, epsrel=ACCURACY, limit=200)[0] for a, b in parts)


def _edges(values: np.ndarray, end: float) -> Float[np.ndarray, " n"]:
    """Ends of pieces of [0, end], each halved.

    Where a direction takes over, the integrand bends: there is one piece per e-fold of the fastest direction that is
    left. Those that shrink are gone after some e-folds, by when slower ones may hardly have begun to grow.

    Args:
        values: the eigenvalues.
        end: of the interval, at least zero.

    Returns:
        The ends, increasing, an odd number of them.
    """
    speeds = np.abs(values)
    gone = np.where(values < 0, E_FOLDS / (2 * speeds), math.inf)
    marks, pieces = np.unique([0.0, *gone[gone < end], end]), [np.zeros(0)]
    for start, stop in itertools.pairwise(marks):
        count = 1 + math.ceil((stop - start) * float(np.max(speeds[gone > start])))
        pieces.append(np.linspace(start, stop, 2 * count + 1)[:-1])
    return np.append(np.concatenate(pieces), end)
