"""The cross-entropy of logits, on labels or distributions of labels, with weights of the samples."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .declaration import declares

# Inputs, targets, and weights where there are any.
Data = tuple[Any, Any] | tuple[Any, Any, Float[Any, "P *places"]]


def least_cross_entropy(data: Data) -> float:
    """The entropy of the targets, which no logits undercut: zero for labels."""
    if _are_labels(data[1]):
        return 0.0
    y = np.asarray(data[1])
    entropies = -np.sum(y * np.log(np.where(y > 0, y, 1.0)), axis=-1)
    # As a difference of sums of the same terms a rounded loss may lie below: never by more than their rounding.
    slack = 8 * float(np.finfo(entropies.dtype).eps)
    return float(_average(entropies, data, np)) * (1 - slack)


@declares(lower_bound=least_cross_entropy, convex=True)
def cross_entropy(model: Any, data: Data) -> Float[Array, ""]:
    r"""$L = \sum_\mu w_\mu\, H(y_\mu, \mathrm{softmax} f(x_\mu)) / \sum_\mu w_\mu$, $H(y, p) = -\sum_c y_c \ln p_c$.

    Scalar function of (model, data), for `simulate(model, cross_entropy, (x, y), t1=100.0)`. It is convex in the
    logits f, with second derivatives $\mathrm{diag}(p) - p p^\top$. Where a model can tell the labels apart without
    error, it has no minimum: it falls towards zero while the logits grow.

    Args:
        model: function of one input (no batch axis) with values of shape (…, classes), such as logits at every token.
        data: inputs with the samples on the first axis; targets, either integer labels of shape (P, …) or distributions
            of labels of shape (P, …, classes), each with sum one; and optionally weights $w \ge 0$ of shape (P, …),
            where zero masks a sample (or a token).

    Returns:
        The loss. Logits, targets and weights that do not fit to each other raise a `ValueError`.
    """
    logits = jax.vmap(model)(data[0])
    return _average(sample_cross_entropy(logits, _targets(logits, data[1])), data, jnp)


def sample_cross_entropy(logits: Float[Any, "... C"], y: Float[Any, "... C"]) -> Float[Array, "..."]:
    r"""$H(y, \mathrm{softmax} f)$ of logits f and distributions y on the last axis."""
    # In differences from the largest logit: ln(1 + small) keeps its digits where one label has nearly all probability.
    largest = jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=logits.dtype)
    shifted = logits - jnp.sum(largest * logits, axis=-1, keepdims=True)
    others = jnp.sum((1 - largest) * jnp.exp(shifted), axis=-1)
    return jnp.log1p(others) - jnp.sum(y * shifted, axis=-1)


def cross_entropy_rows(logits: Float[Any, " C"], jacobian: Float[Any, "C n"]) -> Float[Array, "C n"]:
    r"""$F J$ with $F^\top F = \mathrm{diag}(p) - p p^\top$ at $p = \mathrm{softmax} f$, for one sample.

    $F = (I - s s^\top)\, \mathrm{diag}(s)$ with $s = \sqrt p$, as $s s^\top$ is a projection.

    Args:
        logits: f.
        jacobian: J.

    Returns:
        The product.
    """
    s = jnp.exp(jax.nn.log_softmax(logits) / 2)[:, None]
    scaled = s * jacobian
    return scaled - s * (s.T @ scaled)


def _targets(logits: Float[Any, "P *places C"], y: Any) -> Any:
    """The distributions of labels, with shapes checked."""
    if _are_labels(y):
        if y.shape != logits.shape[:-1]:
            raise ValueError(f"the logits have shape {logits.shape} but the labels have shape {y.shape}.")
        return jax.nn.one_hot(y, logits.shape[-1], dtype=logits.dtype)
    if y.shape != logits.shape:
        raise ValueError(f"the logits have shape {logits.shape} but the distributions have shape {y.shape}.")
    return y


def _are_labels(y: Any) -> bool:
    return bool(jnp.issubdtype(y.dtype, jnp.integer))


def _average(values: Any, data: Data, xp: Any) -> Any:
    """The mean over samples (and places), with the weights in the data where there are any."""
    if len(data) == 2:
        return xp.mean(values)
    weights = data[2]
    if weights.shape != values.shape:
        raise ValueError(f"weights must have shape {values.shape}, one for each answer; got {weights.shape}.")
    return xp.sum(weights * values) / xp.sum(weights)
