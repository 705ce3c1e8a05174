"""Figure 3 and Table 1: pairs of handwritten digits, whose statistics tell how long the second plateau lasts."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...analysis import theory
from ...analysis.figures.style import COLOURS
from ...flows import LossCurves, descend, gradient_descent, half_squared_error, loss_curves, statistics_loss
from ...flows.losses.statistics import SufficientStatistics, from_sample
from ...models import Dense, TwoLayer, linear, relu
from ..data.images import digits, image_pair
from .check import close, equal
from .panel import Panel, Reproduction
from .plateau_times import crossings, padded, seed_key

SOURCE = "Zhang, Saxe & Latham (2025), Figure 3 and Table 1, with the 8 × 8 digits of scikit-learn instead of MNIST"
PAIRS = ((0, 1), (0, 8), (5, 7), (3, 5))
UNSETTLED = (
    "The order of the pairs is as predicted. The lengths are not those of a saddle that has been reached: directions "
    "of pixels with little variance settle more slowly than the plateau lasts, so that the second mode goes on growing "
    "at the second singular value of Σ_yx instead of that of (I − e₁e₁ᵀ) Σ_yx. At that rate, "
    "(1 − σ₂/σ₁)/σ₂ of Σ_yx, they would be 0.650, 0.963, 0.978 and 1.093 per ln 1/ε, as measured."
)
# Units, initialisation scales ε, and the horizon of the flows.
WIDTH, SCALES, HORIZON = 20, (1e-5, 1e-9), 400.0
# Gradient descent with the published step, to the end of the slowest pair's second drop.
DESCENT, DESCENT_TIME = gradient_descent(0.01), 60.0


class DigitPair(eqx.Module):
    r"""The images of two digits, and what theory says of a linear network that learns to tell them apart.

    Attributes:
        name: the digits.
        x: images.
        y: one-hot targets.
        levels: plateau losses by Lemma 6, in the space that the images span: some pixels are always white.
        sizes: $\sigma_{max}(\Sigma_{yx})$ and $\sigma_{max}((I - e_1 e_1^\top) \Sigma_{yx})$ of Table 1.
        waits: lengths of the two plateaus in units of ln 1/ε.
    """

    name: str
    x: Float[np.ndarray, "P pixels"]
    y: Float[np.ndarray, "P 2"]
    levels: Float[np.ndarray, "3"]
    sizes: tuple[float, float]
    waits: tuple[float, float]

    @property
    def statistics(self) -> SufficientStatistics:
        """The sample's moments, for half the mean squared error."""
        return from_sample(self.x, self.y, 1 / (2 * len(self.x)))

    @property
    def middles(self) -> Float[np.ndarray, "2"]:
        """The losses at which the two drops are half done."""
        return (self.levels[:2] + self.levels[1:3]) / 2


def digit_pair(first: int, second: int) -> DigitPair:
    """The images of two digits, with their theory."""
    x, y = (np.asarray(part) for part in image_pair(*digits(), first, second))
    _, sizes, rows = np.linalg.svd(x, full_matrices=False)
    levels = np.array(theory.lemma6_levels(x @ rows[sizes > 1e-8 * sizes[0]].T, y))
    sizes = table_1(x, y)
    return DigitPair(name=f"{first}/{second}", x=x, y=y, levels=levels, sizes=sizes, waits=_waits(x, y, sizes[1]))


def table_1(x: Float[np.ndarray, "P pixels"], y: Float[np.ndarray, "P 2"]) -> tuple[float, float]:
    r"""$\sigma_{max}(\Sigma_{yx})$ and $\sigma_{max}((I - e_1 e_1^\top) \Sigma_{yx})$, e₁ the top mode of Lemma 6."""
    cross = y.T @ x / len(x)
    e = np.linalg.eigh(cross @ np.linalg.lstsq(x.T @ x / len(x), cross.T, rcond=None)[0])[1][:, -1]
    sizes = np.linalg.svd(cross - np.outer(e, e @ cross), compute_uv=False)
    return float(np.linalg.svd(cross, compute_uv=False)[0]), float(sizes[0])


def _waits(x: Float[np.ndarray, "P pixels"], y: Float[np.ndarray, "P 2"], left: float) -> tuple[float, float]:
    r"""The two plateaus' lengths in units of ln 1/ε: $1/\sigma_{00}$, then $(1 - \sigma_{01}/\sigma_{00})/\sigma_{10}$.

    The second direction has been growing already on the first plateau, at the rate $\sigma_{01}$, the second singular
    value of Σ_yx; `left` is $\sigma_{10}$, its rate on the second.

    Returns:
        The two lengths.
    """
    first = np.linalg.svd(y.T @ x / len(x), compute_uv=False)
    return 1 / first[0], (1 - first[1] / first[0]) / left


def _lengths(drops: Float[np.ndarray, "pairs 2"]) -> Float[np.ndarray, " pairs"]:
    """From the first drop to the second."""
    return drops[:, 1] - drops[:, 0]


def _slopes(drops: Float[np.ndarray, "2 pairs 2"]) -> Float[np.ndarray, "pairs 2"]:
    """Slopes of the times of drops against ln 1/ε."""
    return (drops[1] - drops[0]) / np.log(SCALES[0] / SCALES[1])


def _linear_panel(pairs: list[DigitPair], curves: LossCurves, drops: Float[np.ndarray, "2 pairs 2"]) -> Panel:
    """Linear networks: the order of the pairs, and both plateaus' lengths."""
    names, slopes = [pair.name for pair in pairs], _slopes(drops)
    order = [names[k] for k in np.argsort([pair.sizes[1] for pair in pairs])[::-1]]
    measured = [names[k] for k in np.argsort(_lengths(drops[1]))]
    checks = [equal("pairs by length of the second plateau", order, measured)]
    for k, pair in enumerate(pairs):
        checks.append(close(f"{pair.name}: first plateau per ln 1/ε", pair.waits[0], slopes[k, 0], relative=0.03))
        length = slopes[k, 1] - slopes[k, 0]
        checks.append(close(f"{pair.name}: second plateau per ln 1/ε", pair.waits[1], length, relative=0.1))
    fractions = curves.losses / curves.losses[:, :1]

    def draw(ax: Any) -> None:
        for k, name in enumerate(names):
            ax.plot(curves.ts[k], fractions[k], color=COLOURS[k], lw=1.3, label=name)
        ax.set(xlabel="time t", ylabel="loss / initial loss", xlim=(0, 1.3 * np.nanmax(drops[1])))
        ax.legend(fontsize=7)

    data = {"t": curves.ts[0], "losses": curves.losses, "drops": drops[1]}
    return Panel(title="two-layer linear network", draw=draw, data=data, checks=tuple(checks), note=UNSETTLED)


def _relu_panel(pairs: list[DigitPair], linear_slopes: Float[np.ndarray, "pairs 2"]) -> Panel:
    r"""ReLU networks follow the linear ones: the first mode is positive in every pixel, and so is u · x from then on.

    The levels are the linear network's; that of the end is passed, as ReLU units can fit more.

    Returns:
        The panel.
    """
    names, drops, runs = [pair.name for pair in pairs], np.zeros((2, len(pairs), 2)), []
    for k, pair in enumerate(pairs):
        architecture = Dense(relu, inputs=pair.x.shape[1], outputs=2)
        models = [TwoLayer(architecture, width=WIDTH, scale=scale, key=seed_key(0)) for scale in SCALES]
        data = pair.x, pair.y
        each = [descend(model, half_squared_error, data, optimiser=DESCENT, t1=DESCENT_TIME) for model in models]
        for j, run in enumerate(each):
            drops[j, k] = [crossings(run.ts[None], run.losses[None], middle)[0] for middle in pair.middles]
        runs.append(each[-1])
    slopes = _slopes(drops)
    lengths, linear_lengths = _lengths(slopes), _lengths(linear_slopes)
    order = [names[k] for k in np.argsort(linear_lengths)]
    checks = [equal("pairs by length of the second plateau", order, [names[k] for k in np.argsort(lengths)])]
    for k, pair in enumerate(pairs):
        checks.append(close(f"{pair.name}: first plateau per ln 1/ε", pair.waits[0], slopes[k, 0], relative=0.03))
        quantity = f"{pair.name}: second plateau per ln 1/ε, as linear"
        checks.append(close(quantity, linear_lengths[k], lengths[k], relative=0.03))

    def draw(ax: Any) -> None:
        for k, (name, run) in enumerate(zip(names, runs, strict=True)):
            ax.plot(run.ts, run.losses / run.losses[0], color=COLOURS[k], lw=1.3, label=name)
        ax.set(xlabel="time t", ylabel="loss / initial loss", xlim=(0, 1.3 * np.max(drops[1])))
        ax.legend(fontsize=7)

    data = {"t": runs[0].ts, "losses": np.stack([run.losses for run in runs]), "drops": drops[1]}
    return Panel(title="two-layer ReLU network", draw=draw, data=data, checks=tuple(checks))


def _lengths_panel(pairs: list[DigitPair], lengths: Float[np.ndarray, " pairs"]) -> Panel:
    """The second plateau's length against the size that Table 1 gives for it."""
    sizes = np.array([pair.sizes for pair in pairs])

    def draw(ax: Any) -> None:
        for k, pair in enumerate(pairs):
            ax.plot(sizes[k, 1], lengths[k], "o", color=COLOURS[k], label=pair.name)
        ax.set(xlabel="σ_max((I − e₁e₁ᵀ) Σ_yx)", ylabel="second plateau")
        ax.legend(fontsize=7)

    return Panel(title="second plateau", draw=draw, data={"sizes": sizes, "lengths": lengths})


def _linear_flows(pairs: list[DigitPair], scale: float) -> LossCurves:
    architecture = Dense(linear, inputs=pairs[0].x.shape[1], outputs=2)
    models = [padded(architecture, WIDTH, scale, WIDTH, key=seed_key(0)) for _ in pairs]
    ts = np.tile(np.linspace(0, HORIZON, 4000), (len(pairs), 1))
    return loss_curves(models, statistics_loss, [pair.statistics for pair in pairs], ts)


def _make(seeds: int, quick: bool) -> tuple[Panel, ...]:
    pairs = [digit_pair(*pair) for pair in PAIRS]
    middles = np.array([pair.middles for pair in pairs])
    flows = [_linear_flows(pairs, scale) for scale in SCALES]
    drops = np.array(
        [np.stack([crossings(each.ts, each.losses, middles[:, k]) for k in range(2)], axis=1) for each in flows]
    )
    return (
        _linear_panel(pairs, flows[-1], drops),
        _relu_panel(pairs, _slopes(drops)),
        _lengths_panel(pairs, _lengths(drops[1])),
    )


REPRODUCTIONS = (
    Reproduction(name="3", title="digits: harder pairs have longer second plateaus", source=SOURCE, make=_make),
)
