"""An induction head of three parameters: attention to the token before, to what matches the query, and copying."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ...models.units import as_jax


class InductionCircuit(eqx.Module):
    r"""Two attention layers with one parameter each, and a third for what is copied to the outputs.

    The first layer attends to the token before with score α and appends the items that it reads; the query attends to a
    token with score β times the share of its own item in what was appended there; the output is γ times the attention
    to each label. This is an `AttentionOnly` transformer, disentangled, with weights that are the same for all items
    and for all labels and vanish elsewhere.

    Attributes:
        previous: α.
        matching: β.
        copying: γ.

    Source: Musat et al. (2025), "On the emergence of induction heads for in-context learning".
    """

    previous: Float[Any, ""]
    matching: Float[Any, ""]
    copying: Float[Any, ""]

    def __call__(self, data: "Contexts") -> Float[Array, "N N"]:
        """Logits of all labels in context, one row for each place of the query's pair; −∞ for labels that pad."""
        scores = jnp.where(data.attended, self.previous * data.before, -jnp.inf)
        shares = jax.nn.softmax(scores, axis=1)
        matches = data.items @ shares.T
        attention = jax.nn.softmax(jnp.where(data.tokens, self.matching * matches, -jnp.inf), axis=1)
        return jnp.where(data.pairs, self.copying * attention[:, 1:-1:2], -jnp.inf)


class Contexts(eqx.Module):
    r"""Contexts of N pairs with different items and labels, one for each place of the query's pair, padded to a length.

    As nothing distinguishes items from each other, nor labels, these stand for all contexts.

    Attributes:
        items: 1 where a token is the query's item, by place of its pair and by token.
        attended: which tokens the first layer may attend to, row by row; itself, for tokens that pad.
        before: 1 at the token before each.
        tokens: which tokens there are.
        pairs: which pairs there are.
    """

    items: Float[Any, "N T"]
    attended: Bool[Any, "T T"]
    before: Float[Any, "T T"]
    tokens: Bool[Any, " T"]
    pairs: Bool[Any, " N"]


def contexts(pairs: int, *, room: int | None = None, causal: bool = True) -> Contexts:
    """The contexts of a number of pairs.

    Args:
        pairs: number N of pairs, and of labels, at least 2.
        room: number of pairs to which they are padded, by default none more; the last token is always the query.
        causal: whether the first layer attends to no later token.

    Returns:
        The contexts.

    Raises:
        ValueError: for fewer than two pairs, or less room than pairs.
    """
    room = pairs if room is None else room
    if not 2 <= pairs <= room:
        raise ValueError(f"a context needs two pairs and room for all; got {pairs} pairs and room for {room}.")
    length, count = 2 * room + 1, 2 * pairs
    place = np.where(np.arange(length) < count, np.arange(length), length)
    # The query follows the last pair, whatever pads stand between.
    place[-1] = count
    there, pad = place < length, np.eye(length, dtype=bool)
    attended = there[:, None] & there & ((place <= place[:, None]) | (not causal)) | (~there[:, None] & pad)
    items = (place == 2 * np.arange(room)[:, None]) | (np.arange(length) == length - 1)
    before = there[:, None] & there & (place == place[:, None] - 1)
    found = Contexts(
        items=items.astype(float),
        attended=attended,
        before=before.astype(float),
        tokens=there,
        pairs=np.arange(room) < pairs,
    )
    return jax.tree.map(as_jax, found)


def circuit_loss(model: InductionCircuit, data: Contexts) -> Float[Array, ""]:
    r"""The cross-entropy of the query's label, averaged over the places of its pair; $\ln N$ where γ = 0."""
    logits = model(data)
    entropies = jax.nn.logsumexp(logits, axis=1) - jnp.diagonal(logits)
    return jnp.sum(jnp.where(data.pairs, entropies, 0.0)) / jnp.sum(data.pairs)
