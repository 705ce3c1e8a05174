"""Separation between directions: units that enter linearly align to the top singular vectors before they are large."""

import numpy as np
from jaxtyping import Float

# Singular values that agree to this share count as one of higher multiplicity.
TIE = 1e-9


def top_multiplicity(values: Float[np.ndarray, " D"]) -> int:
    """The number of the decreasing values that are tied with the first."""
    return int(np.sum(values >= values[0] * (1 - TIE)))


def separation_exponents(cross: Float[np.ndarray, "Nv Nu"]) -> Float[np.ndarray, " k"]:
    r"""The exponents $1 - s_k / s_1$ of Theorem 4, for every singular value below the largest.

    When the part $P\theta_i$ of a unit along the top r singular vectors is O(1), the rest is
    $O(\varepsilon^{1 - s_{r+1}/s_1})$, the first of these exponents.

    Args:
        cross: $\Sigma_{yz}$ up to a factor, one row per output.

    Returns:
        The exponents, increasing, in [0, 1].

    Source: Zhang, Saxe & Latham (2025), Theorem 4.
    """
    values = np.linalg.svd(cross, compute_uv=False)
    return 1 - values[top_multiplicity(values) :] / values[0]


def top_projection(cross: Float[np.ndarray, "Nv Nu"]) -> Float[np.ndarray, "n n"]:
    r"""The projection P of a unit $[u; v]$ onto the directions that grow fastest, $[r_k; q_k] / \sqrt 2$ for k ≤ r.

    Args:
        cross: $\Sigma_{yz} = \sum_k s_k q_k r_k^\top$ up to a factor, whose first r singular values are tied.

    Returns:
        P, of order Nu + Nv.

    Source: Zhang, Saxe & Latham (2025), Theorem 4.
    """
    left, values, right = np.linalg.svd(cross, full_matrices=False)
    count = top_multiplicity(values)
    directions = np.concatenate([right[:count].T, left[:, :count]]) / np.sqrt(2)
    return directions @ directions.T


def growing_parts(
    cross: Float[np.ndarray, "Nv Nu"], u: Float[np.ndarray, "H Nu"], v: Float[np.ndarray, "H Nv"]
) -> Float[np.ndarray, "D H"]:
    r"""The components $c_{ki} = \frac{1}{2}(q_k \cdot v_i + r_k \cdot u_i)$, which grow as $e^{s_k t}$ near zero.

    Args:
        cross: $\Sigma_{yz} = \sum_k s_k q_k r_k^\top$ up to a factor.
        u: incoming weights, one row per unit.
        v: outgoing weights, one row per unit.

    Returns:
        One row per singular value, the largest first, and one column per unit.

    Source: Zhang, Saxe & Latham (2025), Appendix G.
    """
    left, _, right = np.linalg.svd(cross, full_matrices=False)
    return (left.T @ v.T + right @ u.T) / 2


def direction_escape_times(
    cross: Float[np.ndarray, "Nv Nu"], u: Float[np.ndarray, "H Nu"], v: Float[np.ndarray, "H Nv"]
) -> Float[np.ndarray, " H"]:
    r"""The time at which each unit's growing part has norm one, $T_i = -\ln \|P \theta_i(0)\| / s_1$.

    Args:
        cross: $\Sigma_{yz}$ of $\dot v = \Sigma_{yz} u$, $\dot u = \Sigma_{yz}^\top v$ (`cross_matrix`), with largest
            singular value $s_1$.
        u: initial incoming weights, one row per unit.
        v: initial outgoing weights, one row per unit.

    Returns:
        One time per unit.

    Source: Zhang, Saxe & Latham (2025), Eq. 37.
    """
    norms = np.linalg.norm(np.concatenate([u, v], axis=1) @ top_projection(cross), axis=1)
    return -np.log(norms) / np.linalg.norm(cross, 2)


def mode_starts(parts: Float[np.ndarray, "D H"]) -> Float[np.ndarray, " D"]:
    r"""The initial strength of each mode of a two-layer linear network that starts small.

    With the growing parts $c_k \in R^H$, the rows of C, the flow is that of $e^{St} C (1 + C^\top \int e^{2Ss} ds\,
    C)^{-1} C^\top e^{St}$, so that mode k starts from the k-th pivot of $CC^\top$: the squared norm of the part of
    $c_k$ that is orthogonal to those of the stronger modes.

    Args:
        parts: $c_{ki}$ with the strongest mode first (`growing_parts`).

    Returns:
        One strength per mode; zero for modes beyond the number of units.

    Source: Fukumizu (1998), for the solution; derived here: the pivots.
    """
    pivots = np.diag(np.linalg.qr(parts.T, mode="r")) ** 2
    return np.concatenate([pivots, np.zeros(parts.shape[0] - len(pivots))])
