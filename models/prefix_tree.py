"""The different beginnings of a sample's sequences, at each of which a causal network computes something once."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int


class PrefixTree(eqx.Module):
    """The prefixes of the sequences of a sample, each with those that it begins with.

    What a causal network computes at a token depends on the tokens up to it only. Where many sequences begin in the
    same way there are fewer prefixes than tokens. They are numbered by length, so that the last ones are the different
    whole sequences.

    Attributes:
        length: tokens T of a sequence.
        lengths: of every prefix, from 1 to T.
        paths: the numbers of the prefixes of each prefix, from its first token to itself, and zeros beyond.
        firsts: the number of a token of the sample, counted through all sequences, at which each prefix ends.
        whole: for each sequence its number among the different ones.
    """

    length: int = eqx.field(static=True)
    # Arrays as bytes: what is static is compared and hashed at each call of a compiled function.
    _paths: bytes = eqx.field(static=True)
    _lengths: bytes = eqx.field(static=True)
    _firsts: bytes = eqx.field(static=True)
    _whole: bytes = eqx.field(static=True)

    @property
    def paths(self) -> Int[np.ndarray, "N T"]:
        """The numbers of the prefixes of each prefix."""
        return _array(self._paths).reshape(-1, self.length)

    @property
    def lengths(self) -> Int[np.ndarray, " N"]:
        """The number of tokens of each prefix."""
        return _array(self._lengths)

    @property
    def firsts(self) -> Int[np.ndarray, " N"]:
        """Where in the sample each prefix ends."""
        return _array(self._firsts)

    @property
    def whole(self) -> Int[np.ndarray, " P"]:
        """For each sequence its number among the different ones."""
        return _array(self._whole)

    @property
    def count(self) -> int:
        """The number N of prefixes."""
        return len(self._lengths) // _TYPE.itemsize

    @property
    def differing(self) -> int:
        """The number W of different sequences."""
        return int(np.sum(self.lengths == self.length))

    def __str__(self) -> str:
        sequences = len(self._whole) // _TYPE.itemsize
        return f"{sequences} sequences of {self.length} tokens with {self.count} different beginnings"

    def attended(self) -> tuple[Int[np.ndarray, "N T"], Bool[np.ndarray, "N T 1"]]:
        """The prefixes whose last tokens the last token of each prefix attends to, and which of these there are."""
        return self.paths, (np.arange(self.length) < self.lengths[:, None])[..., None]

    def tokens(self, x: Float[Any, "P T D"]) -> Float[Any, "N D"]:
        """The last tokens of all prefixes of a sample."""
        return x.reshape(-1, x.shape[-1])[self.firsts]


_TYPE = np.dtype(np.int32)


def _array(numbers: bytes) -> Int[np.ndarray, " n"]:
    return np.frombuffer(numbers, _TYPE)


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
    arrays = (array.astype(_TYPE).tobytes() for array in (paths, lengths, ends, within))
    return PrefixTree(length, *arrays)
