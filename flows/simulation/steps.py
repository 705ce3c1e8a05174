"""The record of accepted steps."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float


class Steps(eqx.Module):
    r"""Accepted steps: time, parameters, dissipated energy, loss and speed at the end of each.

    Attributes:
        ts: times $t$.
        thetas: flattened parameters θ, one row per step.
        energies: dissipated energies $\int_0^t \|\nabla L\|^2 ds$.
        losses: losses $L(\theta)$.
        speeds: speeds $\|\nabla L(\theta)\|$.
    """

    ts: Float[np.ndarray, " T"]
    thetas: Float[np.ndarray, "T n"]
    energies: Float[np.ndarray, " T"]
    losses: Float[np.ndarray, " T"]
    speeds: Float[np.ndarray, " T"]

    def __getitem__(self, index: Any) -> "Steps":
        return jax.tree.map(lambda array: array[index], self)

    def __len__(self) -> int:
        return len(self.ts)


# The order in which steps are packed into files.
FIELDS = tuple(field.name for field in dataclasses.fields(Steps))


def join(parts: Sequence[Any]) -> Any:
    """Concatenates records of the same kind along their leading axes."""
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
