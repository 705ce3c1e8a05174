"""How the loss depends on one more, small unit: the form that governs escape through dormant units."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape
from ...models.units import declared_units
from ..embeddings.embedding import Embedding
from ..thresholds import STANDARD, Thresholds
from .sphere import SIMPLEX_LIMIT, STARTS, minima_on_sphere, normal_vectors, polished_on_sphere
from .unit_effect import UnitEffect, unit_effect

# Maximisers at which the error of rounding is measured, besides the random starts of the search.
MEASURED = 3

# ‖M(u)‖, u and M(u).
Maximiser = tuple[float, Float[np.ndarray, " Nu"], Float[np.ndarray, " Nv"]]


class AddedUnitForm(eqx.Module):
    r"""The lowest-order change of the loss when a small unit (u, v) is added: $F_p(u, v) = -\langle M(u), v \rangle$.

    $M(u) = -\partial L / \partial v$ at $v = 0$, to its lowest order $q = p - 1$ in u.

    Attributes:
        order: p.
        strength: $s = \max_{\|u\| = 1} \|M(u)\|$, zero to rounding where no small unit lowers the loss.
        u: the maximiser, a unit vector; `None` for s = 0.
        v: $M(u) / \|M(u)\|$ there; `None` for s = 0.
        maximisers: all maximisers $(\hat u, \hat v)$ found that are as strong as the strongest, as directions of
            steepest descent $[\sqrt{q} \hat u, \hat v] / \sqrt{q + 1}$, one row of N = Nu + Nv numbers each.
        noise: the error of rounding of $\|M(u)\|$, by default taken for zero.

    Source: Zhang, Saxe & Latham (2025), Section 5 and Appendices C, G, H.
    """

    order: int
    strength: float
    u: Float[np.ndarray, " Nu"] | None
    v: Float[np.ndarray, " Nv"] | None
    maximisers: Float[np.ndarray, "m N"]
    noise: float = 0.0

    def lowers(self, thresholds: Thresholds = STANDARD) -> bool:
        """Whether a small unit lowers the loss by more than rounding.

        Args:
            thresholds: `rounding_safety`, the number of errors of rounding beyond which the strength is not zero.

        Returns:
            Whether it does.
        """
        return self.strength > thresholds.rounding_safety * self.noise

    @property
    def rate(self) -> float:
        r"""$c$ in $\dot r = c\, r^{p-1}$ for a unit of norm r on the steepest direction; for p = 2 the escape rate.

        The steepest direction has $\|u\|^2 = q/p$, $\|v\|^2 = 1/p$ and $F_p = -U$ with $U = s (q/p)^{q/2} p^{-1/2}$;
        $c = pU$.
        """
        p, q = self.order, self.order - 1
        return self.strength * (q / p) ** (q / 2) * p**0.5

    def __str__(self) -> str:
        if not self.lowers():
            return f"form of an added unit: zero to rounding at order {self.order}, no small unit lowers the loss"
        count = len(self.maximisers)
        return (
            f"form of an added unit: order {self.order}, strength {self.strength:.6g}, "
            f"{count} maximiser{'s' if count > 1 else ''}\n"
            f"  steepest descent: dr/dt = {self.rate:.6g} r{'' if self.order == 2 else f'^{self.order - 1}'}"
        )


def added_unit_form(
    landscape: Landscape,
    theta: Float[Any, " n"] | None = None,
    *,
    embedding: Embedding | None = None,
    starts: Float[Any, "k Nu"] | None = None,
    thresholds: Thresholds = STANDARD,
) -> AddedUnitForm:
    """The lowest-order form of an added unit, and its directions of steepest descent.

    Args:
        landscape: of the critical network, or of the wide network in which it is embedded.
        theta: the critical network's parameters, by default the landscape's own.
        embedding: of the critical network in the wide one, instead of `theta`.
        starts: incoming parameters from which to search besides random ones, such as the units of the flow itself.
        thresholds: `equally_strong`, which maximisers count as equally strong, and `rounding_safety`.

    Returns:
        The form; for linear M exact, else the best of local searches.

    Raises:
        ValueError: if φ(z; 0) = 0 does not hold, since no unit is small then, and where the loss penalises a unit's own
            weights, as weight decay does.
    """
    if not declared_units(landscape.model).law.zero:
        raise ValueError("the unit's law has no zero: a unit cannot be added with small effect.")
    form = _form_of_outputs(unit_effect(landscape, embedding, theta), starts=starts, thresholds=thresholds)
    if form is None:
        raise ValueError(
            "the loss depends on a unit's weights also where it adds nothing to the outputs, as under weight decay: "
            "its form is not that of the outputs alone; use added_units_form."
        )
    return form


def unpenalised_form(
    landscape: Landscape,
    embedding: Embedding,
    *,
    starts: Float[Any, "k Nu"] | None = None,
    thresholds: Thresholds = STANDARD,
) -> AddedUnitForm | None:
    """`added_unit_form` at an embedded network, `None` where the loss penalises a unit's own weights."""
    return _form_of_outputs(unit_effect(landscape, embedding), starts=starts, thresholds=thresholds)


def _form_of_outputs(
    effect: UnitEffect, *, starts: Float[Any, "k Nu"] | None, thresholds: Thresholds
) -> AddedUnitForm | None:
    """The form of a unit whose effect is known, `None` where its own weights are penalised."""
    if effect.penalised(safety=thresholds.rounding_safety):
        return None
    law = effect.law
    share, directions = 1 - thresholds.equally_strong, normal_vectors(STARTS, effect.u.size)
    if law.order == 1 and law.smooth:
        left, sizes, right = np.linalg.svd(effect.matrix, full_matrices=False)
        top = sizes >= sizes[0] * share
        pairs = list(zip(right[top], left.T[top], strict=True))
        strength = float(sizes[0])
    else:
        found = _maximisers(effect, starts)
        strength = found[0][0] if found else 0.0
        pairs = [(u, v / value) for value, u, v in found if value >= strength * share]
        directions = np.array([*(u for _, u, _ in found[:MEASURED]), *directions])
    p = law.order + 1
    if strength == 0:
        empty = np.zeros((0, effect.u.size + effect.v.size))
        return AddedUnitForm(order=p, strength=0.0, u=None, v=None, maximisers=empty)
    noise = effect.noise(directions / np.linalg.norm(directions, axis=1, keepdims=True))
    rows = np.stack([_steepest(u, v, law.order) for u, v in pairs])
    u, v = pairs[0]
    return AddedUnitForm(order=p, strength=strength, u=u, v=v, maximisers=rows, noise=noise)


def _steepest(u: np.ndarray, v: np.ndarray, order: int) -> np.ndarray:
    """The unit vector along (u, v), both of norm one, on which the form of order q in u falls most steeply."""
    return np.concatenate([np.sqrt(order) * u, v]) / np.sqrt(order + 1)


def local_maximisers(
    landscape: Landscape,
    theta: Float[Any, " n"] | None = None,
    *,
    embedding: Embedding | None = None,
    starts: Float[Any, "k Nu"] | None = None,
    thresholds: Thresholds = STANDARD,
) -> list[tuple[float, Float[np.ndarray, " N"]]]:
    r"""All local maximisers of $\|M(u)\|$ on the unit sphere that were found, strongest first.

    Each is an escape direction of its own: a small unit near it stays near it as it grows.

    Args:
        landscape: of the critical network, or of the wide network in which it is embedded.
        theta: the critical network's parameters, by default the landscape's own.
        embedding: of the critical network in the wide one, instead of `theta`.
        starts: incoming parameters from which to search besides random ones.
        thresholds: `same_maximiser`, which maximisers are one.

    Returns:
        Strengths, and directions of steepest descent, N = Nu + Nv numbers each.
    """
    effect = unit_effect(landscape, embedding, theta)
    same = thresholds.same_maximiser
    distinct = _distinct(_maximisers(effect, starts), same)
    distinct = _distinct(_strongest_first(_polished(effect, distinct)), same) or distinct
    return [(strength, _steepest(u, v / strength, effect.law.order)) for strength, u, v in distinct]


def steepness(landscape: Landscape, direction: Float[np.ndarray, " N"], *, embedding: Embedding | None = None) -> float:
    r"""$-F_p(u, v) = \langle M(u), v \rangle$ for an added unit.

    Args:
        landscape: of the critical network, or of the wide network in which it is embedded.
        direction: (u, v), N = Nu + Nv numbers.
        embedding: of the critical network in the wide one.

    Returns:
        The value of the form, with the opposite sign.
    """
    effect = unit_effect(landscape, embedding)
    return float(effect.lowest(direction[: effect.u.size]) @ direction[effect.u.size :])


def _strongest_first(found: list[Maximiser]) -> list[Maximiser]:
    return sorted(found, key=lambda item: -item[0])


def _distinct(found: list[Maximiser], same: float) -> list[Maximiser]:
    """The maximisers without those that coincide with an earlier one."""
    distinct: list[Maximiser] = []
    for strength, u, v in found:
        cosines = (u @ other + v @ image / (strength * size) for size, other, image in distinct)
        if all(cosine < 2 - same for cosine in cosines):
            distinct.append((strength, u, v))
    return distinct


def _maximisers(effect: UnitEffect, starts: np.ndarray | None) -> list[Maximiser]:
    r"""Local maximisers of $\ln \|M(u)\|$ on the sphere, strongest first."""
    random = normal_vectors(STARTS, effect.u.size)
    starts = random if starts is None else np.vstack([starts, random])
    norms = np.linalg.norm(starts, axis=1, keepdims=True)
    directions = (starts / np.where(norms > 0, norms, 1.0))[norms[:, 0] > 0]
    # Where M vanishes, as for a ReLU that is inactive on all samples, the objective is flat.
    alive = directions[[_image(effect, u)[0] != 0 for u in directions]]

    def objective(u: np.ndarray) -> tuple[float, np.ndarray]:
        image, slope = effect.image_and_slope(u)
        square = float(image @ image) + 1e-300
        return -0.5 * float(np.log(square)), -slope / square

    found = [_image(effect, u) for _, u in minima_on_sphere(objective, alive, gradient_tolerance=1e-9)]
    found = _strongest_first([item for item in found if np.isfinite(item[0]) and item[0] > 0])
    return _strongest_first(found + _polished(effect, found[:3]))


def _image(effect: UnitEffect, u: np.ndarray) -> Maximiser:
    value = effect.lowest(u)
    return float(np.linalg.norm(value)), u, value


def _polished(effect: UnitEffect, found: list[Maximiser]) -> list[Maximiser]:
    """Maximisers on kinks, where pre-activations of samples change sign and quasi-Newton steps stall, improved."""
    if effect.law.smooth or effect.u.size > SIMPLEX_LIMIT or not found:
        return []
    scale = found[0][0]
    loss = lambda u: -_image(effect, u)[0]  # noqa: E731
    return [_image(effect, polished_on_sphere(loss, u, scale=scale)) for _, u, _ in found]
