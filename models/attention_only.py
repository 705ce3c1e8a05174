"""Attention-only transformers: layers of causal softmax attention on a residual stream, without MLPs."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from .arguments import check_key, check_scale, check_sizes
from .initialisation import normal_arrays, split_key
from .prefix_tree import PrefixTree


class AttentionLayer(eqx.Module):
    r"""One layer of causal softmax attention, $x_t \mapsto \sum_h O_h \sum_{s \le t} a^h_{ts} V_h x_s$.

    $a^h_{ts} \propto \exp((Q_h x_t) \cdot (K_h x_s))$, normalised over $s \le t$.

    Args:
        width: entries D of a token, at least 1.
        heads: number H of heads, at least 1.
        rank: rows r of query, key and value of a head, at least 1.
        scale: standard deviation of the entries, drawn from $N(0, \varepsilon^2)$.
        key: random key.

    Attributes:
        query: $Q_h$.
        key: $K_h$.
        value: $V_h$.
        output: $O_h$.
    """

    query: Float[Array, "H r D"]
    key: Float[Array, "H r D"]
    value: Float[Array, "H r D"]
    output: Float[Array, "H D r"]

    def __init__(self, *, width: int, heads: int, rank: int, scale: float, key: PRNGKeyArray):
        check_sizes(width=width, heads=heads, rank=rank)
        check_scale(scale)
        check_key(key)
        down, up = (heads, rank, width), (heads, width, rank)
        self.query, self.key, self.value, self.output = normal_arrays(key, (down, down, down, up), scale)

    def __str__(self) -> str:
        heads, rank, width = self.query.shape
        return f"attention layer of {heads} heads of rank {rank}, tokens of {width} entries"

    def pattern(self, x: Float[Any, "T D"], last: bool = False) -> Float[Array, "H t T"]:
        """The attention $a^h_{ts}$ of every head.

        Args:
            x: the tokens of one sequence.
            last: whether only the last token attends; by default all do.

        Returns:
            Attention by head, attending token and attended token; every row sums to one.
        """
        attending = x[-1:] if last else x
        queries = jnp.einsum("hrd,td->htr", self.query, attending)
        scores = jnp.einsum("htr,hsr->hts", queries, jnp.einsum("hrd,sd->hsr", self.key, x))
        if not last:
            scores = jnp.where(jnp.tri(len(x), dtype=bool), scores, -jnp.inf)
        return jax.nn.softmax(scores, axis=-1)

    def __call__(self, x: Float[Any, "T D"], last: bool = False) -> Float[Array, "t D"]:
        """What the heads write, at all tokens or at the last one.

        Args:
            x: the tokens of one sequence.
            last: whether only what is written at the last token is computed; by default all is.

        Returns:
            The sum over heads, a row for each token.
        """
        values = jnp.einsum("hrd,sd->hsr", self.value, x)
        read = jnp.einsum("hts,hsr->htr", self.pattern(x, last), values)
        return jnp.einsum("hdr,htr->td", self.output, read)

    def among(
        self,
        x: Float[Array, "N D"],
        attending: Int[Any, " M"] | slice,
        attended: Int[Any, "M T"],
        visible: Bool[Any, "M T 1"] | None = None,
        rows: int | None = None,
    ) -> Float[Array, "M d"]:
        """The same for many sequences that share tokens.

        Args:
            x: all tokens.
            attending: the numbers of those that attend.
            attended: the numbers of those to which each of them may attend.
            visible: to which of these it does, by default to all.
            rows: the number of leading entries of what is written, by default all.

        Returns:
            What is written at the attending tokens.
        """
        queries = jnp.einsum("hrd,nd->nhr", self.query, x[attending])
        keys, values = (jnp.einsum("hrd,nd->nhr", matrix, x)[attended] for matrix in (self.key, self.value))
        # As a sum of products: compilers make slow loops of many small matrix products.
        scores = jnp.sum(queries[:, None] * keys, axis=-1)
        scores = scores if visible is None else jnp.where(visible, scores, -jnp.inf)
        read = jnp.sum(jax.nn.softmax(scores, axis=1)[..., None] * values, axis=1)
        return jnp.einsum("hdr,nhr->nd", self.output[:, :rows], read)


class AttentionOnly(eqx.Module):
    r"""A transformer of attention layers alone, which answers at the last token of a sequence.

    Tokens come embedded in D entries, such as one-hot content and one-hot position in disjoint entries; no embedding is
    learned. A layer adds what its heads write to the tokens; in a disentangled transformer it appends it, so that
    tokens are twice as long after each layer. The outputs are the first entries of the last token after the last layer,
    or of what that layer appended.

    Args:
        width: entries D of a token, at least 1.
        heads: number of heads in each layer, at least 1.
        rank: rows of query, key and value of a head, at least 1.
        layers: number of layers, at least 1; by default two.
        disentangled: whether layers append what they write; by default they add it.
        outputs: number of leading entries that are read, from 1 to D.
        scale: standard deviation $\varepsilon \ge 0$ of all entries, drawn from $N(0, \varepsilon^2)$.
        key: random key.

    Raises:
        ValueError: for a size below 1, more outputs than entries, or a scale that is negative or not finite.

    Source: Elhage et al. (2021); Reddy (2024) for one-hot positions in entries of their own; Nichani, Damian & Lee
    (2024) for disentangled transformers.
    """

    layers: tuple[AttentionLayer, ...]
    outputs: int = eqx.field(static=True)
    disentangled: bool = eqx.field(static=True)

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        rank: int,
        layers: int = 2,
        disentangled: bool = False,
        outputs: int,
        scale: float,
        key: PRNGKeyArray,
    ):
        check_sizes(width=width, layers=layers, outputs=outputs)
        check_key(key)
        if outputs > width:
            raise ValueError(f"outputs are entries of a token: at most width = {width}; got {outputs}.")
        keys = split_key(key, layers)
        widths = [width * (2**k if disentangled else 1) for k in range(layers)]
        self.layers = tuple(
            AttentionLayer(width=d, heads=heads, rank=rank, scale=scale, key=k)
            for d, k in zip(widths, keys, strict=True)
        )
        self.outputs, self.disentangled = outputs, disentangled

    def __str__(self) -> str:
        size = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self, eqx.is_inexact_array)))
        lines = [f"attention-only transformer with {size} parameters and {self.outputs} outputs"]
        return "\n  ".join([*lines, *map(str, self.layers)])

    def __call__(self, x: Float[Any, "T D"]) -> Float[Array, " outputs"]:
        """The logits at the last token of one sequence (no batch axis)."""
        for layer in self.layers[:-1]:
            x = self._after(x, layer(x))
        written = self.layers[-1](x, last=True)[0, : self.outputs]
        return written if self.disentangled else x[-1, : self.outputs] + written

    def on_prefixes(self, x: Float[Array, "P T D"], tree: PrefixTree) -> Float[Array, "P outputs"]:
        """The logits of all sequences of a sample, what several of them share being computed once.

        Args:
            x: the sequences.
            tree: their `prefix_tree`.

        Returns:
            One row for each sequence.
        """
        tokens, (paths, visible) = tree.tokens(x), tree.attended()
        for layer in self.layers[:-1]:
            tokens = self._after(tokens, layer.among(tokens, slice(None), paths, visible))
        last = slice(-tree.differing, None)
        written = self.layers[-1].among(tokens, last, paths[last], rows=self.outputs)
        return (written if self.disentangled else tokens[last, : self.outputs] + written)[tree.whole]

    def patterns(self, x: Float[Any, "T D"]) -> tuple[Float[Array, "H T T"], ...]:
        """The attention pattern of every layer on one sequence."""
        patterns = ()
        for layer in self.layers:
            patterns = (*patterns, layer.pattern(x))
            x = self._after(x, layer(x))
        return patterns

    def _after(self, x: Float[Any, "T D"], written: Float[Array, "T D"]) -> Float[Array, "T E"]:
        """The tokens after a layer."""
        if not self.disentangled:
            return x + written
        return jnp.concatenate([x, written], axis=-1)
