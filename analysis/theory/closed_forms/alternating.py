"""Alternating gradient flows: schedules of units that wait while their utility accumulates."""

import math

import numpy as np
from jaxtyping import Float


def activation_time(utility: float, norm: float, degree: int) -> float:
    r"""When a dormant unit of degree κ that points along its direction of utility U has norm one.

    $\dot\rho = \kappa \rho^{\kappa - 1} U$: $t = \ln(1/\rho_0) / (2 U)$ for κ = 2, and
    $t = (\rho_0^{2 - \kappa} - 1) / (\kappa (\kappa - 2) U)$ for κ > 2. A lower bound for one that has to turn first.

    **Arguments:** `utility`: U, of the residual over the unit sphere; `norm`: $\rho_0$; `degree`: κ ≥ 2, the degree of
    homogeneity of a unit in all its parameters.

    Source: Kunin et al. (2025), "Alternating gradient flows".
    """
    if degree < 2:
        raise ValueError(f"the degree must be at least 2; got {degree}.")
    if degree == 2:
        return math.log(1 / norm) / (2 * utility)
    return (norm ** (2 - degree) - 1) / (degree * (degree - 2) * utility)


def linear_schedule(x: Float[np.ndarray, "P D"], y: Float[np.ndarray, "P M"]) -> Float[np.ndarray, " K"]:
    r"""Times of the steps of a two-layer linear network, in units of $\ln(1/\varepsilon)$ and for any $\Sigma_{xx}$.

    With $U_k$ the first k eigenvectors of `lemma6_modes` and $\sigma_{k,j}$ the singular values, j = 0, 1, …, of
    $(1 - U_k U_k^\top) \Sigma_{yx}$: $\Delta\tau_k = (1 - \sum_{i=0}^{k-2} \sigma_{i, k-1-i} \Delta\tau_{i+1}) /
    \sigma_{k-1,0}$. A dormant direction goes on accumulating growth at every saddle. Time is that of
    $L = \frac{1}{2} \langle \|y - f\|^2 \rangle$; ε is the norm of a unit's incoming or outgoing weights.

    Source: Kunin et al. (2025), Conjecture 4.1.
    """
    cross = y.T @ x / len(x)
    values, vectors = np.linalg.eigh(cross @ np.linalg.pinv(x.T @ x / len(x), hermitian=True) @ cross.T)
    vectors = vectors[:, ::-1]
    steps = min(cross.shape[0], np.linalg.matrix_rank(cross))
    sizes = [np.linalg.svd(cross - vectors[:, :k] @ (vectors[:, :k].T @ cross), compute_uv=False) for k in range(steps)]
    waits = []
    for k in range(1, steps + 1):
        grown = sum(sizes[i][k - 1 - i] * waits[i] for i in range(k - 1))
        waits.append((1 - grown) / sizes[k - 1][0])
    return np.cumsum(waits)


def diagonal_times(times: Float[np.ndarray, " K"], alpha: float) -> Float[np.ndarray, " K"]:
    r"""Jump times of a diagonal linear network at finite α: $t_k\, \frac{1}{2} \mathrm{arccosh}(1 / (2 \alpha^2))$.

    A coordinate's pair (u, v) has norm one when $2 |s_i| = \mathrm{arccosh}(1 / (2 \alpha^2))$, which tends to
    $2 \ln(1/\alpha)$.

    **Arguments:** `times`: $t_k$ of the `jump_process`; `alpha`: α below $1/\sqrt 2$.

    Source: Kunin et al. (2025), Section 4.
    """
    if not 0 < alpha < math.sqrt(0.5):
        raise ValueError(f"alpha must lie between 0 and 1/√2, where a dormant pair has norm below one; got {alpha}.")
    return np.asarray(times) * math.acosh(1 / (2 * alpha**2)) / 2


def template_spectrum(template: Float[np.ndarray, " p"]) -> tuple[np.ndarray, np.ndarray]:
    r"""Frequencies $0 < \xi \le p/2$ of a template and their $|\hat x(\xi)|$, largest first, zeros left out."""
    sizes = np.abs(np.fft.rfft(template))
    order = 1 + np.argsort(-sizes[1:], kind="stable")
    order = order[sizes[order] > 1e-10 * np.max(sizes)]
    return order, sizes[order]


def modular_addition_levels(template: Float[np.ndarray, " p"]) -> tuple[float, ...]:
    r"""Plateau losses of quadratic units that learn modular addition on the cyclic shifts of a template.

    Inputs are pairs of shifts $(x_a, x_b)$, the target $x_{a+b}$, the loss averaged over the p outputs. Frequencies are
    learned in falling order of $|\hat x(\xi)|$, and $L_k = \frac{1}{p^2} \sum_{i > k} m_i |\hat x(\xi_i)|^2$ with
    $m = 2$, or 1 for $\xi = p/2$.

    Source: Kunin et al. (2025), Section 6.
    """
    p = len(template)
    frequencies, sizes = template_spectrum(template)
    parts = np.where(2 * frequencies == p, 1, 2) * sizes**2 / p**2
    return tuple(float(parts[k:].sum()) for k in range(len(parts) + 1))


def modular_addition_utilities(template: Float[np.ndarray, " p"]) -> Float[np.ndarray, " K"]:
    r"""The largest utility of one unit $(u \cdot x_a + v \cdot x_b)^2 w$ of norm one at each frequency, in order.

    $U = \sqrt{2/27}\, p^{-3/2} |\hat x(\xi)|^3$ for 0 < ξ < p/2, with $U = \langle f \cdot (y - \bar y) \rangle$ summed
    over outputs.

    Source: Kunin et al. (2025), Section 6.
    """
    _, sizes = template_spectrum(template)
    return np.sqrt(2 / 27) * sizes**3 / len(template) ** 1.5
