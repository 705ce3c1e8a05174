"""The different beginnings of a sample's sequences, at each of which a causal network computes something once."""

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int


# Compared by value, as what is static in a program must be, which arrays in an Equinox module are not.
@dataclass(frozen=True, eq=False)
class PrefixTree:
    """The prefixes of the sequences of a sample, each with those that it begins with.

    What a causal network computes at a token depends on the tokens up to it only. Where many sequences begin in the
    same way there are fewer prefixes than tokens. They are numbered by length, so that the last ones are the different
    whole sequences.

    Attributes:
        lengths: of every prefix, from 1 to T.
        paths: the numbers of the prefixes of each prefix, from its first token to itself, and zeros beyond.
        firsts: the number of a token of the sample, counted through all sequences, at which each prefix ends.
        whole: for each sequence its number among the different ones.
    """

    lengths: Int[np.ndarray, " N"]
    paths: Int[np.ndarray, "N T"]
    firsts: Int[np.ndarray, " N"]
    whole: Int[np.ndarray, " P"]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrefixTree) and all(map(np.array_equal, astuple(self), astuple(other)))

    def __hash__(self) -> int:
        return hash((self.paths.tobytes(), self.firsts.tobytes()))

    @property
    def count(self) -> int:
        """The number N of prefixes."""
        return len(self.lengths)

    @property
    def differing(self) -> int:
        """The number of different sequences."""
        return int(np.sum(self.lengths == self.paths.shape[1]))

    def __str__(self) -> str:
        length = self.paths.shape[1]
        return f"{len(self.whole)} sequences of {length} tokens with {self.count} different beginnings"

    def attended(self) -> tuple[Int[np.ndarray, "N T"], Bool[np.ndarray, "N T 1"]]:
        """The prefixes whose last tokens the last token of each prefix attends to, and which of these there are."""
        return self.paths, (np.arange(self.paths.shape[1]) < self.lengths[:, None])[..., None]

    def tokens(self, x: Float[Any, "P T D"]) -> Float[Any, "N D"]:
        """The last tokens of all prefixes of a sample."""
        return x.reshape(-1, x.shape[-1])[self.firsts]


def prefix_tree(x: Float[Any, "P T D"]) -> PrefixTree:
    """The prefixes of a sample.

    Args:
        x: the sequences.

    Returns:
        The tree.
    """
    x = np.asarray(x)
    sequences, length, _ = x.shape
    tokens = np.unique(x.reshape(sequences * length, -1), axis=0, return_inverse=True)[1].reshape(sequences, length)
    # The prefix of each length of each sequence, by number.
    numbers, firsts, count = np.zeros((sequences, length), int), [], 0
    within = np.zeros(sequences, int)
    for place in range(length):
        both = within * (np.max(tokens) + 1) + tokens[:, place]
        _, first, within = np.unique(both, return_index=True, return_inverse=True)
        numbers[:, place] = count + within
        firsts.append(first * length + place)
        count += len(first)
    ends = np.concatenate(firsts)
    lengths = ends % length + 1
    paths = np.where(np.arange(length) < lengths[:, None], numbers[ends // length], 0)
    return PrefixTree(lengths=lengths, paths=paths, firsts=ends, whole=within)
