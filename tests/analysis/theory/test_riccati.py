"""Generic alignment in closed form: the matrix Riccati solution of two-layer linear networks.

Fukumizu (1998); Braun et al. (2022); Dominé et al. (2024) for λ-balanced weights. Q = [W1ᵀ; W2] obeys
Q' = FQ − ½QQᵀQ, so that M = QQᵀ has the solution composed here from short exact steps.
"""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.flows import half_squared_error, simulate
from saddlescope.models import Dense, TwoLayer, linear
from saddlescope.models.units import with_units
from scipy.linalg import expm, sqrtm

TIMES = np.array([0.5, 2.0, 5.0, 10.0])


def riccati(q, f, times):
    """M(t) = QQᵀ by exact steps Q ← e^{Fh} Q [I + QᵀDQ]^{−1/2}, D = ∫₀ʰ e^{2Fs} ds, with ‖F‖h ≤ 1."""
    size, result, now = len(f), [], 0.0
    for time in times:
        count = int(np.ceil((time - now) * np.linalg.norm(f, 2)))
        h = (time - now) / count
        # The integral as a block of one matrix exponential (Van Loan 1978).
        block = expm(h * np.block([[2 * f, np.eye(size)], [np.zeros((size, 2 * size))]]))
        integral, step = block[:size, size:], expm(f * h)
        for _ in range(count):
            q = step @ q @ np.linalg.inv(np.real(sqrtm(np.eye(q.shape[1]) + q.T @ integral @ q)))
        result.append(q @ q.T)
        now = time
    return result


def balanced_weights(inputs, width, outputs, imbalance, random):
    """Random W1, W2 of size 0.1 with W2ᵀW2 − W1W1ᵀ = λI."""
    if imbalance > 0:
        w1 = 0.1 * random.standard_normal((width, inputs))
        frame = np.linalg.qr(random.standard_normal((outputs, width)))[0]
        return w1, frame @ np.real(sqrtm(w1 @ w1.T + imbalance * np.eye(width)))
    w2 = 0.1 * random.standard_normal((outputs, width))
    frame = np.linalg.qr(random.standard_normal((inputs, width)))[0]
    return np.real(sqrtm(w2.T @ w2 - imbalance * np.eye(width))) @ frame.T, w2


@pytest.mark.parametrize(
    ("inputs", "width", "outputs", "imbalance"),
    [(3, 3, 3, 0.0), (5, 2, 3, 0.0), (3, 2, 4, 0.3), (4, 3, 4, 0.0), (4, 3, 2, -0.2)],
)
@pytest.mark.fast_for("3-3-3-0.0")
def test_gram_blocks(inputs, width, outputs, imbalance):
    random = np.random.default_rng(inputs + 10 * width + 100 * outputs)
    target = random.standard_normal((outputs, inputs))
    w1, w2 = balanced_weights(inputs, width, outputs, imbalance, random)
    np.testing.assert_allclose(w2.T @ w2 - w1 @ w1.T, imbalance * np.eye(width), atol=1e-12)
    f = np.block(
        [[-imbalance / 2 * np.eye(inputs), target.T], [target, imbalance / 2 * np.eye(outputs)]],
    )
    model = with_units(
        TwoLayer(Dense(linear, inputs=inputs, outputs=outputs), width=width, scale=1.0, key=jax.random.key(0)),
        jnp.asarray(w1),
        jnp.asarray(w2.T),
    )
    x = np.sqrt(inputs) * np.eye(inputs)
    data = jnp.asarray(x), jnp.asarray(x @ target.T)
    flow = simulate(
        model, half_squared_error, data, t1=10.0, save_times=TIMES, solver=dfx.Dopri8(), rtol=1e-12, atol=1e-15
    )
    for time, expected in zip(TIMES, riccati(np.vstack([w1.T, w2]), f, TIMES), strict=True):
        end = flow.model_at_index(int(np.searchsorted(flow.ts, time)))
        q = np.vstack([np.asarray(end.u).T, np.asarray(end.v).T])
        np.testing.assert_allclose(q @ q.T, expected, atol=1e-9)
