"""Figure 4A: softmax attention, whose values learn at order zero and set the pace of its keys and queries."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...flows import mean_squared_error
from ...models import SoftmaxAttention, TwoLayer
from ...models.initialisation import normal_arrays
from .check import Check, at_most, close
from .panel import Panel
from .plateau_times import crossings, seed_key
from .staircase import Staircase, cosine, growth_rate, staircase

HEADS, SCALE = 5, 1e-6
NOTE = (
    "Our own data: inputs have the mean (1, 0), so that the labels of a context are correlated with the query's. The "
    "published inputs are centred, and that correlation, from which the values grow at once, is sampling noise."
)


def uncentred_context(sequences: int, *, key: PRNGKeyArray) -> tuple[Array, Array]:
    """Tokens (x, y) of 31 examples and a query with x ~ N((1, 0), diag(2, 1)/3), w ~ N(0, I), y = w · x; its label."""
    x, w = (np.asarray(array) for array in normal_arrays(key, ((sequences, 32, 2), (sequences, 2))))
    x = x * np.sqrt(np.array([2.0, 1.0]) / 3) + np.array([1.0, 0.0])
    y = np.einsum("pnd,pd->pn", x, w)
    labels = np.column_stack([y[:, :-1], np.zeros(sequences)])
    return jax.device_put((np.concatenate([x, labels[..., None]], axis=-1), y[:, -1:]))


class MeanToken(eqx.Module):
    r"""What softmax attention does before it attends, by the sample's own moments.

    At $K_i = Q_i = 0$ the output is $\bar z \cdot V$, $V = \sum_i v_i$, so that with $S = \langle \bar z \bar z^\top
    \rangle$ and $s = \langle \bar z y \rangle$ the mean squared error has $\dot V = -2H (SV - s)$: no plateau, whatever
    ε. Every head then has $v_i = V^*/H$, $V^* = S^{-1} s$, and keys and queries of rank one obey
    $\dot k = (2/H) M q$, $\dot q = (2/H) M^\top k$ with $M = \langle (y - \bar z \cdot V^*) C\, V^* z_q^\top \rangle$,
    C the covariance of a sequence's tokens.

    Attributes:
        best: V*.
        eigenvalues: eigenvalues of S.
        parts: the shares of its modes in the loss.
        floor: the loss at V*.
        drive: M.
    """

    best: Float[np.ndarray, " D"]
    eigenvalues: Float[np.ndarray, " D"]
    parts: Float[np.ndarray, " D"]
    floor: float
    drive: Float[np.ndarray, "D D"]

    def losses(self, ts: Float[np.ndarray, " T"], heads: int) -> Float[np.ndarray, " T"]:
        """The loss of `heads` heads at times `ts`, from values of zero."""
        return self.floor + np.exp(-4 * heads * np.outer(ts, self.eigenvalues)) @ self.parts


def mean_token(tokens: Float[Array, "P N D"], labels: Float[Array, "P 1"]) -> MeanToken:
    """The closed form for a sample of sequences and their queries' labels."""
    z, y = np.asarray(tokens), np.asarray(labels[:, 0])
    mean = z.mean(axis=1)
    eigenvalues, vectors = np.linalg.eigh(mean.T @ mean / len(y))
    best = vectors @ (vectors.T @ (mean.T @ y / len(y)) / eigenvalues)
    parts = eigenvalues * (vectors.T @ best) ** 2
    centred = z - mean[:, None]
    drive = np.einsum("p,pnd,pn,pe->de", y - mean @ best, centred, centred @ best, z[:, -1]) / z.shape[1] / len(y)
    return MeanToken(
        best=best,
        eigenvalues=eigenvalues,
        parts=parts,
        floor=float(np.mean(y**2) - np.sum(parts)),
        drive=drive,
    )


def softmax_panel(sequences: int) -> Panel:
    """Values learn from the mean token at once; then keys and queries grow together, at a rate that this sets."""
    data = uncentred_context(sequences, key=jax.random.key(11))
    model = TwoLayer(SoftmaxAttention(inputs=2), width=HEADS, scale=SCALE, key=seed_key(0))
    stairs = staircase(model, mean_squared_error, data, 120.0, save_times=np.linspace(0, 2.0, 101)[1:])
    theory, flow = mean_token(*data), stairs.flow
    expected = theory.losses(flow.ts, HEADS)

    def draw(ax: Any) -> None:
        stairs.draw(ax, (1.0, theory.floor / flow.losses[0]))
        ax.plot(flow.ts, expected / flow.losses[0], ":", color="k", lw=1)
        ax.set_xlim(-2, flow.ts[-1])

    checks = _checks(stairs, theory, expected)
    return Panel(
        title="A softmax attention, order 0",
        draw=draw,
        data=stairs.data | {"closed": expected},
        checks=checks,
        note=NOTE,
    )


def _checks(stairs: Staircase, theory: MeanToken, expected: np.ndarray) -> tuple[Check, ...]:
    flow = stairs.flow
    left, sizes, right = np.linalg.svd(theory.drive)
    # Keys and queries come first in the flat parameters.
    norms = np.linalg.norm(flow.thetas[:, : 2 * flow.model_at_index(0).u.size], axis=1)
    early = norms < 1e-2
    keys, queries, values = (
        np.asarray(array).reshape(HEADS, -1) for array in flow.model_at_index(int(np.argmin(early))).parameters
    )
    half = theory.floor + np.sum(theory.parts) / 2
    halved = float(crossings(flow.ts[None], expected[None], half)[0])
    rate = growth_rate(flow.ts, norms, 1e-4, 1e-2)
    error = float(np.max(np.abs(flow.losses - expected)[early]) / flow.losses[0])
    spread = float(np.linalg.norm(values - values.mean(axis=0)) / np.linalg.norm(values))
    half_time = stairs.time_to(half / flow.losses[0])
    return (
        close("time to lose half of the mean token's share", halved, half_time, relative=0.01),
        at_most("largest |L(t) − closed form| / L(0) while keys are small", 1e-3, error),
        at_most("spread of the heads' values then, over their size", 1e-2, spread),
        close("growth rate of keys and queries", 2 * sizes[0] / HEADS, rate, relative=0.02),
        close("cosine of the keys with M's singular vector", 1.0, cosine(keys, left[:, 0]), absolute=1e-3),
        close("cosine of the queries with M's singular vector", 1.0, cosine(queries, right[0]), absolute=1e-3),
    )
