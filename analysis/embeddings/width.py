"""Effective width: the number of units that the present map needs."""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from ...models.arguments import real
from ...models.unit_law import EmbeddingType, UnitLaw
from ...models.units import declared_units, layers_of, rows_of
from ..thresholds import STANDARD, Thresholds

# Units that are equal or parallel to half the digits are so at the critical point, and zero if their product with
# others is zero to all.
SAME = 1e-7
# Share of the initial size below which all units have decayed to nothing; minima of penalised losses are larger.
DECAYED = 1e-4


class EffectiveWidth(eqx.Module):
    r"""The effective number of units of a layer, and how clear that number is.

    Attributes:
        width: the number of parts of $\Theta = [\theta_1 \dots \theta_H]$ larger than `threshold`.
        sizes: sizes of all parts, falling: singular values of Θ (type iv), norms of the rays (iii), of the groups of
            equal units (ii, i).
        scatter: the largest distance of a retained group from being exactly proportional or equal (0 for type iv).
        gap: smallest retained size, or the scale if none is retained, over the larger of largest dropped size and
            scatter.
        embedding: which reduction is used, the most general type that the unit's law allows.
        threshold: $\text{share}^{1/p} \cdot \text{scale}$, p the degree of a unit's output in all its parameters.
        groups: for types i–iii the group that each unit belongs to, −1 for dropped units; `None` for type iv.
        clear: whether the gap is at least 10 (`Thresholds`), so that the number does not depend on the threshold.
        layer: whose units, from 0.
    """

    width: int
    sizes: Float[np.ndarray, " R"]
    scatter: float
    gap: float
    embedding: EmbeddingType
    threshold: float
    groups: Int[np.ndarray, " H"] | None
    clear: bool
    layer: int = 0

    def __str__(self) -> str:
        certainty = "clear" if self.clear else "unclear"
        return f"effective width {self.width} (type {self.embedding}), gap {self.gap:.3g}: {certainty}"


class Parts(NamedTuple):
    """The parts of Θ that may count as units.

    Attributes:
        sizes: in falling order.
        groups: the units that each consists of; `None` for type iv.
        scatters: the distance of each from being exactly proportional or equal.
        law: of the units.
        eps: the precision of Θ.
    """

    sizes: Float[np.ndarray, " R"]
    groups: list[np.ndarray] | None
    scatters: Float[np.ndarray, " R"]
    law: UnitLaw
    eps: float

    @property
    def leading_size(self) -> float:
        """The largest."""
        return float(np.max(self.sizes, initial=0.0))


def effective_width(
    model: Any, *, scale: float | None = None, layer: int = 0, thresholds: Thresholds = STANDARD
) -> EffectiveWidth:
    r"""The effective width of one layer of a model with units.

    Type iv (φ linear in u): the rank of Θ. Type iii (degree 1): the number of rays $\theta_i / \|\theta_i\|$ among
    units that are not small. Type ii (φ(z; 0) = 0): the number of distinct units that are not small. Type i: the
    number of distinct units.

    Args:
        model: a model with declared units.
        scale: typical size of a part after learning; by default the largest present, so that only an all-zero network
            has width 0. Along a trajectory give the largest on it.
        layer: whose units, from 0.
        thresholds: `unit_share`, the share in the map below which a part counts as zero (a part of relative size r has
            share $r^p$, p the degree of a unit's output in all its parameters), `ray_angle`, `copy_distance` and
            `clear_gap`.

    Returns:
        The effective width, with its gap.

    Raises:
        ValueError: for a share that does not lie between 0 and 1, a scale that is no size, or weights that are not
            finite.

    Source: Zhang, Saxe & Latham (2025), Theorem 3.
    """
    share = thresholds.unit_share
    if not 0 < share < 1:
        raise ValueError(f"the share must lie between 0 and 1; got {share}.")
    if scale is not None and not 0 <= real("scale", scale) < np.inf:
        raise ValueError(f"scale must be finite and not negative; got {scale}.")
    return counted(parts_of(model, layer, thresholds=thresholds), scale, layer, thresholds)


def counted(parts: Parts, scale: float | None, layer: int, thresholds: Thresholds) -> EffectiveWidth:
    """The effective width from the parts of Θ; see `effective_width`."""
    sizes, groups, scatters, law, eps = parts
    scale = parts.leading_size if scale is None else scale
    threshold = thresholds.unit_share ** (1 / (law.order + 1)) * scale
    # Without a zero of φ no unit can be dropped, however small.
    width = int(np.sum(sizes > threshold)) if law.zero else len(sizes)
    scatter = float(np.max(scatters[:width], initial=0.0))
    retained = sizes[width - 1] if width else scale
    dropped = max(sizes[width] if width < len(sizes) else 0.0, scatter)
    # What remains of dropped parts is known to rounding of the largest part only.
    dropped = max(float(dropped), eps * parts.leading_size)
    gap = float(retained / dropped) if dropped > 0 else float("inf")
    labels = None if groups is None else _labels(groups, width)
    return EffectiveWidth(
        width=width,
        sizes=sizes,
        scatter=scatter,
        gap=gap,
        embedding=law.embedding,
        threshold=threshold,
        groups=labels,
        clear=gap >= thresholds.clear_gap,
        layer=layer,
    )


def effective_widths(model: Any, *, thresholds: Thresholds = STANDARD) -> tuple[EffectiveWidth, ...]:
    """The effective width of every layer of units, each against its own largest part."""
    return tuple(effective_width(model, layer=layer, thresholds=thresholds) for layer in range(len(layers_of(model))))


def exact_widths(model: Any, *, thresholds: Thresholds = STANDARD) -> tuple[EffectiveWidth, ...]:
    """The effective widths for which units count as one only if they are equal, and for none only if they are zero.

    Args:
        model: a model with declared units.
        thresholds: all other ones.

    Returns:
        One for each layer.
    """
    exact = dataclasses.replace(thresholds, unit_share=SAME**2, ray_angle=SAME, copy_distance=SAME)
    return effective_widths(model, thresholds=exact)


def size_along(initial: float, later: Iterable[float]) -> float:
    """The typical size of a part along a flow: the largest, but of a flow into zero the size that it came from."""
    return max([DECAYED * initial, *later])


def leading_size(model: Any, layer: int = 0, *, thresholds: Thresholds = STANDARD) -> float:
    """The size of the largest part of Θ: first singular value, ray or group."""
    return parts_of(model, layer, thresholds=thresholds).leading_size


def parts_of(model: Any, layer: int = 0, *, thresholds: Thresholds = STANDARD) -> Parts:
    """The parts of Θ, of one layer of a model with units; a `ValueError` for weights that are not finite."""
    units = declared_units(model, layer)
    u, v = rows_of(model, units)
    theta, law = np.concatenate([np.asarray(u), np.asarray(v)], axis=1), units.law
    if not np.all(np.isfinite(theta)):
        raise ValueError("the units' weights hold NaN or infinite values.")
    eps = float(np.finfo(theta.dtype).eps)
    if law.embedding == "iv":
        sizes = np.linalg.svd(theta, compute_uv=False)
        return Parts(sizes, None, np.zeros_like(sizes), law, eps)
    groups = grouped(theta, law, thresholds)
    sizes = np.array([_size(theta[group], law) for group in groups])
    return Parts(sizes, groups, np.array([_scatter(theta[group], law) for group in groups]), law, eps)


def grouped(theta: Float[np.ndarray, "H N"], law: UnitLaw, thresholds: Thresholds = STANDARD) -> list[np.ndarray]:
    """Groups of units that are nearly proportional (type iii) or equal (ii, i), in falling order of their sizes."""
    if law.embedding == "iii":
        groups = _rays(theta, law.field == "real", thresholds.ray_angle)
    else:
        groups = _copies(theta, thresholds.copy_distance)
    order = np.argsort([-_size(theta[group], law) for group in groups], kind="stable")
    return [groups[k] for k in order]


def _size(theta: Float[np.ndarray, "m N"], law: UnitLaw) -> float:
    # Members of a ray add in square, copies are one and the same unit.
    return float(np.linalg.norm(theta) if law.embedding == "iii" else np.max(np.linalg.norm(theta, axis=1)))


def _labels(groups: list[np.ndarray], width: int) -> np.ndarray:
    labels = np.full(sum(len(group) for group in groups), -1)
    for k, group in enumerate(groups[:width]):
        labels[group] = k
    return labels


def _rays(theta: np.ndarray, signed: bool, angle: float) -> list[np.ndarray]:
    """Groups of units with nearly the same direction (up to sign where the law is homogeneous over ℝ)."""
    norms = np.linalg.norm(theta, axis=1)
    directions = theta / np.where(norms > 0, norms, 1.0)[:, None]
    cosines = directions @ directions.T
    cosines = np.abs(cosines) if signed else cosines
    return _lead(np.argsort(-norms, kind="stable"), cosines > np.cos(angle))


def _copies(theta: np.ndarray, distance: float) -> list[np.ndarray]:
    """Groups of units that are equal to within a share of the larger one."""
    norms = np.linalg.norm(theta, axis=1)
    gaps = np.linalg.norm(theta[:, None] - theta[None], axis=2)
    return _lead(np.argsort(-norms, kind="stable"), gaps <= distance * np.maximum(norms[:, None], norms[None]))


def _lead(order: np.ndarray, same: np.ndarray) -> list[np.ndarray]:
    """Groups by leader: each unit, largest first, joins the first leader that it resembles or becomes one itself."""
    members: dict[int, list[int]] = {}
    for unit in map(int, order):
        leader = next((leader for leader in members if same[leader, unit]), unit)
        members.setdefault(leader, []).append(unit)
    return [np.array(group) for group in members.values()]


def ray_direction(theta: Float[np.ndarray, "m N"]) -> Float[np.ndarray, " N"]:
    """The unit vector along which the members of a ray lie, by least squares, on the side of the largest member."""
    _, _, rows = np.linalg.svd(theta, full_matrices=False)
    projections = theta @ rows[0]
    return -rows[0] if projections[np.argmax(np.abs(projections))] < 0 else rows[0]


def shares_of_ray(theta: Float[np.ndarray, "m N"], signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The direction of a ray and each member's component along it, clipped at zero unless signs are allowed."""
    direction = ray_direction(theta)
    components = theta @ direction
    return direction, components if signed else np.maximum(components, 0.0)


def _scatter(theta: np.ndarray, law: UnitLaw) -> float:
    if law.embedding != "iii":
        return float(np.linalg.norm(theta - theta.mean(axis=0)))
    direction, components = shares_of_ray(theta, law.field == "real")
    return float(np.linalg.norm(theta - components[:, None] * direction))
