"""Effective width: how many units the present map needs."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..models import unit_vectors, units_of
from ..models.activation import EmbeddingType, UnitLaw

# Units count if leaving them out moves Θ by more than a tenth of its size at full use.
TOLERANCE = 0.1
# Two units lie on one ray if their directions differ by less than this angle, in radians.
ANGLE = 0.3
# A width whose kept and dropped parts differ by less than this factor is not well defined.
CLEAR_GAP = 10.0


class EffectiveWidth(eqx.Module):
    r"""How many units a configuration effectively has, and how sure that is.

    - `width`: the least r with distance $d_r \le$ tolerance · scale to the manifold of effective width r.
    - `distances`: $d_0, d_1, \dots$: Frobenius distances of $\Theta = [\theta_1 \dots \theta_H]$ to these manifolds.
    - `gap`: $d_{r-1} / d_r$, with the scale in place of $d_{-1}$: the factor that separates kept from dropped.
    - `embedding`: which reduction is used, the most general that the unit's law allows.
    - `tolerance`, `scale`: the threshold made explicit.
    - `groups`: for types i–iii the group that each unit belongs to, −1 for dropped units; `None` for type iv.
    """

    width: int
    distances: Float[np.ndarray, " R"]
    gap: float
    embedding: EmbeddingType
    tolerance: float
    scale: float
    groups: np.ndarray | None

    @property
    def clear(self) -> bool:
        """Whether the gap justifies the number."""
        return self.gap >= CLEAR_GAP

    def __str__(self) -> str:
        verdict = "clear" if self.clear else "unclear"
        return f"effective width {self.width} (type {self.embedding}), gap {self.gap:.3g}: {verdict}"


def effective_width(model, *, scale: float | None = None, tolerance: float = TOLERANCE) -> EffectiveWidth:
    r"""The effective width of a model with units.

    Type iv (φ linear in u): the rank of Θ. Type iii (degree 1): the number of rays $\theta_i / \|\theta_i\|$ among
    units that are not small. Type ii (φ(z; 0) = 0): the number of distinct units that are not small. Type i: the
    number of distinct units.

    **Arguments:** `model`: a model that declares units; `scale`: the size of Θ that counts as large, by default the
    norm of its leading part, so that only an all-zero network has width 0; along a trajectory give the largest such
    norm; `tolerance`: the share of the scale below which a part counts as zero.

    Source: Zhang, Saxe & Latham (2025), Theorem 3.
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"the tolerance must lie between 0 and 1; got {tolerance}.")
    units = units_of(model)
    if units is None:
        raise ValueError(f"{type(model).__name__} declares no units, so it has no effective width.")
    theta = np.asarray(unit_vectors(model))
    distances, order = _distances(theta, units.law)
    if scale is None:
        scale = float(np.sqrt(max(distances[0] ** 2 - (distances[1] ** 2 if len(distances) > 1 else 0.0), 0.0)))
    width = int(np.argmax(distances <= tolerance * scale)) if np.any(distances <= tolerance * scale) else len(distances) - 1
    kept = scale if width == 0 else distances[width - 1]
    # Below rounding of the kept part, a remainder is no smaller than it seems.
    dropped = max(float(distances[width]), np.finfo(theta.dtype).eps * float(np.linalg.norm(theta)), 1e-300)
    groups = None if order is None else _labels(order, width)
    return EffectiveWidth(width, distances, float(kept / dropped), units.law.embedding, tolerance, float(scale), groups)


def leading_size(model) -> float:
    """The norm of the strongest part of Θ: first singular value, ray or group."""
    units = units_of(model)
    theta = np.asarray(unit_vectors(model))
    distances, _ = _distances(theta, units.law)
    return float(np.sqrt(max(distances[0] ** 2 - distances[1] ** 2, 0.0))) if len(distances) > 1 else float(distances[0])


def _distances(theta: np.ndarray, law: UnitLaw) -> tuple[np.ndarray, list[np.ndarray] | None]:
    """d_0, d_1, … and, for types i–iii, the groups of units in falling order of strength."""
    if law.embedding == "iv":
        squares = np.linalg.svd(theta, compute_uv=False) ** 2
        return np.sqrt(np.append(np.cumsum(squares[::-1])[::-1], 0.0)), None
    groups = _rays(theta, law.field == "real") if law.embedding == "iii" else _clusters(theta)
    strength = np.array([np.sum(theta[group] ** 2) for group in groups])
    scatter = np.array([_scatter(theta[group], law) for group in groups])
    order = np.argsort(-strength, kind="stable")
    strength, scatter = strength[order], scatter[order]
    if law.embedding == "i":
        # Without a zero no unit can be dropped; the manifold of fewest units is that of the groups themselves.
        remaining = np.where(np.arange(len(groups) + 1) < len(groups), np.inf, 0.0)
    else:
        remaining = np.append(np.cumsum(strength[::-1])[::-1], 0.0)
    squares = remaining + np.insert(np.cumsum(scatter), 0, 0.0)
    return np.sqrt(squares), [groups[k] for k in order]


def _labels(groups: list[np.ndarray], width: int) -> np.ndarray:
    labels = np.full(sum(len(group) for group in groups), -1)
    for k, group in enumerate(groups[:width]):
        labels[group] = k
    return labels


def _rays(theta: np.ndarray, signed: bool) -> list[np.ndarray]:
    """Groups of units with nearly the same direction (up to sign where the law is homogeneous over ℝ)."""
    norms = np.linalg.norm(theta, axis=1)
    directions = theta / np.maximum(norms, 1e-300)[:, None]
    cosines = directions @ directions.T
    cosines = np.abs(cosines) if signed else cosines
    return _lead(np.argsort(-norms, kind="stable"), cosines > np.cos(ANGLE))


def _clusters(theta: np.ndarray) -> list[np.ndarray]:
    """Groups of units that are equal up to a tenth of the larger one."""
    norms = np.linalg.norm(theta, axis=1)
    gaps = np.linalg.norm(theta[:, None] - theta[None], axis=2)
    return _lead(np.argsort(-norms, kind="stable"), gaps <= TOLERANCE * np.maximum(norms[:, None], norms[None]))


def _lead(order: np.ndarray, same: np.ndarray) -> list[np.ndarray]:
    """Each unit, largest first, joins the first leader that it resembles or becomes a leader itself."""
    leaders: list[int] = []
    members: list[list[int]] = []
    for unit in order:
        for k, leader in enumerate(leaders):
            if same[leader, unit]:
                members[k].append(int(unit))
                break
        else:
            leaders.append(int(unit))
            members.append([int(unit)])
    return [np.array(group) for group in members]


def ray_direction(theta: Float[np.ndarray, "m N"], signed: bool) -> Float[np.ndarray, " N"]:
    """The unit vector along which the members of a ray lie, by least squares."""
    _, _, rows = np.linalg.svd(theta, full_matrices=False)
    projections = theta @ rows[0]
    flip = projections[np.argmax(np.abs(projections))] < 0
    return -rows[0] if flip else rows[0]


def _scatter(theta: np.ndarray, law: UnitLaw) -> float:
    if law.embedding != "iii":
        return float(np.sum((theta - theta.mean(axis=0)) ** 2))
    signed = law.field == "real"
    direction = ray_direction(theta, signed)
    projections = theta @ direction
    projections = projections if signed else np.maximum(projections, 0.0)
    return float(np.sum((theta - projections[:, None] * direction) ** 2))


def as_array(model) -> Float[np.ndarray, "H N"]:
    """The unit vectors θ_i of a model as a NumPy array, one row each."""
    return np.asarray(jnp.asarray(unit_vectors(model)))
