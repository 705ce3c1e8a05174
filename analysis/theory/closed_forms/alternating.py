"""Alternating gradient flows: units are learned one by one, each after its utility has accumulated."""

import math

import numpy as np
from jaxtyping import Float, Int

# Fourier coefficients below this share of the largest are zero to rounding.
ZERO = 1e-10


def activation_time(utility: float, norm: float, degree: int) -> float:
    r"""The time at which a dormant unit of degree κ that points along its direction of utility U has norm one.

    $\dot\rho = \kappa \rho^{\kappa - 1} U$: $t = \ln(1/\rho_0) / (2 U)$ for κ = 2, and
    $t = (\rho_0^{2 - \kappa} - 1) / (\kappa (\kappa - 2) U)$ for κ > 2. It is a lower bound for a unit that
    has to turn first.

    Args:
        utility: U > 0, the largest utility of the residual over the unit sphere, a rate.
        norm: $\rho_0$, the initial norm, between 0 and 1.
        degree: κ ≥ 2, the degree of homogeneity of a unit in all its parameters.

    Returns:
        t.

    Raises:
        ValueError: if the degree is below 2.

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
    \sigma_{k-1,0}$. A dormant direction accumulates growth at every saddle.

    Args:
        x: inputs, one row per sample.
        y: targets, one row per sample.

    Returns:
        The times $\tau_k$ of all steps, in the time of $L = \frac{1}{2} \langle \|y - f\|^2 \rangle$; ε is the norm of
        a unit's incoming or outgoing weights.

    Source: Kunin et al. (2025), Conjecture 4.1.
    """
    cross = y.T @ x / len(x)
    vectors = np.linalg.eigh(cross @ np.linalg.pinv(x.T @ x / len(x), hermitian=True) @ cross.T)[1][:, ::-1]
    steps = min(cross.shape[0], np.linalg.matrix_rank(cross))
    strengths = [
        np.linalg.svd(cross - vectors[:, :k] @ (vectors[:, :k].T @ cross), compute_uv=False) for k in range(steps)
    ]
    waits = []
    for k in range(1, steps + 1):
        grown = sum(strengths[i][k - 1 - i] * waits[i] for i in range(k - 1))
        waits.append((1 - grown) / strengths[k - 1][0])
    return np.cumsum(waits)


def diagonal_times(times: Float[np.ndarray, " K"], alpha: float) -> Float[np.ndarray, " K"]:
    r"""Jump times of a diagonal linear network at finite α: $t_k\, \frac{1}{2} \mathrm{arccosh}(1 / (2 \alpha^2))$.

    A coordinate's pair (u, v) has norm one when $2 |s_i| = \mathrm{arccosh}(1 / (2 \alpha^2))$, which tends to
    $2 \ln(1/\alpha)$.

    Args:
        times: $t_k$ of the `jump_process`, in units of $\ln(1/\alpha)$.
        alpha: α, between 0 and $1/\sqrt 2$.

    Returns:
        The times at which pairs have norm one.

    Raises:
        ValueError: if α is not between 0 and $1/\sqrt 2$.

    Source: Kunin et al. (2025), Section 4.
    """
    if not 0 < alpha < math.sqrt(0.5):
        raise ValueError(f"alpha must lie between 0 and 1/√2, where a dormant pair has norm below one; got {alpha}.")
    return np.asarray(times) * math.acosh(1 / (2 * alpha**2)) / 2


def template_spectrum(template: Float[np.ndarray, " p"]) -> tuple[Int[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    r"""The frequencies $0 < \xi \le p/2$ of a template at which it is not zero, and $|\hat x(\xi)|$.

    Args:
        template: x, of any mean.

    Returns:
        The frequencies by decreasing $|\hat x(\xi)|$, and these.
    """
    amplitudes = np.abs(np.fft.rfft(template))
    order = 1 + np.argsort(-amplitudes[1:], kind="stable")
    order = order[amplitudes[order] > ZERO * np.max(amplitudes)]
    return order, amplitudes[order]


def modular_addition_levels(template: Float[np.ndarray, " p"]) -> tuple[float, ...]:
    r"""Plateau losses of quadratic units that learn modular addition on the cyclic shifts of a template.

    Inputs are pairs of shifts $(x_a, x_b)$, the target $x_{a+b}$. Frequencies are learned by decreasing
    $|\hat x(\xi)|$, and $L_k = \frac{1}{p^2} \sum_{i > k} m_i |\hat x(\xi_i)|^2$ with $m = 2$, or 1 for $\xi = p/2$.

    Args:
        template: x, of mean zero.

    Returns:
        The losses, averaged over the p outputs, from the first plateau to the end.

    Source: Kunin et al. (2025), Section 6.
    """
    p = len(template)
    frequencies, amplitudes = template_spectrum(template)
    parts = np.where(2 * frequencies == p, 1, 2) * amplitudes**2 / p**2
    return tuple(float(parts[k:].sum()) for k in range(len(parts) + 1))


def modular_addition_utilities(template: Float[np.ndarray, " p"]) -> Float[np.ndarray, " K"]:
    r"""The largest utility of one unit $(u \cdot x_a + v \cdot x_b)^2 w$ of norm one at each frequency.

    $U = \sqrt{2/27}\, p^{-3/2} |\hat x(\xi)|^3$ for 0 < ξ < p/2, with $U = \langle f \cdot (y - \bar y) \rangle$ summed
    over outputs.

    Args:
        template: x, of mean zero.

    Returns:
        U of each frequency, decreasing.

    Source: Kunin et al. (2025), Section 6.
    """
    _, amplitudes = template_spectrum(template)
    return np.sqrt(2 / 27) * amplitudes**3 / len(template) ** 1.5
