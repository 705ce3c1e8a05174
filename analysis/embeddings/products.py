"""Matrices that enter through their product within units, such as queries and keys: rows of little effect dropped."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from ...flows import flatten
from ...flows.landscapes.unit_positions import numbered, slot_positions
from ...models import Slot
from ...models.unit_axis import by_unit, from_units
from ...models.units import as_jax, declared_units, layers_of
from ..thresholds import STANDARD, Thresholds
from .width import SAME, EffectiveWidth

if TYPE_CHECKING:
    from scipy.sparse import csc_array


def reduce_products(model: Any, effective: Sequence[EffectiveWidth], *, thresholds: Thresholds = STANDARD) -> Any:
    r"""The model with matrices A and B, of which $A^\top B$ enters, reduced to the rank that they use.

    The rows of $[A\ B]$ act as linear units do: where a combination of them is zero in both, the gradient keeps it so.
    A unit's rows are projected on the singular vectors whose singular values exceed the threshold of its layer, if it
    is clear which ones do.

    Args:
        model: a model with declared units.
        effective: the effective widths of its layers, in any order; of these, layer and threshold are used.
        thresholds: `clear_gap`.

    Returns:
        The model, the same where no product is reduced.
    """
    for each in effective:
        for a, b in declared_units(model, each.layer).products:
            rows = [np.asarray(by_unit(slot.where(model), slot)) for slot in (a, b)]
            kept = [_used_rows(*pair, each.threshold, thresholds.clear_gap) for pair in zip(*rows, strict=True)]
            if any(projection is not None for projection in kept):
                model = _projected(model, a, rows[0], kept)
                model = _projected(model, b, rows[1], kept)
    return model


def _used_rows(
    a: Float[np.ndarray, "r a"], b: Float[np.ndarray, "r b"], threshold: float, clear_gap: float
) -> Float[np.ndarray, "r r"] | None:
    """The projection on the combinations of rows that are not small; `None` where none is small, or it is not clear."""
    vectors, sizes, _ = np.linalg.svd(np.concatenate([a, b], axis=1))
    rank = int(np.sum(sizes > threshold))
    if rank == len(vectors) or (rank and sizes[rank - 1] < clear_gap * np.max(sizes[rank:], initial=0.0)):
        return None
    return vectors[:, :rank] @ vectors[:, :rank].T


def _projected(
    model: Any, slot: Slot, rows: Float[np.ndarray, "H r d"], kept: Sequence[Float[np.ndarray, "r r"] | None]
) -> Any:
    """The model with each unit's rows of one array projected."""
    own = np.stack([unit if p is None else p @ unit for unit, p in zip(rows, kept, strict=True)])
    return eqx.tree_at(slot.where, model, as_jax(from_units(own, slot, np.asarray(slot.where(model)))))


def spare_product_rows(model: Any, others: Int[np.ndarray, " l"]) -> "csc_array":
    r"""The parameters of one further row of every product that does not use all of its rows.

    Args:
        model: a model with declared units.
        others: numbers of parameters whose units are left out.

    Returns:
        Orthonormal directions in the model's flattened parameters, as columns of a sparse matrix: those in which a
        combination of rows of A, or of B, moves that is zero in both.
    """
    from scipy.sparse import csc_array, hstack

    theta = flatten(model)
    columns = [csc_array((theta.size, 0))]
    numbers = numbered(model)
    for units in layers_of(model):
        for pair in units.products:
            for a, b in zip(*(slot_positions(numbers, slot) for slot in pair), strict=True):
                both = np.concatenate([a, b], axis=1)
                vectors, sizes, _ = np.linalg.svd(theta[both])
                if np.sum(sizes > SAME * np.linalg.norm(theta)) == len(vectors) or np.any(np.isin(both, others)):
                    continue
                row = np.broadcast_to(vectors[:, -1:], both.shape)
                number = np.broadcast_to(np.arange(both.shape[1]), both.shape)
                entries = (np.ravel(row), (np.ravel(both), np.ravel(number)))
                columns.append(csc_array(entries, shape=(theta.size, both.shape[1])))
    return csc_array(hstack(columns))
