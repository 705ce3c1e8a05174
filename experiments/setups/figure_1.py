"""The six two-layer set-ups of Figure 1B–G of Zhang, Saxe & Latham (2025).

All minimise the squared error averaged over samples and outputs. Where the printed setting does not reproduce the
published curve, the one that does is used; each function says so.
"""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from ...analysis import theory
from ...flows import in_context_population, linear_population, mean_squared_error
from ...flows.losses.statistics import SufficientStatistics
from ...models import Convolution, Dense, LinearAttention, linear, quadratic, relu
from ..data.synthetic import Pair, gaussian_inputs, in_context_regression
from .experiment import Experiment, two_layer

# Their sampling error is four per cent of fourth moments.
SAMPLES = 8192
LINEAR_COVARIANCE = np.array([[1.0, 1.0], [1.0, 4.0]])
CONVOLUTION_VARIANCES = np.array([1.0, 1.0, 2.0, 1.0])
CONVOLUTION_TARGET = np.array([1.0, 1.0, -1.0, 1.0]) / np.sqrt(5)
ATTENTION_CONTEXT = 31
ATTENTION_EIGENVALUES = (0.5, 0.5)


def linear_data(key: PRNGKeyArray) -> Pair:
    r"""$x \sim N(0, [[1, 1], [1, 4]])$, $y = \hat\Sigma_{xx}^{-1/2} x$.

    The paper does not print the target. Its curve, with a plateau at half of the initial loss, requires white targets.
    They are white on the sample: with the population's $\Sigma_{xx}^{-1/2}$ the two modes would be tied up to sampling
    noise, and that noise would decide which saddle the sample has in the nearly flat valley between them.

    Returns:
        Inputs and targets.
    """
    x = gaussian_inputs(SAMPLES, LINEAR_COVARIANCE, key=key)
    values, vectors = np.linalg.eigh(x.T @ x / SAMPLES)
    return jax.device_put((x, x @ (vectors / np.sqrt(values)) @ vectors.T))


def linear_statistics() -> SufficientStatistics:
    r"""`linear_data` of infinitely many samples: $y = \Sigma_{xx}^{-1/2} x$."""
    values, vectors = np.linalg.eigh(LINEAR_COVARIANCE)
    return linear_population(LINEAR_COVARIANCE, (vectors / np.sqrt(values)) @ vectors.T, weight=0.5)


def linear_convolution_data(key: PRNGKeyArray) -> Pair:
    r"""$x \sim N(0, diag(1, 1, 2, 1))$, $y = w^* \cdot x$, $w^* = (1, 1, -1, 1)/\sqrt 5$."""
    x = gaussian_inputs(SAMPLES, np.diag(CONVOLUTION_VARIANCES), key=key)
    return jax.device_put((x, x @ CONVOLUTION_TARGET[:, None]))


def relu_data(key: PRNGKeyArray | None = None) -> Pair:
    """Two orthogonal points, (1, ½) ↦ 1 and (−1, 2) ↦ −1, as in Boursier et al. (2022), Figure 3; no key is used."""
    del key
    return jax.device_put((np.array([[1.0, 0.5], [-1.0, 2.0]]), np.array([[1.0], [-1.0]])))


def relu_convolution_data(key: PRNGKeyArray | None = None) -> Pair:
    """Four points on the axes with the covariance and target of the linear convolution; no key is used."""
    del key
    x = np.diag(2 * np.sqrt(CONVOLUTION_VARIANCES))
    return jax.device_put((x, x @ CONVOLUTION_TARGET[:, None]))


def attention_data(key: PRNGKeyArray) -> tuple[tuple[Array, Array], Array]:
    r"""In-context linear regression: $w \sim N(0, I)$ per sequence, $x \sim N(0, I/2)$, 31 examples and a query.

    The paper prints $N(0, I)$ and 32; the drop times and head norms of its animation are those of the normalised
    covariance and of sequences of 32 tokens with the query counted, as in the authors' earlier work (Zhang, Singh,
    Latham & Saxe 2025).

    Returns:
        What attention reads of each sequence, and the query's target.
    """
    return in_context_regression(np.diag(ATTENTION_EIGENVALUES), ATTENTION_CONTEXT, SAMPLES, key=key)


def attention_statistics() -> SufficientStatistics:
    """`attention_data` of infinitely many samples."""
    return in_context_population(np.diag(ATTENTION_EIGENVALUES), ATTENTION_CONTEXT)


def quadratic_data(key: PRNGKeyArray) -> Pair:
    r"""$x \sim N(0, I_2)$, $y \propto \|x\|^2$ with unit second moment on the sample.

    The paper prints the unnormalised target, whose drops come two to three times as early as in its animation and
    whose final weights are larger than drawn there; the normalised one matches both.

    Returns:
        Inputs and targets.
    """
    x = gaussian_inputs(SAMPLES, np.eye(2), key=key)
    y = np.sum(x**2, axis=1, keepdims=True)
    return jax.device_put((x, y / np.sqrt(np.mean(y**2))))


def _windows_levels(architecture: Convolution) -> Callable[[Pair], tuple[float, ...]]:
    def levels(data: Pair) -> tuple[float, ...]:
        x, y = data
        return theory.windowed_levels(np.asarray(architecture.windows(np.asarray(x))), np.asarray(y)[:, 0])

    return levels


_linear_convolution = Convolution(linear, inputs=4, kernel=2, stride=2)
_relu_convolution = Convolution(relu, inputs=4, kernel=2, stride=2)

# Horizons: twice what the slowest of several seeds needed to converge.
SETUPS = (
    Experiment(
        name="linear",
        make_model=two_layer(Dense(linear, inputs=2, outputs=2)),
        width=50,
        scale=1e-6,
        t1=40.0,
        make_data=linear_data,
        loss=mean_squared_error,
        levels=lambda data: theory.lemma6_levels(np.asarray(data[0]), np.asarray(data[1]), weight=1 / data[1].shape[1]),
    ),
    Experiment(
        name="linear-conv",
        make_model=two_layer(_linear_convolution),
        width=50,
        scale=1e-6,
        t1=40.0,
        make_data=linear_convolution_data,
        loss=mean_squared_error,
        levels=_windows_levels(_linear_convolution),
    ),
    Experiment(
        name="relu",
        make_model=two_layer(Dense(relu, inputs=2, outputs=1)),
        width=50,
        scale=1e-6,
        t1=40.0,
        make_data=relu_data,
        loss=mean_squared_error,
        levels=lambda data: theory.orthogonal_relu_levels(np.asarray(data[0]), np.asarray(data[1])[:, 0]),
    ),
    Experiment(
        name="relu-conv",
        make_model=two_layer(_relu_convolution),
        width=50,
        scale=1e-6,
        t1=40.0,
        make_data=relu_convolution_data,
        loss=mean_squared_error,
        levels=_windows_levels(_relu_convolution),
    ),
    Experiment(
        name="attention",
        make_model=two_layer(LinearAttention(inputs=2, rank=1)),
        width=10,
        scale=5e-3,
        t1=100.0,
        make_data=attention_data,
        loss=mean_squared_error,
        levels=lambda data: theory.linear_attention_levels(ATTENTION_EIGENVALUES, ATTENTION_CONTEXT),
    ),
    Experiment(
        name="quadratic",
        make_model=two_layer(Dense(quadratic, inputs=2, outputs=1)),
        width=10,
        scale=5e-3,
        t1=150.0,
        make_data=quadratic_data,
        loss=mean_squared_error,
        levels=lambda data: theory.isotropic_quadratic_levels(inputs=2),
    ),
)
