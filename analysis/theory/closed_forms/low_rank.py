"""Networks that are linear in a matrix of bounded rank: plateau losses are best fits of each rank."""

from typing import Any

import numpy as np
import scipy
from jaxtyping import Float

from ....flows.losses.statistics import SufficientStatistics

# Starts that end in a flat valley would spend thousands of steps on its last digits.
LEAST_SQUARES: dict[str, Any] = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 200}


def lemma6_modes(
    x: Float[np.ndarray, "P D"], y: Float[np.ndarray, "P M"]
) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, "M M"]]:
    r"""Eigenvalues $\mu_k$ and eigenvectors $e_k$ of $\Sigma_{yx} \Sigma_{xx}^{-1} \Sigma_{yx}^\top$.

    The fixed points of a two-layer linear network are $W_A = \sum_{k \in A} e_k e_k^\top \Sigma_{yx} \Sigma_{xx}^{-1}$,
    one for each set A of modes.

    Args:
        x: inputs, one row per sample, with invertible $\Sigma_{xx}$.
        y: targets, one row per sample.

    Returns:
        The eigenvalues, decreasing, and the eigenvectors as columns.

    Source: Baldi & Hornik (1989); Zhang, Saxe & Latham (2025), Lemma 6.
    """
    count = x.shape[0]
    covariance, cross = x.T @ x / count, y.T @ x / count
    values, vectors = np.linalg.eigh(cross @ np.linalg.solve(covariance, cross.T))
    return values[::-1], vectors[:, ::-1]


def lemma6_levels(
    x: Float[np.ndarray, "P D"], y: Float[np.ndarray, "P M"], *, weight: float = 0.5
) -> tuple[float, ...]:
    r"""Plateau losses of a two-layer linear network that learns its largest modes first.

    $L_r = w\,(\mathrm{tr}\, \Sigma_{yy} - \sum_{k \le r} \mu_k)$ for r = 0, …, min(D, M), with μ from `lemma6_modes`.

    Args:
        x: inputs, one row per sample, with invertible $\Sigma_{xx}$.
        y: targets, one row per sample.
        weight: w of the loss $w \langle \|y - f\|^2 \rangle$; by default that of `half_squared_error`.

    Returns:
        The losses from the first plateau to the end.

    Source: Baldi & Hornik (1989); Zhang, Saxe & Latham (2025), Lemma 6.
    """
    values, _ = lemma6_modes(x, y)
    total = np.mean(np.sum(y**2, axis=1))
    ranks = min(x.shape[1], y.shape[1])
    return tuple(float(weight * max(total - values[:r].sum(), 0.0)) for r in range(ranks + 1))


def best_rank_levels(statistics: SufficientStatistics) -> tuple[float, ...]:
    r"""Lemma 6 on sufficient statistics: $L_r = L^* + \sum_{k > r} \sigma_k^2$, σ the singular values of $A^* R^\top$.

    The levels are those of `lemma6_levels`, with the loss's own weight, and without squaring the sample's condition
    number.

    Args:
        statistics: R, $A^*$ and $L^*$ of a squared error.

    Returns:
        The losses from the first plateau to the end.

    Source: Baldi & Hornik (1989); Zhang, Saxe & Latham (2025), Lemma 6.
    """
    target = np.asarray(statistics.target) @ np.asarray(statistics.factor).T
    values = np.linalg.svd(target, compute_uv=False)
    ranks = min(statistics.target.shape)
    return tuple(float(statistics.constant + np.sum(values[r:] ** 2)) for r in range(ranks + 1))


def windowed_levels(
    windows: Float[np.ndarray, "P positions kernel"], y: Float[np.ndarray, " P"], *, starts: int = 20
) -> tuple[float, ...]:
    r"""Plateau losses of a two-layer linear convolutional network with one output.

    $L_r = \min_{\mathrm{rank}\, M \le r} \langle (y - \langle M, \tilde X \rangle)^2 \rangle$, a weighted low-rank
    problem (`weighted_levels`). It holds for ReLU kernels too if the data leave the coordinates of the kernel uncoupled
    and the best kernels have no negative entry.

    Args:
        windows: $\tilde X$ of each sample, one row per position.
        y: targets.
        starts: number of random starts; twenty find the optimum of small kernels almost surely.

    Returns:
        The losses from the first plateau to the end.

    Source: Zhang, Saxe & Latham (2025), Figure 1C; Srebro & Jaakkola (2003) for the weighted problem.
    """
    count, positions, kernel = windows.shape
    # The QR factor of features and target contains all that the squared error needs of the sample.
    factor = np.linalg.qr(np.column_stack([windows.reshape(count, -1), y]), mode="r") / np.sqrt(count)
    return weighted_levels(factor[:, :-1], factor[:, -1], (positions, kernel), starts=starts)


def weighted_levels(
    features: Float[np.ndarray, "n F"], target: Float[np.ndarray, " n"], shape: tuple[int, int], *, starts: int = 20
) -> tuple[float, ...]:
    r"""Weighted low-rank approximation: $L_r = \min_{\mathrm{rank}\, M \le r} \|t - F\, \mathrm{vec} M\|^2$.

    Solved in the factors $M = V U^\top$ by least squares from random starts, for r = 0, …, the smaller side of M.

    Args:
        features: F, one column per entry of M, row by row.
        target: t.
        shape: rows and columns of M.
        starts: number of random starts for each rank.

    Returns:
        The losses by increasing rank.

    Source: Srebro & Jaakkola (2003).
    """
    random = np.random.default_rng(0)
    levels = [float(target @ target)]
    levels += [_best_fit(features, target, shape, rank, starts, random) for rank in range(1, min(shape))]
    rest = target - features @ np.linalg.lstsq(features, target, rcond=None)[0]
    return (*levels, float(rest @ rest))


def _best_fit(
    features: np.ndarray,
    target: np.ndarray,
    shape: tuple[int, int],
    rank: int,
    starts: int,
    random: np.random.Generator,
) -> float:
    """The smallest loss of one rank over all starts."""
    (rows, columns), tensor = shape, features.reshape(-1, *shape)
    split = rows * rank

    def factors(w: Any) -> Any:
        return w[:split].reshape(rows, rank), w[split:].reshape(rank, columns)

    def residual(w: Any) -> Any:
        left, right = factors(w)
        return features @ (left @ right).ravel() - target

    def jacobian(w: Any) -> Any:
        left, right = factors(w)
        parts = np.einsum("nij,kj->nik", tensor, right), np.einsum("nij,ik->nkj", tensor, left)
        return np.concatenate([part.reshape(len(features), -1) for part in parts], axis=1)

    answers = (
        scipy.optimize.least_squares(
            residual, random.standard_normal(split + rank * columns), jac=jacobian, **LEAST_SQUARES
        )
        for _ in range(starts)
    )
    return float(min(2 * answer.cost for answer in answers))


def isotropic_quadratic_levels(inputs: int) -> tuple[float, ...]:
    r"""Plateau losses of a quadratic network on $y \propto \|x\|^2$, $\langle y^2 \rangle = 1$, $x \sim N(0, I_D)$.

    $L_m = 2 (D - m) / (D (m + 2))$. Derivation: with $A = \sum v_i u_i u_i^\top$ and $B = A - cI$ the loss is
    $2 \|B\|_F^2 + (\mathrm{tr} B)^2$; the best A of rank m has equal eigenvalues $c + (D - m) c / (m + 2)$.

    Args:
        inputs: dimension D of the inputs, at least 1.

    Returns:
        $L_0, …, L_D$ of the loss $\langle (y - f)^2 \rangle$.

    Source: derived here.
    """
    return tuple(2 * (inputs - m) / (inputs * (m + 2)) for m in range(inputs + 1))
