"""Figure 3 and Table 1: pairs of handwritten digits, whose statistics tell how long the second plateau lasts."""

import numpy as np

from ...analysis import theory
from ...analysis.figures.style import COLOURS
from ...flows import descend, gradient_descent, half_squared_error
from ...flows.losses.statistics import SufficientStatistics, from_sample
from ...models import Dense, TwoLayer, linear, relu
from ..data.images import digits, image_pair
from .ensemble import crossings, loss_curves, padded, seed_key
from .panel import Panel, Reproduction, close, equal

SOURCE = "Zhang, Saxe & Latham (2025), Figure 3 and Table 1, with the 8 × 8 digits of scikit-learn instead of MNIST"
PAIRS = ((0, 1), (0, 8), (5, 7), (3, 5))
UNSETTLED = (
    "The order of the pairs is as predicted. The lengths are not those of a saddle that has been reached: directions "
    "of pixels with little variance settle more slowly than the plateau lasts, so that the second mode goes on growing "
    "at the second singular value of Σ_yx instead of that of (I − e₁e₁ᵀ) Σ_yx. At that rate, "
    "(1 − σ₂/σ₁)/σ₂ of Σ_yx, they would be 0.650, 0.963, 0.978 and 1.093 per ln 1/ε, as measured."
)
WIDTH, SCALES, HORIZON = 20, (1e-5, 1e-9), 400.0
# Gradient descent with the published step, to the end of the slowest pair's second drop.
DESCENT, DESCENT_TIME = gradient_descent(0.01), 60.0


def _statistics(x: np.ndarray, y: np.ndarray) -> SufficientStatistics:
    return from_sample(x, y, 1 / (2 * len(x)))


def table_1(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    r"""$\sigma_{max}(\Sigma_{yx})$ and $\sigma_{max}((I - e_1 e_1^\top) \Sigma_{yx})$, e₁ the top mode of Lemma 6."""
    cross = y.T @ x / len(x)
    e = np.linalg.eigh(cross @ np.linalg.lstsq(x.T @ x / len(x), cross.T, rcond=None)[0])[1][:, -1]
    sizes = np.linalg.svd(cross - np.outer(e, e @ cross), compute_uv=False)
    return float(np.linalg.svd(cross, compute_uv=False)[0]), float(sizes[0])


def _waits(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    r"""The two plateaus' lengths in units of ln 1/ε: $1/\sigma_{00}$, then $(1 - \sigma_{01}/\sigma_{00})/\sigma_{10}$.

    The second direction has been growing already on the first plateau, at the rate $\sigma_{01}$, the second singular
    value of Σ_yx; last, the second plateau if it goes on at that rate.
    """
    first = np.linalg.svd(y.T @ x / len(x), compute_uv=False)
    left = 1 - first[1] / first[0]
    return 1 / first[0], left / table_1(x, y)[1], left / first[1]


def _levels(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Lemma 6, in the space that the images span: some pixels are always white."""
    _, sizes, rows = np.linalg.svd(x, full_matrices=False)
    return np.array(theory.lemma6_levels(x @ rows[sizes > 1e-8 * sizes[0]].T, y))


def _relu_panel(pairs, levels: np.ndarray, waits: np.ndarray, linear_slopes: np.ndarray) -> Panel:
    r"""ReLU networks go the linear ones' way: the first mode is positive in every pixel, and so is u · x from then on.

    The levels are the linear network's; that of the end is passed, as ReLU units can fit more.
    """
    names, drops, runs = [f"{a}/{b}" for a, b in PAIRS], np.zeros((2, len(PAIRS), 2)), []
    for k, (x, y) in enumerate(pairs):
        models = [
            TwoLayer(Dense(relu, inputs=x.shape[1], outputs=2), width=WIDTH, scale=scale, key=seed_key(0))
            for scale in SCALES
        ]
        each = [descend(model, half_squared_error, (x, y), optimiser=DESCENT, t1=DESCENT_TIME) for model in models]
        for j, run in enumerate(each):
            middles = (levels[k, :2] + levels[k, 1:3]) / 2
            drops[j, k] = [crossings(run.ts[None], run.losses[None], middle)[0] for middle in middles]
        runs.append(each[-1])
    slopes = (drops[1] - drops[0]) / np.log(SCALES[0] / SCALES[1])
    lengths = slopes[:, 1] - slopes[:, 0]
    order = [names[k] for k in np.argsort(linear_slopes[:, 1] - linear_slopes[:, 0])]
    checks = [equal("pairs by length of the second plateau", order, [names[k] for k in np.argsort(lengths)])]
    for k, name in enumerate(names):
        checks.append(close(f"{name}: first plateau per ln 1/ε", waits[k, 0], slopes[k, 0], relative=0.03))
        own = linear_slopes[k, 1] - linear_slopes[k, 0]
        checks.append(close(f"{name}: second plateau per ln 1/ε, as linear", own, lengths[k], relative=0.03))

    def draw(ax):
        for k, (name, run) in enumerate(zip(names, runs, strict=True)):
            ax.plot(run.ts, run.losses / run.losses[0], color=COLOURS[k], lw=1.3, label=name)
        ax.set(xlabel="time t", ylabel="loss / initial loss", xlim=(0, 1.3 * np.max(drops[1])))
        ax.legend(fontsize=7)

    data = {"t": runs[0].ts, "losses": np.stack([run.losses for run in runs]), "drops": drops[1]}
    return Panel("two-layer ReLU network", draw, data, tuple(checks))


def _make(seeds: int, quick: bool) -> tuple[Panel, ...]:
    images, labels = digits()
    pairs = [tuple(np.asarray(part) for part in image_pair(images, labels, *pair)) for pair in PAIRS]
    ts = np.linspace(0, HORIZON, 4000)
    levels = np.array([_levels(*pair) for pair in pairs])
    drops, runs = [], []
    for scale in SCALES:
        models = [
            padded(Dense(linear, inputs=images.shape[1], outputs=2), WIDTH, scale, WIDTH, key=seed_key(0))
            for _ in PAIRS
        ]
        runs.append(loss_curves(models, [_statistics(*pair) for pair in pairs], np.tile(ts, (len(PAIRS), 1))))
        drops.append(
            np.stack(
                [crossings(runs[-1].ts, runs[-1].losses, (levels[:, k] + levels[:, k + 1]) / 2) for k in range(2)], 1
            )
        )
    curves = runs[-1]
    slopes = (drops[1] - drops[0]) / np.log(SCALES[0] / SCALES[1])
    waits = np.array([_waits(*pair) for pair in pairs])
    names = [f"{a}/{b}" for a, b in PAIRS]
    sizes = np.array([table_1(*pair) for pair in pairs])
    order = [names[k] for k in np.argsort(sizes[:, 1])[::-1]]
    measured = [names[k] for k in np.argsort(drops[1][:, 1] - drops[1][:, 0])]
    checks = [equal("pairs by length of the second plateau", order, measured)]
    for k, name in enumerate(names):
        checks.append(close(f"{name}: first plateau per ln 1/ε", waits[k, 0], slopes[k, 0], relative=0.03))
        checks.append(
            close(f"{name}: second plateau per ln 1/ε", waits[k, 1], slopes[k, 1] - slopes[k, 0], relative=0.1)
        )
    fractions = curves.losses / curves.losses[:, :1]

    def draw(ax):
        for k, name in enumerate(names):
            ax.plot(ts, fractions[k], color=COLOURS[k], lw=1.3, label=name)
        ax.set(xlabel="time t", ylabel="loss / initial loss", xlim=(0, 1.3 * np.nanmax(drops[1])))
        ax.legend(fontsize=7)

    def draw_table(ax):
        for k, name in enumerate(names):
            ax.plot(sizes[k, 1], drops[1][k, 1] - drops[1][k, 0], "o", color=COLOURS[k], label=name)
        ax.set(xlabel="σ_max((I − e₁e₁ᵀ) Σ_yx)", ylabel="second plateau")
        ax.legend(fontsize=7)

    data = {"t": ts, "losses": curves.losses, "drops": drops[1]}
    return (
        Panel("two-layer linear network", draw, data, tuple(checks), UNSETTLED),
        _relu_panel(pairs, levels, waits, slopes),
        Panel("second plateau", draw_table, {"sizes": sizes, "lengths": drops[1][:, 1] - drops[1][:, 0]}),
    )


FIGURE_3 = (Reproduction("3", "digits: harder pairs have longer second plateaus", SOURCE, _make, 1, 1),)
