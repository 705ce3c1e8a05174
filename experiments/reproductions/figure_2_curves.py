"""Figure 2's flows: loss curves of linear networks and of linear attention, plateau losses, predicted times."""

from functools import cache

import numpy as np
from jaxtyping import Float

from ...flows import LossCurves, in_context_population, linear_population, loss_curves, statistics_loss
from ...models import Dense, LinearAttention, incoming, linear, outgoing
from ..data.synthetic import power_law
from .plateau_times import padded, seed_key

LINEAR, ATTENTION = Dense(linear, inputs=3, outputs=3), LinearAttention(inputs=3)
# Units of every network here, most of them zero where a figure asks for fewer.
LINEAR_ROOM, ATTENTION_ROOM = 100, 50
LINEAR_SCALE, ATTENTION_SCALE = 1e-6, 1e-3
# Times at which a curve is recorded.
POINTS = 2000
# ln(σ / (1 − σ)) where (1 − σ)² = ½: half of a mode's loss is gone.
HALF_LOSS = np.log(np.sqrt(2) - 1)


def spectrum(power: float | int) -> Float[np.ndarray, "3"]:
    """Singular values s_n ∝ n^(−κ), n = 1, 2, 3, that sum to one; `power` is κ."""
    return power_law(3, power)


@cache
def linear_curves(width: int, power: float | int, scale: float, seeds: int, horizon: float) -> LossCurves:
    """Loss curves of linear networks on white inputs with singular values s_n.

    Args:
        width: number of units H.
        power: κ of the singular values.
        scale: initialisation scale ε.
        seeds: number of curves.
        horizon: end of the flows.

    Returns:
        The curves, one per seed.
    """
    data = linear_population(np.eye(3), np.diag(spectrum(power)), weight=0.5)
    models = [padded(LINEAR, width, scale, LINEAR_ROOM, key=seed_key(seed)) for seed in range(seeds)]
    return loss_curves(models, statistics_loss, [data] * seeds, _times(seeds, horizon))


def linear_levels(power: float | int) -> Float[np.ndarray, "4"]:
    """Plateau losses ½ Σ_{k > r} s_k² of linear networks, r = 0, …, 3; `power` is κ."""
    squares = spectrum(power) ** 2 / 2
    return np.array([squares[r:].sum() for r in range(4)])


def linear_middles(width: int, power: float | int, scale: float, seeds: int) -> Float[np.ndarray, "B 3"]:
    r"""Predicted times at which half of each mode's loss is gone, for the very initial weights.

    From small weights every unit grows as $\theta_i = c_i e^{st} [q; r]$, $c_i = (q \cdot v_i + r \cdot u_i) / 2$, and
    the mode as a sigmoid from $a(0) = \sum c_i^2$: $t = [\ln(s/a(0) - 1) + \ln(\sqrt 2 - 1)] / 2s$.

    Args:
        width: number of units H.
        power: κ of the singular values s.
        scale: initialisation scale ε.
        seeds: number of curves B.

    Returns:
        The times, one row per seed.
    """
    modes = []
    for seed in range(seeds):
        model = padded(LINEAR, width, scale, LINEAR_ROOM, key=seed_key(seed))
        modes.append(np.sum((np.asarray(incoming(model)) + np.asarray(outgoing(model))) ** 2, axis=0) / 4)
    s = spectrum(power)
    return (np.log(s / np.array(modes) - 1) + HALF_LOSS) / (2 * s)


@cache
def attention_curves(width: int, power: float | int, scale: float, seeds: int, horizon: float) -> LossCurves:
    """Loss curves of linear attention with infinite context, on inputs of covariance Λ ∝ diag(√s_n), ‖Λ‖ = 1.

    Args:
        width: number of heads H.
        power: κ of the singular values s_n.
        scale: initialisation scale ε.
        seeds: number of curves.
        horizon: end of the flows.

    Returns:
        The curves, one per seed.
    """
    data = in_context_population(np.diag(attention_eigenvalues(power)), np.inf, normalised=True, weight=0.5)
    models = [padded(ATTENTION, width, scale, ATTENTION_ROOM, key=seed_key(seed)) for seed in range(seeds)]
    return loss_curves(models, statistics_loss, [data] * seeds, _times(seeds, horizon))


def attention_eigenvalues(power: float | int) -> Float[np.ndarray, "3"]:
    """Eigenvalues λ_n with λ_n²/2, the positive eigenvalues of Σ_yZ, in the ratios of s_n; `power` is κ."""
    values = np.sqrt(spectrum(power))
    return values / values[0]


def attention_levels(power: float | int) -> Float[np.ndarray, "4"]:
    """Plateau losses ½ Σ_{d > m} λ_d, m = 0, …, 3, as the context becomes infinite; `power` is κ."""
    values = attention_eigenvalues(power) / 2
    return np.array([values[m:].sum() for m in range(4)])


def _times(seeds: int, horizon: float) -> Float[np.ndarray, "B T"]:
    return np.tile(np.linspace(0, horizon, POINTS), (seeds, 1))
