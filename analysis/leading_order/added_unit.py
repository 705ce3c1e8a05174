"""How the loss depends on one more, small unit: the form that governs escape through dormant units."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import numpy as np
import scipy
from jaxtyping import Float, Int

from ...flows import Landscape
from ...flows.landscapes.taylor import ORDER, gradient_series
from ...models import UnitLaw
from ...models.units import declared_units, width
from ..embeddings.embedding import Embedding
from ..embeddings.narrow_landscape import NarrowLandscape, added_positions, narrow_landscape

# Random starts for the maximiser besides the ones given: the forms met here have a handful of local maxima.
STARTS = 24
SEED = 0
# Simplex search polishes maxima on kinks in up to this many dimensions; beyond it is too slow to help.
POLISH_LIMIT = 12
# As good as zero, but on one side of it.
BESIDE_ZERO = 1e-30
# Two maximisers are one if the cosine between them falls short of one by less than this.
ALIKE = 1e-4


class AddedUnitForm(eqx.Module):
    r"""The lowest-order change of the loss when a small unit (u, v) is added: $F_p(u, v) = -\langle M(u), v \rangle$.

    $M(u) = -\partial L / \partial v$ at $v = 0$, to its lowest order $q = p - 1$ in u.

    - `order`: p; `strength`: $s = \max_{\|u\| = 1} \|M(u)\|$, zero where no small unit lowers the loss.
    - `incoming`, `outgoing`: unit vectors $u$ and $v = M(u) / \|M(u)\|$ at the maximum, or `None` for s = 0.
    - `maximisers`: all maximisers $(\hat u, \hat v)$ found whose strength is within 1e-6 of the largest, as
      directions of steepest descent $[\sqrt{q} \hat u, \hat v] / \sqrt{q + 1}$, one row each.

    Source: Zhang, Saxe & Latham (2025), Section 5 and Appendices C, G, H.
    """

    order: int
    strength: float
    u: Float[np.ndarray, " Nu"] | None
    v: Float[np.ndarray, " Nv"] | None
    maximisers: Float[np.ndarray, "m Nu+Nv"]

    @property
    def rate(self) -> float:
        r"""$c$ in $\dot r = c\, r^{p-1}$ for a unit of norm r on the steepest direction; for p = 2 the escape rate.

        The steepest direction has $\|u\|^2 = q/p$, $\|v\|^2 = 1/p$ and $F_p = -U$ with $U = s (q/p)^{q/2} p^{-1/2}$;
        $c = pU$.
        """
        p, q = self.order, self.order - 1
        return self.strength * (q / p) ** (q / 2) * p**0.5


@dataclass(frozen=True)
class AddedUnit:
    r"""What a small unit (u, v) added to a network does to the loss, $L = L_0 - \langle M(u), v \rangle + O(v^2)$.

    - `narrow`: the landscape of the network with a zero unit more, the last; `theta`: its parameters.
    - `u`, `v`: where the unit's parameters are in them; `law`: of the units.
    """

    narrow: NarrowLandscape
    theta: Float[np.ndarray, " m"]
    u: Int[np.ndarray, " Nu"]
    v: Int[np.ndarray, " Nv"]
    law: UnitLaw

    def _at(self, u: np.ndarray) -> np.ndarray:
        theta = self.theta.copy()
        theta[self.u] = u
        return theta

    def _direction(self, places: np.ndarray, values: np.ndarray) -> np.ndarray:
        """A change of some of the unit's parameters, in the landscape's own."""
        return self.narrow.matrix[:, places] @ values

    def _series(self, u: np.ndarray, further: np.ndarray | None = None) -> np.ndarray:
        """The gradient along $s u$, order by order, and along $s u + s^q d$ for a `further` direction d in v."""
        curve = np.zeros((self.law.order, len(self.narrow.matrix)))
        curve[0] = self._direction(self.u, u)
        # Where it makes a difference on which side of zero u is, beside it.
        start = self.narrow.matrix @ self.theta + (0.0 if self.law.smooth else BESIDE_ZERO) * curve[0]
        if further is not None:
            curve[-1] += self._direction(self.v, further)
        return gradient_series(self.narrow.landscape, start, curve) @ self.narrow.matrix

    def lowest(self, u: Float[np.ndarray, " Nu"]) -> Float[np.ndarray, " Nv"]:
        """M(u) to its lowest order in u, a homogeneous function."""
        if self.law.degree is not None:
            return -self.narrow.gradient(self._at(u))[self.v]  # what is homogeneous is its own lowest term
        return -self._series(u)[self.law.order, self.v]

    @property
    def matrix(self) -> Float[np.ndarray, "Nv Nu"]:
        """M as a matrix, for laws of order 1 that are smooth."""
        directions = np.zeros((self.theta.size, self.u.size))
        directions[self.u, np.arange(self.u.size)] = 1.0
        wide = self.narrow.matrix
        products = self.narrow.landscape.hessian_products(wide @ self._at(np.zeros(self.u.size)), wide @ directions)
        return -(wide.T @ products)[self.v]

    def image_and_slope(self, u: Float[np.ndarray, " Nu"]) -> tuple[Float[np.ndarray, " Nv"], np.ndarray]:
        r"""M(u) to its lowest order q, and the gradient of $\|M\|^2 / 2$ in u."""
        image = self.lowest(u)
        if self.law.degree is not None:
            wide = self.narrow.matrix @ self._at(u)
            product = self.narrow.landscape.hessian_product(wide, self._direction(self.v, image))
            return image, -(product @ self.narrow.matrix)[self.u]
        q = self.law.order
        if 2 * q - 1 > ORDER:
            raise ValueError(f"a law of order {q} needs a degree; without one orders to {(ORDER + 1) // 2} are known.")
        # Along s u + s^q M the coefficient of order 2q - 1 differs by the Hessian's of order q - 1, times M.
        difference = self._series(u, image)[2 * q - 1] - self._series(u)[2 * q - 1]
        return image, -difference[self.u]


def added_unit(
    landscape: Landscape, embedding: Embedding | None = None, theta: Float[Any, " n"] | None = None, *, layer: int = 0
) -> AddedUnit:
    """A unit added to a network.

    **Arguments:** `landscape`; `embedding`: the network, in the wide one that the landscape is of; or else `theta`: the
    network itself, by default at the landscape's own parameters; `layer`: which gets the unit, from 0.
    """
    if embedding is None:
        model = landscape.model if theta is None else landscape.at(theta)
        identity = np.eye(width(model, layer))
        embedding = Embedding(model, identity, identity, layer)
    narrow = narrow_landscape(landscape, embedding, spare=(layer,))
    return AddedUnit(narrow, narrow.theta, *added_positions(narrow, layer), declared_units(narrow.model, layer).law)


def added_unit_form(
    landscape: Landscape,
    theta: Float[Any, " n"] | None = None,
    *,
    embedding: Embedding | None = None,
    starts: Float[np.ndarray, "k Nu"] | None = None,
) -> AddedUnitForm:
    """The lowest-order form of an added unit, and its steepest directions.

    **Arguments:** `landscape`, `theta`: the critical network, by default at the landscape's own parameters; or its
    `embedding` in the wide network that the landscape is of; `starts`: incoming parameters from which to search besides
    random ones, such as the units of the flow itself.

    **Raises:** `ValueError` if φ(z; 0) = 0 does not hold: there is no small unit then.
    """
    law = declared_units(landscape.model).law
    if not law.zero:
        raise ValueError("the unit's law has no zero: a unit cannot be added with small effect.")
    unit = added_unit(landscape, embedding, theta)
    if law.order == 1 and law.smooth:
        left, sizes, right = np.linalg.svd(unit.matrix, full_matrices=False)
        top = sizes >= sizes[0] * (1 - 1e-6)
        pairs = [(u, v) for u, v in zip(right[top], left.T[top], strict=True)]
        strength = float(sizes[0])
    else:
        found = _search(unit, starts)
        strength = found[0][0] if found else 0.0
        pairs = [(u, v / value) for value, u, v in found if value >= strength * (1 - 1e-6)]
    p, rows = law.order + 1, [_steepest(u, v, law.order) for u, v in pairs]
    if strength == 0:
        return AddedUnitForm(p, 0.0, None, None, np.zeros((0, unit.u.size + unit.v.size)))
    return AddedUnitForm(p, strength, pairs[0][0], pairs[0][1], np.stack(rows))


def _steepest(u: np.ndarray, v: np.ndarray, order: int) -> np.ndarray:
    """The unit vector along (u, v), both of norm one, on which the form of order q in u falls most steeply."""
    return np.concatenate([np.sqrt(order) * u, v]) / np.sqrt(order + 1)


def local_maximisers(
    landscape: Landscape,
    theta: Float[Any, " n"] | None = None,
    *,
    embedding: Embedding | None = None,
    starts: Float[np.ndarray, "k Nu"] | None = None,
) -> list[tuple[float, Float[np.ndarray, " Nu+Nv"]]]:
    r"""All local maximisers of $\|M(u)\|$ on the unit sphere that were found, strongest first.

    Each is an escape direction of its own: a small unit near it stays near it as it grows.

    **Arguments:** as for `added_unit_form`. **Returns:** strengths, and directions of steepest descent.
    """
    unit = added_unit(landscape, embedding, theta)
    distinct = _distinct(_search(unit, starts))
    distinct = _distinct(sorted(_polished(unit, distinct), key=lambda item: -item[0])) or distinct
    return [(strength, _steepest(u, v / strength, unit.law.order)) for strength, u, v in distinct]


def _distinct(found):
    """Those that are not alike one before them."""
    kept = []
    for strength, u, v in found:
        if all(u @ other + v @ image / (strength * size) < 2 - ALIKE for size, other, image in kept):
            kept.append((strength, u, v))
    return kept


def steepness(
    landscape: Landscape, direction: Float[np.ndarray, " Nu+Nv"], *, embedding: Embedding | None = None
) -> float:
    r"""$-F_p(u, v) = \langle M(u), v \rangle$ for an added unit of the given parameters."""
    unit = added_unit(landscape, embedding)
    return float(unit.lowest(direction[: unit.u.size]) @ direction[unit.u.size :])


def _search(unit: AddedUnit, starts: np.ndarray | None):
    """(‖M(u)‖, u, M(u)) at local maxima on the sphere, largest first, by quasi-Newton ascent of the logarithm."""
    random = np.random.default_rng(SEED).standard_normal((STARTS, unit.u.size))
    starts = random if starts is None else np.vstack([starts, random])
    norms = np.linalg.norm(starts, axis=1, keepdims=True)

    found = []
    for start in (starts / np.where(norms > 0, norms, 1.0))[norms[:, 0] > 0]:
        if _image(unit, start)[0] == 0:
            continue  # a dead direction: the objective is flat there
        ascended = scipy.optimize.minimize(
            _objective, start, args=(unit,), jac=True, method="BFGS", options={"gtol": 1e-9}
        ).x
        found.append(_image(unit, ascended))
    found = [item for item in found if np.isfinite(item[0]) and item[0] > 0]
    found.sort(key=lambda item: -item[0])
    return sorted(found + _polished(unit, found[:3]), key=lambda item: -item[0])


def _objective(w: np.ndarray, unit: AddedUnit) -> tuple[float, np.ndarray]:
    r"""$-\ln \|M(\hat w)\|$ and its gradient."""
    norm = np.linalg.norm(w)
    direction = w / norm
    image, slope = unit.image_and_slope(direction)
    square = float(image @ image) + 1e-300
    slope = slope / square
    return -0.5 * float(np.log(square)), -(slope - direction * (direction @ slope)) / norm


def _image(unit: AddedUnit, w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """(‖M(u)‖, u, M(u)) for u along w."""
    u = w / np.linalg.norm(w)
    value = unit.lowest(u)
    return float(np.linalg.norm(value)), u, value


def _polished(unit: AddedUnit, found):
    """Maxima from which quasi-Newton steps stalled: where samples of either sign meet, they sit on a kink."""
    size = unit.u.size
    if unit.law.smooth or size > POLISH_LIMIT:
        return []
    options = {"xatol": 1e-10, "fatol": 1e-15 * max(found[0][0], 1e-300) if found else 1e-15, "maxiter": 400 * size}
    ends = (
        scipy.optimize.minimize(lambda w: -_image(unit, w)[0], u, method="Nelder-Mead", options=options).x
        for _, u, _ in found
    )
    return [_image(unit, end) for end in ends]
