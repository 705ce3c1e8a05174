"""Diagonal linear networks: the jump process of vanishing initial weights."""

import equinox as eqx
import numpy as np
import scipy
from jaxtyping import Float

# Gradients below this share of the first one count as zero.
ZERO = 1e-10


class JumpProcess(eqx.Module):
    r"""The saddles that a diagonal linear network visits, and when.

    - `times`: $t_k$ of the jumps in units of $\ln(1/\alpha)$, with time that of $L = \frac{1}{2n}\|X\beta - y\|^2$;
    - `saddles`: $\beta$ before, between and after the jumps; `losses`: L there; `gradients`: $\nabla_\beta L$ there.
    """

    times: Float[np.ndarray, " K"]
    saddles: Float[np.ndarray, "K+1 D"]
    losses: Float[np.ndarray, " K+1"]
    gradients: Float[np.ndarray, "K+1 D"]

    def indices(self) -> np.ndarray:
        """Index of each saddle in (u, v): the number of inactive coordinates with a gradient."""
        size = np.max(np.abs(self.gradients[0]))
        return np.sum((self.saddles == 0) & (np.abs(self.gradients) > ZERO * size), axis=1)

    def nullities(self) -> np.ndarray:
        """Nullity of each saddle in (u, v): one per active coordinate, two per inactive one without a gradient.

        It presumes that the active columns of X are independent.
        """
        size = np.max(np.abs(self.gradients[0]))
        active = self.saddles != 0
        return active.sum(axis=1) + 2 * np.sum(~active & (np.abs(self.gradients) <= ZERO * size), axis=1)


def jump_process(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, " n"]) -> JumpProcess:
    r"""The limit α → 0 of $\beta = u \odot v$ from $u(0) = \sqrt 2 \alpha$, $v(0) = 0$, in time $t / \ln(1/\alpha)$.

    A coordinate accumulates $s_i = -\int \nabla_i L$; when an $|s_i|$ reaches one, β jumps to the least squares
    solution with $\beta_i \ge 0$ where $s_i = 1$, $\le 0$ where $s_i = -1$, and 0 elsewhere. Coordinates may fall out
    again.

    **Arguments:** `x`: the design X; `y`: targets.

    Source: Pesme & Flammarion (2023), "Saddle-to-saddle dynamics in diagonal linear networks", Algorithm 1.
    """
    count, inputs = x.shape

    def gradient(beta):
        return x.T @ (x @ beta - y) / count

    size = np.max(np.abs(gradient(np.zeros(inputs))))
    s, t, beta = np.zeros(inputs), 0.0, np.zeros(inputs)
    times, saddles = [], [beta]
    while np.max(np.abs(g := gradient(beta))) > ZERO * size:
        moving = np.abs(g) > ZERO * size
        # From a bound already reached the gradient leads inwards, to the other bound at most.
        waits = np.full(inputs, np.inf)
        waits[moving] = (1 + np.sign(g) * s)[moving] / np.abs(g)[moving]
        wait = np.min(waits)
        if not np.isfinite(wait):
            break
        t, s = t + wait, s - wait * g
        s[np.isclose(np.abs(s), 1.0, rtol=0, atol=1e-9)] = np.sign(s[np.isclose(np.abs(s), 1.0, rtol=0, atol=1e-9)])
        beta = _signed_least_squares(x, y, s)
        times.append(t)
        saddles.append(beta)
    saddles = np.array(saddles)
    losses = np.sum((saddles @ x.T - y) ** 2, axis=1) / (2 * count)
    return JumpProcess(np.array(times), saddles, losses, np.array([gradient(beta) for beta in saddles]))


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
    r"""When the first coordinate is halfway to its first value $\beta_1$, for small α.

    $t = (\ln(1/\alpha) + \frac{1}{2} \ln(2 \beta_1)) / |\nabla_i L(0)|$ as long as the coordinate moves alone: from
    $\beta_i = \alpha^2 \sinh(2 s_i)$ and the logistic growth of an unbalanced pair.

    **Arguments:** `alpha`: α ≪ 1.
    """
    process = jump_process(x, y)
    (i,) = np.flatnonzero(process.saddles[1])
    return float((-np.log(alpha) + np.log(2 * abs(process.saddles[1, i])) / 2) / abs(process.gradients[0, i]))


def mirror_state(beta: Float[np.ndarray, "... D"], alpha: float) -> Float[np.ndarray, "... D"]:
    r"""$\theta = \mathrm{arcsinh}(\beta / \alpha^2)$, in which the flow is $\dot\theta = -2 \nabla L(\beta)$.

    Source: Woodworth et al. (2020), "Kernel and rich regimes in overparametrized models".
    """
    return np.arcsinh(np.asarray(beta) / alpha**2)


def implicit_bias(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, " n"], alpha: float) -> Float[np.ndarray, " D"]:
    r"""Where the flow from $\beta = 0$ ends if it fits: $\beta = \alpha^2 \sinh(X^\top \nu)$ with $X \beta = y$.

    ν maximises the concave dual $y \cdot \nu - \alpha^2 \sum \cosh(X^\top \nu)$, by damped Newton steps; for α so small
    that the flow's end is a vertex of the ℓ1 ball to rounding, use the `jump_process`.

    **Raises:** `ValueError` if no β fits.

    Source: Woodworth et al. (2020), Theorem 1.
    """
    rank = np.linalg.matrix_rank(x)
    if np.linalg.matrix_rank(np.column_stack([x, y])) > rank:
        raise ValueError("no β fits the targets, Xβ = y has no solution: the flow ends at the least squares solution.")
    # On an independent set of rows; the others say nothing more.
    left, sizes, right = np.linalg.svd(x, full_matrices=False)
    rows, targets = right[:rank], (left.T @ y)[:rank] / sizes[:rank]
    # From large α, where the problem is linear, down in decades: ν grows with ln(1/α), so that each is a good start.
    start = max(alpha, 10 * float(np.linalg.norm(targets)) ** 0.5, 1e-300)
    scales = np.geomspace(start, alpha, 2 + int(np.log10(start / alpha)))
    nu, before = targets / scales[0] ** 2, None
    for scale in scales:
        guess = nu if before is None else 2 * nu - before
        before, nu = nu, _dual_maximiser(rows, targets / scale**2, guess)
    return alpha**2 * np.sinh(nu @ rows)


def _dual_maximiser(rows: np.ndarray, targets: np.ndarray, nu: np.ndarray) -> np.ndarray:
    """ν with Σ rows sinh(ν·rows) = targets, by Newton steps that are halved until they go uphill."""

    def value(nu):
        with np.errstate(over="ignore"):
            return np.sum(np.cosh(nu @ rows)) - nu @ targets

    for _ in range(100):
        theta = nu @ rows
        step = np.linalg.lstsq((rows * np.cosh(theta)) @ rows.T, rows @ np.sinh(theta) - targets, rcond=None)[0]
        if np.max(np.abs(step)) < 1e-14 * max(1.0, np.max(np.abs(nu))):
            return nu
        length = 1.0
        while length > 1e-12 and not value(nu - length * step) <= value(nu):
            length /= 2
        nu = nu - length * step
    return nu
