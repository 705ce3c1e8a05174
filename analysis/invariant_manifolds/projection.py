"""The nearest network of a prescribed effective width, and the distance to it."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ...models.activation import UnitLaw
from ...models.units import declared_units, unit_vectors
from ..embeddings.embedding import Embedding
from ..embeddings.reduction import reduce
from ..embeddings.width import EffectiveWidth, grouped, shares_of_ray

# Rounds of reassignment; they settle in a few.
ROUNDS = 20


def project(model: Any, width: int, *, layer: int = 0) -> Embedding:
    r"""The nearest point of the manifold of effective width r, as a narrow network with its embedding.

    The manifold is all networks that can be reduced to r units: for type iv those with rank Θ ≤ r, exactly solved by
    the singular value decomposition; for type iii those whose units lie on r rays or at zero, for type ii those whose
    units equal one of r or zero, for type i those with r distinct units. The last three are clustering problems, of
    which a local optimum is found, from the groups in which the units lie already.

    Args:
        model: with declared units.
        width: r, at least 1 where φ has no zero.
        layer: of units, from 0, where several have them; the others stay as they are.

    Returns:
        The narrow network, embedded at the nearest point.

    Raises:
        ValueError: for a width that is negative or larger than the number of units.

    Source: Zhang, Saxe & Latham (2025), Theorem 3.
    """
    theta, law = np.asarray(unit_vectors(model, layer)), declared_units(model, layer).law
    least = 0 if law.zero else 1
    if not least <= width <= len(theta):
        raise ValueError(f"the width must be between {least} and the number of units, {len(theta)}; got {width}.")
    labels = None if law.embedding == "iv" else nearest_groups(theta, law, width)
    effective = EffectiveWidth(
        width=width,
        sizes=np.zeros(0),
        scatter=0.0,
        gap=float("nan"),
        embedding=law.embedding,
        threshold=float("nan"),
        groups=labels,
        clear=False,
        layer=layer,
    )
    return reduce(model, effective)


def distances_to_widths(
    theta: Float[np.ndarray, "T H N"], law: UnitLaw, widths: tuple[int, ...]
) -> Float[np.ndarray, "T R"]:
    r"""The distance of units along a path from the manifold of each effective width.

    Type iv: $\sqrt{\sum_{k > r} \sigma_k^2}$; types i–iii: the root of the summed squared distances of the units from
    the nearest configuration.

    Args:
        theta: parameters of all units at each of T times.
        law: of the units.
        widths: effective widths r.

    Returns:
        One column for each width.
    """
    if law.embedding == "iv":
        squares = np.linalg.svd(theta, compute_uv=False) ** 2
        return np.sqrt(np.stack([squares[:, r:].sum(axis=1) for r in widths], axis=1))
    return np.array([[_remainder(units, law, nearest_groups(units, law, r)) for r in widths] for units in theta])


def nearest_groups(theta: Float[np.ndarray, "H N"], law: UnitLaw, width: int) -> Int[np.ndarray, " H"]:
    """The group, from 0 to `width` − 1, that each unit joins in the nearest configuration; −1 for zero.

    The better of two local optima: from the groups in which the units lie already, the largest first; and from one
    unit for each group, chosen one after the other as the unit with the largest residual.

    Args:
        theta: parameters of all units.
        law: of the units.
        width: number of groups.

    Returns:
        The group of each unit.
    """
    labels = np.full(len(theta), -1)
    if width == 0:
        return labels
    for number, group in enumerate(grouped(theta, law)[:width]):
        labels[group] = number
    starts = [labels, np.full(len(theta), -1)]
    for start in starts:
        for number in range(int(np.max(start)) + 1, width):
            start[int(np.argmax(_residuals(theta, law, start)))] = number
    found = [_settled(theta, law, start, width) for start in starts]
    return min(found, key=lambda labels: _remainder(theta, law, labels))


def _settled(
    theta: Float[np.ndarray, "H N"], law: UnitLaw, labels: Int[np.ndarray, " H"], width: int
) -> Int[np.ndarray, " H"]:
    """Lloyd's algorithm: assigns every unit to the nearest group or to zero, then updates the groups."""
    for _ in range(ROUNDS):
        costs = np.stack([_costs(theta, law, labels == number) for number in range(width)], axis=1)
        # A unit no nearer to a group than to zero is zero: on the far side of a ray it must not turn the ray.
        nothing = np.sum(theta**2, axis=1) if law.zero else np.full(len(theta), np.inf)
        new = np.argmin(np.column_stack([nothing, costs]), axis=1) - 1
        if np.array_equal(new, labels):
            break
        labels = new
    return labels


def _costs(theta: Float[np.ndarray, "H N"], law: UnitLaw, members: Bool[np.ndarray, " H"]) -> Float[np.ndarray, " H"]:
    """The squared residual of each unit if it joins a group."""
    if not np.any(members):
        return np.full(len(theta), np.inf)
    return np.sum((theta - _placed(theta, law, members)) ** 2, axis=1)


def _placed(theta: Float[np.ndarray, "H N"], law: UnitLaw, members: Bool[np.ndarray, " H"]) -> Float[np.ndarray, "H N"]:
    """Where each unit would be in a group: on its ray, or at its mean."""
    if law.embedding != "iii":
        return np.broadcast_to(theta[members].mean(axis=0), theta.shape)
    direction, _ = shares_of_ray(theta[members], law.field == "real")
    components = theta @ direction
    return (components if law.field == "real" else np.maximum(components, 0.0))[:, None] * direction


def _residuals(theta: Float[np.ndarray, "H N"], law: UnitLaw, labels: Int[np.ndarray, " H"]) -> Float[np.ndarray, " H"]:
    """The squared distance of each unit from where its group places it."""
    residuals = np.array(theta, copy=True)
    for number in range(int(np.max(labels, initial=-1)) + 1):
        members = labels == number
        if np.any(members):
            residuals[members] -= _placed(theta, law, members)[members]
    return np.sum(residuals**2, axis=1)


def _remainder(theta: Float[np.ndarray, "H N"], law: UnitLaw, labels: Int[np.ndarray, " H"]) -> float:
    """The distance of all units together from a configuration."""
    return float(np.sqrt(np.sum(_residuals(theta, law, labels))))
