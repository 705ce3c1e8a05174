"""Diagonal linear networks: the jump process of vanishing initial weights, and the implicit bias of finite ones."""

from typing import Any

import equinox as eqx
import numpy as np
import scipy
from jaxtyping import Float, Int

# Gradients below this share of the first one count as zero.
ZERO = 1e-10
# A coordinate this close to its bound has reached it, to rounding.
AT_BOUND = 1e-9
# Digits to which the dual's equations are solved: those of double precision.
ROOT = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 0.0}


class JumpProcess(eqx.Module):
    r"""The K + 1 saddles that a diagonal linear network visits, the last of which is a minimum, and when.

    Attributes:
        times: $t_k$ of the jumps in units of $\ln(1/\alpha)$, with time that of $L = \frac{1}{2n}\|X\beta - y\|^2$.
        saddles: β before, between and after the jumps, one per row.
        losses: L there.
        gradients: $\nabla_\beta L$ there, one per row.
    """

    times: Float[np.ndarray, " K"]
    saddles: Float[np.ndarray, "S D"]
    losses: Float[np.ndarray, " S"]
    gradients: Float[np.ndarray, "S D"]

    def indices(self) -> Int[np.ndarray, " S"]:
        """Index of each saddle in (u, v): the number of inactive coordinates with a gradient."""
        return np.sum((self.saddles == 0) & self._driven(), axis=1)

    def nullities(self) -> Int[np.ndarray, " S"]:
        """Nullity of each saddle in (u, v): one per active coordinate, two per inactive one without a gradient.

        It presumes that the active columns of X are independent.

        Returns:
            One nullity per saddle.
        """
        active = self.saddles != 0
        return active.sum(axis=1) + 2 * np.sum(~active & ~self._driven(), axis=1)

    def _driven(self) -> np.ndarray:
        return np.abs(self.gradients) > ZERO * np.max(np.abs(self.gradients[0]))

    def __str__(self) -> str:
        count, inputs = self.saddles.shape
        lines = [f"jump process of {inputs} coordinates: {count - 1} jumps"]
        for k, loss in enumerate(self.losses):
            when = f"t/ln(1/α) = {self.times[k - 1]:.4g}" if k else "start"
            active = np.flatnonzero(self.saddles[k]).tolist()
            lines.append(f"{when}: loss {loss:.4g}, active {active}, index {self.indices()[k]}")
        return "\n".join(lines)


def jump_process(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, " n"]) -> JumpProcess:
    r"""The limit α → 0 of $\beta = u \odot v$ from $u(0) = \sqrt 2 \alpha$, $v(0) = 0$, in time $t / \ln(1/\alpha)$.

    A coordinate accumulates $s_i = -\int \nabla_i L$; when an $|s_i|$ reaches one, β jumps to the least-squares
    solution with $\beta_i \ge 0$ where $s_i = 1$, $\le 0$ where $s_i = -1$, and 0 elsewhere. Coordinates may become
    inactive again.

    Args:
        x: the design X, one row per sample.
        y: targets.

    Returns:
        The saddles, from β = 0 to the least-squares solution, with the times of the jumps between them.

    Source: Pesme & Flammarion (2023), "Saddle-to-saddle dynamics in diagonal linear networks", Algorithm 1.
    """
    count, inputs = x.shape

    def gradient(beta: Any) -> Any:
        return x.T @ (x @ beta - y) / count

    largest = np.max(np.abs(gradient(np.zeros(inputs))))
    s, t, beta = np.zeros(inputs), 0.0, np.zeros(inputs)
    times, saddles = [], [beta]
    while np.max(np.abs(g := gradient(beta))) > ZERO * largest:
        moving = np.abs(g) > ZERO * largest
        # From a bound already reached the gradient leads inwards, to the other bound at most.
        waits = np.full(inputs, np.inf)
        waits[moving] = (1 + np.sign(g) * s)[moving] / np.abs(g)[moving]
        wait = np.min(waits)
        if not np.isfinite(wait):
            break
        t, s = t + wait, s - wait * g
        reached = np.isclose(np.abs(s), 1.0, rtol=0, atol=AT_BOUND)
        s[reached] = np.sign(s[reached])
        beta = _signed_least_squares(x, y, s)
        times.append(t)
        saddles.append(beta)
    saddles = np.array(saddles)
    return JumpProcess(
        times=np.array(times),
        saddles=saddles,
        losses=np.sum((saddles @ x.T - y) ** 2, axis=1) / (2 * count),
        gradients=np.array([gradient(beta) for beta in saddles]),
    )


def _signed_least_squares(x: np.ndarray, y: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Least squares with the signs of the coordinates where |s| = 1, the others zero."""
    signs = np.where(np.abs(s) == 1, s, 0.0)
    active = signs != 0
    beta = np.zeros(len(s))
    found = scipy.optimize.nnls(x[:, active] * signs[active], y)[0]
    beta[active] = signs[active] * found
    # Once more without constraints on those that are not zero: to rounding, which the active-set method misses.
    inside = beta != 0
    beta[inside] = np.linalg.lstsq(x[:, inside], y, rcond=None)[0]
    return beta


def first_jump_time(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, " n"], alpha: float) -> float:
    r"""The time at which the first coordinate is halfway to its first value $\beta_1$.

    $t = (\ln(1/\alpha) + \frac{1}{2} \ln(2 |\beta_1|)) / |\nabla_i L(0)|$ as long as the coordinate moves alone: from
    $\beta_i = \alpha^2 \sinh(2 s_i)$ and the logistic growth of an unbalanced pair.

    Args:
        x: the design X, one row per sample.
        y: targets.
        alpha: initial scale α ≪ 1.

    Returns:
        t, in the time of $L = \frac{1}{2n}\|X\beta - y\|^2$.

    Source: Pesme & Flammarion (2023), for the leading order; derived here: the constant.
    """
    process = jump_process(x, y)
    (i,) = np.flatnonzero(process.saddles[1])
    return float((-np.log(alpha) + np.log(2 * abs(process.saddles[1, i])) / 2) / abs(process.gradients[0, i]))


def mirror_state(beta: Float[np.ndarray, "... D"], alpha: float) -> Float[np.ndarray, "... D"]:
    r"""The mirror coordinates $\theta = \mathrm{arcsinh}(\beta / \alpha^2)$.

    In these the flow is $\dot\theta = -2 \nabla L(\beta)$.

    Args:
        beta: coefficients β.
        alpha: initial scale α > 0.

    Returns:
        θ, of the shape of β.

    Source: Woodworth et al. (2020), "Kernel and rich regimes in overparametrized models".
    """
    return np.arcsinh(np.asarray(beta) / alpha**2)


def implicit_bias(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, " n"], alpha: float) -> Float[np.ndarray, " D"]:
    r"""The end of the flow from $\beta = 0$, if it fits: $\beta = \alpha^2 \sinh(X^\top \nu)$ with $X \beta = y$.

    ν maximises the concave dual $y \cdot \nu - \alpha^2 \sum \cosh(X^\top \nu)$, whose stationarity is solved by
    Levenberg–Marquardt steps. For α so small that the end is a vertex of the ℓ1 ball to rounding, use `jump_process`.

    Args:
        x: the design X, one row per sample.
        y: targets, which X must be able to fit.
        alpha: initial scale α > 0.

    Returns:
        β; of least ℓ2 norm for α → ∞, of least ℓ1 norm for α → 0.

    Raises:
        ValueError: if no β fits the targets.

    Source: Woodworth et al. (2020), Theorem 1.
    """
    rank = np.linalg.matrix_rank(x)
    if np.linalg.matrix_rank(np.column_stack([x, y])) > rank:
        raise ValueError("no β fits the targets, Xβ = y has no solution: the flow ends at the least squares solution.")
    # On an independent set of rows: the others add nothing.
    left, values, right = np.linalg.svd(x, full_matrices=False)
    rows, targets = right[:rank], (left.T @ y)[:rank] / values[:rank]
    # From large α, where the problem is linear, down in decades: ν grows with ln(1/α), so that each is a good start.
    start = max(alpha, 10 * float(np.linalg.norm(targets)) ** 0.5, 1e-300)
    scales = np.geomspace(start, alpha, 2 + int(np.log10(start / alpha)))
    nu, before = targets / scales[0] ** 2, None
    for scale in scales:
        guess = nu if before is None else 2 * nu - before
        before, nu = nu, _dual_maximiser(rows, targets / scale**2, guess)
    return alpha**2 * np.sinh(nu @ rows)


def _dual_maximiser(rows: np.ndarray, targets: np.ndarray, nu: np.ndarray) -> np.ndarray:
    """ν with Σ rows sinh(ν·rows) = targets, from a nearby one."""

    # A trial step too far is infinite, and is not taken.
    @np.errstate(over="ignore", invalid="ignore")
    def residual(nu: Any) -> Any:
        return rows @ np.sinh(nu @ rows) - targets

    @np.errstate(over="ignore", invalid="ignore")
    def jacobian(nu: Any) -> Any:
        return (rows * np.cosh(nu @ rows)) @ rows.T

    return scipy.optimize.root(residual, nu, jac=jacobian, method="lm", options=ROOT).x
