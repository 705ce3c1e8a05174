"""Separation between units: quadratic units escape in finite times, set by their own initial weights."""

import math

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
        return _time(values, squares, v, math.inf)
    back = squares * np.exp(2 * values * turning)
    return _time(-values, back, 0.0, turning) + _time(-values, back, 0.0, math.inf)


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


def _time(values: np.ndarray, squares: np.ndarray, v: float, end: float) -> float:
    r"""$\int_0^{end} d\tau / (2\sqrt F)$; with τ = x², as F may vanish at the start."""
    if end == math.inf:
        if not np.any(values > 0):
            return math.inf
        top = float(np.max(values))
        weight = float(np.sum(squares[values == top]))
        end = (E_FOLDS + math.log((v**2 + squares.sum()) / weight)) / (2 * top)
    # One piece per e-fold of the fastest direction: where it takes over, the integrand bends.
    pieces = 1 + math.ceil(end * float(np.max(np.abs(values))))
    edges = np.sqrt(np.linspace(0.0, end, 2 * pieces + 1))

    def integrand(x: np.ndarray | float) -> np.ndarray:
        tau = np.asarray(x) ** 2
        squared = v**2 + np.sum(squares * np.expm1(2 * values * tau[..., None]), axis=-1)
        # Where v = 0, F = Σ a²s τ to first order, and x / √F has a limit.
        limit = 1 / math.sqrt(2 * abs(float(squares @ values)))
        return np.where(squared > 0, np.asarray(x) / np.sqrt(np.where(squared > 0, squared, 1.0)), limit)

    coarse, fine = (float(np.sum(interval_integrals(integrand, knots, POINTS))) for knots in (edges[::2], edges))
    if abs(coarse - fine) <= ACCURACY * abs(fine):
        return fine
    # A unit that barely gets past a turning point: adaptively.
    parts = zip(edges[:-1], edges[1:], strict=True)
    return sum(scipy.integrate.quad(integrand, a, b, epsabs=0.0, epsrel=ACCURACY, limit=200)[0] for a, b in parts)
