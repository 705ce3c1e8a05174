"""Samples of sequences that are made of all combinations of something: on what of it each token depends."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class SequenceGrid(eqx.Module):
    r"""A sample of P sequences as a grid of $P = n_1 n_2 \cdots$ combinations, and on which axes each token depends.

    Where a sample enumerates contexts, labels and queries, few of its P T tokens differ, and what a causal network
    computes at a token depends on the axes of the tokens up to it only. Arrays over the grid have an axis of length one
    where they do not depend on it; arithmetic on them is that on the sample, each number computed once.

    Attributes:
        shape: $n_1, n_2, \dots$.
        depends: for each token of a sequence, on which axes it depends.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    depends: tuple[tuple[bool, ...], ...] = eqx.field(static=True)

    @property
    def count(self) -> int:
        """The number P of sequences."""
        return math.prod(self.shape)

    @property
    def states(self) -> int:
        """The number of different tokens with what precedes them: what a causal network computes."""
        reached = np.logical_or.accumulate(np.array(self.depends), axis=0)
        return int(np.sum(np.prod(np.where(reached, self.shape, 1), axis=1)))

    def __str__(self) -> str:
        sizes = [math.prod(n for n, on in zip(self.shape, axes, strict=True) if on) for axes in self.depends]
        shape, values = " × ".join(map(str, self.shape)), ", ".join(map(str, sizes))
        return f"grid of {shape} sequences, whose tokens take {values} values"

    def tokens(self, x: Float[Array, "P T D"]) -> tuple[Float[Array, "..."], ...]:
        """The tokens of a sample as arrays over the grid, one for each place in a sequence."""
        grid = x.reshape(*self.shape, *x.shape[1:])
        parts = []
        for place, axes in enumerate(self.depends):
            kept = tuple(slice(None) if on else slice(1) for on in axes)
            parts.append(grid[(*kept, place)])
        return tuple(parts)

    def flat(self, values: Float[Array, "..."]) -> Float[Array, "P k"]:
        """Values over the grid, one row for each sequence."""
        return jnp.broadcast_to(values, (*self.shape, values.shape[-1])).reshape(self.count, -1)


def sequence_grid(x: Float[Any, "P T D"]) -> SequenceGrid:
    """The grid of a sample, as far as its order shows it.

    Each token divides the sequences, in their order, into equal blocks of the same tokens up to it; the axes number
    blocks within the blocks of the token before. A sample without structure is a grid of one axis.

    Args:
        x: the sequences.

    Returns:
        The grid.
    """
    x = np.asarray(x)
    sizes, differs = [len(x)], np.zeros(len(x) - 1, dtype=bool)
    for place in range(x.shape[1]):
        differs |= np.any(x[1:, place] != x[:-1, place], axis=1)
        sizes.append(math.gcd(sizes[-1], *(np.flatnonzero(differs) + 1).tolist()))
    sizes.append(1)
    shape = tuple(a // b for a, b in zip(sizes[:-1], sizes[1:], strict=True) if a > b) or (1,)
    grid = x.reshape(*shape, *x.shape[1:])
    depends = tuple(
        tuple(bool(np.any(part != np.take(part, [0], axis=axis))) for axis in range(len(shape)))
        for part in (grid[..., place, :] for place in range(x.shape[1]))
    )
    return SequenceGrid(shape=shape, depends=depends)
