"""Formulas of attention-only transformers, with their assumptions checked."""

import numpy as np
import scipy
from jaxtyping import Float

from ....flows import Landscape
from ....flows.losses.cross_entropy import cross_entropy
from ....flows.losses.prefix_cross_entropy import PrefixCrossEntropy
from ....models import AttentionOnly
from ...numerical_rank import MAP_TOLERANCE, numerical_rank
from ..closed_forms.in_context_classification import classification_levels
from ..prediction import NotApplicable, Values, formula
from .setting import SMALL

# Probabilities that are equal up to rounding.
EQUAL = 1e-12


def _sample(landscape: Landscape) -> tuple[AttentionOnly, np.ndarray, np.ndarray]:
    """Model, tokens and distributions of answers."""
    model = landscape.model
    if not isinstance(model, AttentionOnly):
        raise NotApplicable(f"the model is a {type(model).__name__}, not an attention-only transformer")
    known = landscape.loss is cross_entropy or isinstance(landscape.loss, PrefixCrossEntropy)
    if not known or len(landscape.data) != 2:
        raise NotApplicable("the loss is not the cross-entropy of a sample without weights")
    x, y = (np.asarray(array) for array in landscape.data)
    if y.shape != (len(x), model.outputs):
        raise NotApplicable("the targets are not one distribution for each sequence")
    return model, x, y


def _require_small(landscape: Landscape) -> None:
    """Requires initial weights at which the loss is that of zero weights, to the share `SMALL`."""
    theta = landscape.theta
    here, zero = float(landscape.value(theta)), float(landscape.value(0 * theta))
    if abs(here - zero) > SMALL * abs(zero):
        raise NotApplicable(f"the initial weights are not small: the loss is {here:.4g} with them, {zero:.4g} without")


@formula(
    name="attention-only origin",
    source="second-order expansion in output and value, as Theorem 4 of Zhang, Saxe & Latham (2025)",
    assumptions="attention-only transformer, cross-entropy of distributions, small start",
)
def origin(landscape: Landscape) -> Values:
    r"""Index, nullity and rates of the critical point of zero weights.

    There $L = L_0 - \sum_h \mathrm{tr}(G^\top O_h V_h) + O(\theta^4)$ with the rows of $O_h$ that are read,
    $G = E[(y - p_0)\, \bar x^\top]$ and the mean $\bar x$ of the tokens, over the heads of all layers that write to the
    outputs: the last one alone in a disentangled transformer. A singular value σ of G makes two eigenvalues ± σ for
    each row of a value.

    Args:
        landscape: of the transformer.

    Returns:
        The singular values of G, and index and nullity of the Hessian at zero weights.
    """
    model, x, y = _sample(landscape)
    _require_small(landscape)
    logits = np.zeros_like(y) if model.disentangled else x[:, -1, : model.outputs]
    slopes = y - scipy.special.softmax(logits, axis=1)
    # What is appended to tokens is zero there.
    cross: Float[np.ndarray, "L D"] = slopes.T @ x.mean(axis=1) / len(x)
    writing = model.layers[-1:] if model.disentangled else model.layers
    rows = sum(layer.value.shape[0] * layer.value.shape[1] for layer in writing)
    values = np.linalg.svd(cross, compute_uv=False)
    rank = numerical_rank(values, MAP_TOLERANCE)
    size = landscape.theta.size
    return {"rates": values[:rank], "index": rows * rank, "nullity": size - 2 * rows * rank}


@formula(
    name="in-context classification levels",
    source="Reddy (2024); Singh et al. (2024)",
    assumptions="attention-only transformer on pairs of item and label, small start",
)
def levels(landscape: Landscape) -> Values:
    """Plateau losses: uniform over all labels, uniform over the labels in context, the query's label."""
    model, x, y = _sample(landscape)
    _require_small(landscape)
    count, length = model.outputs, x.shape[1]
    if length < 3 or length % 2 == 0:
        raise NotApplicable(f"sequences of {length} tokens are not pairs and a query")
    named = x[:, 1:-1:2, :count]
    context = named.sum(axis=1)
    if not (np.all(named.sum(axis=2) == 1) and np.all((context == 0) | (context == 1))):
        raise NotApplicable("the leading entries of every second token do not name a label of its own")
    noise = float(count * y.min())
    answers = y - noise / count
    right = answers > EQUAL
    if not (np.all(right.sum(axis=1) == 1) and np.ptp(answers[right]) <= EQUAL and np.all(context[right] == 1)):
        raise NotApplicable("the answers are not one label of the context each, with noise over all labels")
    return {"levels": classification_levels(count, (length - 1) // 2, noise)}
