"""In-context classification: item–label pairs and a query, whose label the context tells; all sequences, or some."""

import itertools
import math

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt

from ...models.quick import quickly_compiled

# Sequences up to which all are enumerated: 1 GB of one-hot tokens of 64 entries.
LARGEST = 400_000


class Classification(eqx.Module):
    r"""The task: N pairs of an item and its label, then an item of the context as a query, whose label is asked for.

    Items differ within a context and so do labels, which are drawn anew for each, so that weights can store nothing
    but the rule. A sequence has the tokens $x_1, \ell_1, \dots, x_N, \ell_N, x_q$. A token is one-hot: its first L
    entries name a label, the next K an item, the last 2N + 1 its position.

    Attributes:
        items: number K of items, at least N.
        labels: number L of labels, at least N.
        pairs: number N of pairs in context, at least 1; by default two.

    Raises:
        ValueError: for fewer items or labels than pairs, or no pair.

    Source: Singh et al. (2024) and Reddy (2024) for the task, Reddy (2024) for one-hot positions beside the content.
    """

    items: int = eqx.field(static=True)
    labels: int = eqx.field(static=True)
    pairs: int = eqx.field(static=True, default=2)

    def __check_init__(self) -> None:
        if not 1 <= self.pairs <= min(self.items, self.labels):
            raise ValueError(
                "a context needs at least one pair, and as many items and labels as pairs; got "
                f"{self.pairs} pairs, {self.items} items and {self.labels} labels."
            )

    @property
    def length(self) -> int:
        """Tokens of a sequence, 2N + 1."""
        return 2 * self.pairs + 1

    @property
    def width(self) -> int:
        """Entries of a token, L + K + 2N + 1."""
        return self.labels + self.items + self.length

    @property
    def count(self) -> int:
        """Number of all sequences: ordered choices of items and of labels, and the query's place."""
        return math.perm(self.items, self.pairs) * math.perm(self.labels, self.pairs) * self.pairs

    def __str__(self) -> str:
        return (
            f"in-context classification: {self.pairs} pairs of {self.items} items and {self.labels} labels, "
            f"{self.count} sequences of {self.length} tokens with {self.width} entries"
        )

    def sequences(self, sets: int | None = None, *, key: PRNGKeyArray | None = None) -> Int[np.ndarray, "P T"]:
        """Sequences of content, labels numbered from 0 and items from L on.

        Every set of items comes in all orders, with all labels and all queries, so that on a sample of sets, too, no
        item tells anything about labels or places.

        Args:
            sets: how many sets of N items, drawn without repetition; by default all.
            key: random key, needed for fewer than all.

        Returns:
            One sequence per row, set by set.

        Raises:
            ValueError: for more sets than there are, more sequences than can be held, none, or some without a key.
        """
        total = math.comb(self.items, self.pairs)
        sets = total if sets is None else sets
        room = LARGEST * total // self.count
        if not 1 <= sets <= min(total, room):
            raise ValueError(f"there are {total} sets of {self.pairs} items, and room for {room}; got {sets}.")
        chosen = np.arange(total)
        if sets < total:
            if key is None:
                raise ValueError(f"drawing {sets} of {total} sets of items needs a key.")
            chosen = _drawn(key, sets, total)
        of_items = np.array(list(itertools.combinations(range(self.items), self.pairs)))[chosen]
        orders = np.array(list(itertools.permutations(range(self.pairs))))
        labels = np.array(list(itertools.permutations(range(self.labels), self.pairs)))
        shape = sets, len(orders), len(labels), self.pairs
        k, order, named, asked = (number.ravel() for number in np.indices(shape))
        rows = np.empty((k.size, self.length), dtype=int)
        rows[:, 0:-1:2] = self.labels + of_items[k[:, None], orders[order]]
        rows[:, 1::2] = labels[named]
        rows[:, -1] = rows[np.arange(k.size), 2 * asked]
        return rows

    def tokens(self, sequences: Int[np.ndarray, "P T"]) -> Float[np.ndarray, "P T D"]:
        """The one-hot tokens of sequences."""
        position = self.labels + self.items + np.arange(self.length)
        tokens = np.zeros((*sequences.shape, self.width))
        sample, place = np.ogrid[: len(sequences), : self.length]
        tokens[sample, place, sequences] = tokens[sample, place, position] = 1.0
        return tokens

    def answers(self, sequences: Int[np.ndarray, "P T"]) -> Int[np.ndarray, " P"]:
        """The label of the query in each sequence."""
        asked = np.argmax(sequences[:, 0:-1:2] == sequences[:, -1:], axis=1)
        return sequences[np.arange(len(sequences)), 2 * asked + 1]

    def in_context(self, sequences: Int[np.ndarray, "P T"]) -> Float[np.ndarray, "P L"]:
        """One for each label of the context, zero for the others."""
        return np.eye(self.labels)[sequences[:, 1::2]].sum(axis=1)


def in_context_classification(
    task: Classification, sets: int | None = None, *, noise: float = 0.0, key: PRNGKeyArray | None = None
) -> tuple[Float[Array, "P T D"], Float[Array, "P L"]]:
    r"""Tokens and distributions of the answer, for `saddlescope.flows.cross_entropy`.

    The answer is the query's label with probability $1 - \eta$, else any of the L labels. The loss of all sequences is
    the exact population's, of noisy answers as well, since the distribution stands for the draws from it.

    Args:
        task: numbers of items, labels and pairs.
        sets: number of sets of items, drawn without repetition, of each of which all sequences are taken; by default
            all of them.
        noise: η, from 0 (the default) to 1. With noise the rules that the network passes through have finite logits,
            and the plateaus are critical points; without it they are approached as the weights grow without bound.
        key: random key, needed for fewer than all sets.

    Returns:
        Tokens of every sequence, and the probabilities of its labels.

    Raises:
        ValueError: for noise outside its range, or a number of sets that there is not.
    """
    if not 0 <= noise <= 1:
        raise ValueError(f"label noise is a probability; got {noise}.")
    rows = task.sequences(sets, key=key)
    answers = (1 - noise) * np.eye(task.labels)[task.answers(rows)] + noise / task.labels
    return jax.device_put((task.tokens(rows), answers))


def _drawn(key: PRNGKeyArray, count: int, total: int) -> Int[np.ndarray, " count"]:
    """`count` of the numbers below `total`, in rising order."""
    # NumPy draws without a permutation of all; the key only seeds it.
    seed = np.asarray(_words(key))
    return np.sort(np.random.default_rng(seed).choice(total, count, replace=False, shuffle=False))


@quickly_compiled
def _words(key: PRNGKeyArray) -> UInt[Array, " words"]:
    return jax.random.key_data(key)
