"""What an attention-only transformer computes in in-context classification, and which of its heads do it."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ...models.attention_only import AttentionOnly
from ...models.quick import quickly_compiled
from ...models.units import array_namespace
from .experiment import Remarks

# The rules in the order in which they are learned.
RULES = ("uniform over all labels", "uniform over the labels in context", "the query's label")
# Heads named in a sentence.
NAMED = 3


class Circuit(eqx.Module):
    r"""What a transformer of two layers computes, on average over sequences.

    Attributes:
        divergences: Kullback–Leibler divergence of its prediction from each of the `RULES`, in nats.
        right: probability of the query's label.
        in_context: probability of all labels in context, the query's included.
        induction: attention of the query to the label of its own pair, by head of the last layer.
        previous: attention of a label to the item before it, by head of the first layer.
        sizes: $\|O_h V_h\|_F$, the size of what a head writes, by layer and head.
    """

    divergences: Float[np.ndarray, " rules"]
    right: float
    in_context: float
    induction: Float[np.ndarray, " H"]
    previous: Float[np.ndarray, " H"]
    sizes: Float[np.ndarray, "layers H"]

    @property
    def rule(self) -> str:
        """The nearest of the `RULES`."""
        return RULES[int(np.argmin(self.divergences))]

    @property
    def values(self) -> dict[str, Any]:
        """Plain values for the record of a run."""
        return {
            "rule": self.rule,
            "divergences": dict(zip(RULES, self.divergences.tolist(), strict=True)),
            "probability_of_right_label": self.right,
            "probability_of_labels_in_context": self.in_context,
            "induction_attention": self.induction.tolist(),
            "previous_token_attention": self.previous.tolist(),
            "head_sizes": self.sizes.tolist(),
        }

    def __str__(self) -> str:
        return (
            f"computes {self.rule} (to {np.min(self.divergences):.2g} nats); right label {self.right:.3f}, "
            f"labels in context {self.in_context:.3f}; attention from query to the label of its pair up to "
            f"{np.max(self.induction):.2f}, from labels to the items before them up to {np.max(self.previous):.2f}"
        )


def circuit(model: AttentionOnly, data: tuple[Any, Any]) -> Circuit:
    """What a model computes on the sequences of `in_context_classification`.

    Args:
        model: a transformer of at least two layers.
        data: tokens of the sequences and distributions of their answers, with or without label noise.

    Returns:
        Prediction and attention, averaged over the sequences.
    """
    shares, divergences, induction, previous = (np.asarray(part) for part in _averages(model, data))
    sizes = [_sizes(layer.output, layer.value) for layer in model.layers]
    return Circuit(
        divergences=divergences,
        right=float(shares[0]),
        in_context=float(shares[1]),
        induction=induction,
        previous=previous,
        sizes=np.stack(sizes),
    )


def rules(data: tuple[Any, Any]) -> Float[Any, "rules P L"]:
    r"""The predictions of the `RULES` for every sequence, mixed with the uniform one as the answers are by noise.

    Args:
        data: tokens and distributions of the answers.

    Returns:
        Distributions by rule, sequence and label.
    """
    x, y = data
    labels = y.shape[1]
    context = x[:, 1:-1:2, :labels].sum(axis=1)
    # The answer is the only label whose probability exceeds η/L.
    noise = labels * y[0].min()
    context = (1 - noise) * context / context.sum(axis=1, keepdims=True) + noise / labels
    return array_namespace(y).stack([0 * y + 1 / labels, context, y])


def rule_losses(data: tuple[Any, Any]) -> tuple[float, ...]:
    r"""The cross-entropies of the `RULES`, without noise $\ln L$, $\ln N$ and 0 for L labels, N of them in context.

    Args:
        data: tokens and distributions of the answers.

    Returns:
        One loss for each rule.
    """
    y = np.asarray(data[1])
    predictions = rules((np.asarray(data[0]), y))
    logs = np.log(np.where(predictions > 0, predictions, 1.0))
    return tuple(float(-np.mean(np.sum(y * log, axis=1))) for log in logs)


def mean_patterns(model: AttentionOnly, data: tuple[Any, Any]) -> Float[np.ndarray, "layers H T T"]:
    """The attention of every head, averaged over the sequences whose query is the first item."""
    return np.asarray(_mean_patterns(model, data))


def distances(before: AttentionOnly, after: AttentionOnly) -> Float[np.ndarray, "layers H"]:
    """How far each head moved: the distance of its parameters in one model from those in another."""
    moved = jax.tree.map(lambda a, b: np.sum((np.asarray(a) - np.asarray(b)) ** 2, axis=(1, 2)), before, after)
    return np.sqrt(np.stack([sum(jax.tree.leaves(layer)) for layer in moved.layers]))


def remarks(models: tuple[AttentionOnly, ...], data: tuple[Any, Any]) -> Remarks:
    """What the models at the visits of a flow compute, and which heads moved on the way to them.

    Args:
        models: one for each visit.
        data: tokens and distributions of the answers.

    Returns:
        A sentence and plain values for each visit.
    """
    lines, values = [], []
    for number, model in enumerate(models):
        found = circuit(model, data)
        lines.append(f"Visit {number} {found}.")
        moved = None
        if number:
            moved = distances(models[number - 1], model)
            lines.append(f"Visits {number - 1} to {number}: {_most_moved(moved)}.")
        values.append({**found.values, "heads_moved": None if moved is None else moved.tolist()})
    return Remarks(lines=tuple(lines), values=tuple(values))


def _most_moved(moved: Float[np.ndarray, "layers H"]) -> str:
    order = np.argsort(-moved, axis=None)[:NAMED]
    places = [np.unravel_index(place, moved.shape) for place in order]
    named = ", ".join(f"{head + 1} of layer {layer + 1} ({moved[layer, head]:.2g})" for layer, head in places)
    return f"the heads that moved most are {named}"


def _sizes(output: Any, value: Any) -> Float[np.ndarray, " H"]:
    return np.linalg.norm(np.asarray(output) @ np.asarray(value), axis=(1, 2))


def _of_own_pair(x: Float[Array, "P T D"], labels: int) -> Bool[Array, "P N"]:
    """Which pair of each sequence has the query's item."""
    content = x[..., : x.shape[-1] - x.shape[-2]]
    return jnp.einsum("pnd,pd->pn", content[:, :-1:2], content[:, -1]) > 0.5


# Run once for each visit: optimising the code would take longer than it saves.
_once = functools.partial(quickly_compiled, by=eqx.filter_jit)


@_once
def _averages(model: AttentionOnly, data: tuple[Any, Any]) -> tuple[Array, ...]:
    x, y = data
    labels = y.shape[1]
    logs = jax.nn.log_softmax(jax.vmap(model)(x))
    predicted = jnp.exp(logs)
    own = _of_own_pair(x, labels)
    right = jnp.einsum("pn,pnl->pl", own, x[:, 1:-1:2, :labels])
    context = x[:, 1:-1:2, :labels].sum(axis=1)
    shares = jnp.stack([jnp.mean(jnp.sum(predicted * kind, axis=1)) for kind in (right, context)])
    expected = rules(data)
    divergences = jnp.mean(jnp.sum(jax.scipy.special.xlogy(expected, expected) - expected * logs, axis=2), axis=1)
    patterns = jax.vmap(model.patterns)(x)
    induction = jnp.mean(jnp.einsum("phn,pn->ph", patterns[-1][:, :, -1, 1:-1:2], own), axis=0)
    pairs = jnp.arange(own.shape[1])
    previous = jnp.mean(patterns[0][:, :, 2 * pairs + 1, 2 * pairs], axis=(0, 2))
    return shares, divergences, induction, previous


@_once
def _mean_patterns(model: AttentionOnly, data: tuple[Any, Any]) -> Float[Array, "layers H T T"]:
    x, y = data
    first = _of_own_pair(x, y.shape[1])[:, 0].astype(x.dtype)
    return jnp.stack([jnp.einsum("p,phts->hts", first, p) / first.sum() for p in jax.vmap(model.patterns)(x)])
