"""How the loss depends on small units added to several layers at once: what governs escape in deep networks."""

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from ...flows import Landscape
from ...flows.landscapes.taylor import ORDER, gradient_series
from ...flows.landscapes.unit_positions import unit_positions
from ...models.units import declared_units, layers_of
from ..embeddings.embedding import Embedding
from ..embeddings.narrow_landscape import NarrowLandscape, added_positions, narrow_landscape
from ..embeddings.products import spare_product_rows
from ..thresholds import STANDARD, Thresholds
from .sphere import SIMPLEX_LIMIT, STALLED, minimum_on_sphere, normal_vectors, polished_on_sphere

if TYPE_CHECKING:
    from scipy.sparse import csc_array

# Orders up to which the gradient is expanded, the second if all forms of the first are zero; each is a program.
EXPANSIONS = (ORDER, 11)
HIGHEST = EXPANSIONS[-1] + 1  # order of a form
# Random directions evaluated, of which many do nothing where units are rectified; how many of the busiest measure
# rounding; and how many of the lowest are improved by descent: all, before a form is called positive.
DIRECTIONS, MEASURED, IMPROVED = 64, 8, 4
# With more parameters than this, whose series take seconds and gigabytes, the first expansion and so many directions
# suffice, and so many steps from the best of them: a fall is a fall, if not the steepest; no form is called positive.
MANY, FEW_DIRECTIONS, STEPS = 1500, 12, 20


class AddedUnitsForm(eqx.Module):
    r"""The leading-order form $F_p$ of the loss in added units, one in each layer that has any to spare.

    Attributes:
        order: p; `None` where no fall was found.
        steepest: $U = \max_{\|d\| = 1} -F_p(d)$ as far as it was found, d the parameters of all added units together,
            including those that connect one to another.
        examined: the order up to which a fall was sought, that of the first form which does not vanish.
        rises: the order of the first form that does not vanish where it is positive in all directions, as far as a
            search can tell; else `None`.
        lowest_order: whether no fall of a lower order is to be expected; not where there are too many parameters for a
            thorough search.
    """

    order: int | None
    steepest: float
    examined: int = HIGHEST
    rises: int | None = None
    lowest_order: bool = True

    @property
    def rate(self) -> float | None:
        r"""$c = pU$ in $\dot r = c\, r^{p-1}$, for added units of norm r on the steepest direction."""
        return None if self.order is None else self.order * self.steepest

    def __str__(self) -> str:
        if self.rises is not None:
            return f"form of one added unit per layer: the loss rises at order {self.rises} in all directions"
        if self.order is None:
            return (
                "form of one added unit per layer: no direction was found along which the loss falls, up to order "
                f"{self.examined}"
            )
        power = "" if self.order == 2 else f"^{self.order - 1}"
        return (
            f"form of one added unit per layer: order {self.order}, steepest fall {self.steepest:.6g}\n"
            f"  steepest descent: dr/dt = {self.rate:.6g} r{power}"
        )


NO_FALL = AddedUnitsForm(order=None, steepest=0.0)


@dataclass(frozen=True)
class _AddedUnits:
    """The loss along straight lines from a narrow network into parameters of added units, order by order.

    Attributes:
        narrow: the narrow network with the added units.
        theta: its parameters.
        selected: orthonormal directions in them, as the columns of a sparse matrix.
    """

    narrow: NarrowLandscape
    theta: Float[np.ndarray, " m"]
    selected: "csc_array"

    @functools.cached_property
    def columns(self) -> Any:
        """The directions in the parameters of the landscape."""
        return self.narrow.matrix @ self.selected

    @property
    def size(self) -> int:
        """The number of directions."""
        return self.columns.shape[1]

    @property
    def smooth(self) -> bool:
        """Whether no unit of the network has a kink."""
        return all(units.law.smooth for units in layers_of(self.narrow.model))

    @property
    def many(self) -> bool:
        """Whether there are too many parameters for a thorough search."""
        return self.size > MANY

    @property
    def stalled(self) -> float:
        """The share of the largest value below which a search may have stalled before it came to a negative one."""
        return 0.0 if self.smooth or self.size <= SIMPLEX_LIMIT else STALLED

    def gradients(self, direction: np.ndarray, order: int) -> Float[np.ndarray, "p k"]:
        r"""The coefficients $g_0, \dots$ of the gradient along $s\,d$: $g_k = \nabla F_{k+1}$."""
        start, curve = self.narrow.matrix @ self.theta, (self.columns @ direction)[None]
        return gradient_series(self.narrow.landscape, start, curve, order) @ self.columns

    def forms(self, directions: np.ndarray, order: int) -> Float[np.ndarray, "m p"]:
        r"""$F_1, F_2, \dots$ on each of several directions, one row each: $F_{k+1} = g_k \cdot d / (k + 1)$."""
        shares = 1 / np.arange(1, order + 2)
        return np.array([self.gradients(d, order) @ d * shares for d in directions])

    def copies(self) -> "list[_AddedUnits]":
        """The same on landscapes and at points in which every number is changed in its last place."""
        return [replace(self, narrow=narrow, theta=point) for narrow, point in self.narrow.perturbed(self.theta)]


def added_units_form(
    landscape: Landscape, embedding: Embedding, *, thresholds: Thresholds = STANDARD
) -> AddedUnitsForm:
    r"""Searches for the direction in which one small unit per layer lowers the loss most.

    A unit in one layer alone may have no effect, as at the origin of a deep network, where a path of units through all
    layers lowers the loss, at the order of the depth. Only layers that have units to spare get one, and none whose law
    has no zero: other units cannot be made by small changes of the network's own.

    Where a product of matrices within a unit, such as that of queries and keys, does not use all of its rows, one more
    row counts as an added unit.

    The form is the first that does not vanish, of those of all parameters of the added units, and, where that is
    nowhere negative, of those parameters that do not connect to units that are there already.

    Args:
        landscape: of the wide network.
        embedding: of the critical network in it.
        thresholds: `rounding_safety`, the number of errors of rounding up to which a form is zero.

    Returns:
        The form. That none was found is numerical evidence only.
    """
    room = zip(embedding.maps, embedding.spare, strict=True)
    grown = [layer for (*_, layer), spare in room if spare and declared_units(embedding.narrow, layer).law.zero]
    if not grown:
        return NO_FALL
    narrow = narrow_landscape(landscape, embedding, spare=grown)
    every = np.unique(np.concatenate([np.concatenate(added_positions(narrow, layer)) for layer in grown]))
    alone = np.setdiff1d(every, _existing(narrow, grown))
    whole = _selected(narrow, every, spare_product_rows(narrow.model, every))
    examined = HIGHEST
    for selected in (whole, _selected(narrow, alone)) if 0 < alone.size < every.size else (whole,):
        added = _AddedUnits(narrow=narrow, theta=narrow.theta, selected=selected)
        expansions = EXPANSIONS[:1] if added.many else EXPANSIONS
        first = next(filter(None, (_first_form(added, order, thresholds) for order in expansions)), None)
        examined = min(examined, expansions[-1] + 1 if first is None else first.order)
        if first is None:
            continue
        lowest = _lowest(added, first, improved=1 if added.many else IMPROVED)
        if selected is whole and lowest > first.noise and not added.many:
            lowest = _lowest(added, first, improved=DIRECTIONS)
            if lowest > max(first.noise, added.stalled * float(np.max(np.abs(first.values)))):
                return AddedUnitsForm(order=None, steepest=0.0, examined=examined, rises=first.order)
        if lowest < -first.noise:
            # A few directions of many show no form to vanish; products with the Hessian do, that of second order.
            sought = first.order <= 3 or not added.many
            return AddedUnitsForm(order=first.order, steepest=-lowest, lowest_order=sought)
    return AddedUnitsForm(order=None, steepest=0.0, examined=examined)


def _selected(narrow: NarrowLandscape, positions: Int[np.ndarray, " k"], *further: "csc_array") -> "csc_array":
    """Unit vectors of parameters, and further directions."""
    from scipy.sparse import csc_array, hstack

    count = len(positions)
    ones = csc_array((np.ones(count), (positions, np.arange(count))), shape=(narrow.theta.size, count))
    return csc_array(hstack([ones, *further]))


def _existing(narrow: NarrowLandscape, grown: list[int]) -> Int[np.ndarray, " k"]:
    """The positions of all parameters of units that were there before one was added to each layer in `grown`."""
    units = [unit_positions(narrow.model, layer) for layer in range(len(layers_of(narrow.model)))]
    return np.unique(np.concatenate([own[: -1 if n in grown else None].ravel() for n, own in enumerate(units)]))


class _FirstForm(NamedTuple):
    """The first form that does not vanish.

    Attributes:
        order: p.
        noise: values up to this are rounding.
        expansion: the order to which the gradient was expanded.
        directions: unit vectors.
        values: of the form on them.
    """

    order: int
    noise: float
    expansion: int
    directions: Float[np.ndarray, "m k"]
    values: Float[np.ndarray, " m"]


def _first_form(added: _AddedUnits, expansion: int, thresholds: Thresholds) -> _FirstForm | None:
    """The first form that does not vanish, `None` if all do."""
    directions = normal_vectors(FEW_DIRECTIONS if added.many else DIRECTIONS, added.size)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    forms = added.forms(directions, expansion)
    sizes = np.max(np.abs(forms), axis=0)
    shares = np.abs(forms) / np.where(sizes > 0, sizes, 1.0)
    busy = np.argsort(-np.max(np.where(np.isfinite(shares), shares, 0.0), axis=1), kind="stable")[:MEASURED]
    changes = [np.abs(copy.forms(directions[busy], expansion) - forms[busy]) for copy in added.copies()]
    noise = thresholds.rounding_safety * np.max(changes, axis=(0, 1))
    # The first-order form is that of a critical point. Forms that are not known are not compared.
    for k in range(1, expansion + 1):
        if sizes[k] > noise[k]:
            return _FirstForm(k + 1, float(noise[k]), expansion, directions, forms[:, k])
    return None


def _lowest(added: _AddedUnits, first: _FirstForm, *, improved: int) -> float:
    """The lowest value on the unit sphere that descent from the best of the directions finds."""
    form, scale = first.order, max(float(np.max(np.abs(first.values))), first.noise)

    def objective(direction: np.ndarray) -> tuple[float, np.ndarray]:
        slope = added.gradients(direction, first.expansion)[form - 1] / scale
        return float(slope @ direction) / form, slope

    starts, steps = first.directions[np.argsort(first.values)[:improved]], STEPS if added.many else None
    lowest, best = minimum_on_sphere(objective, starts, steps=steps)
    if lowest > 0 and not added.smooth and best.size <= SIMPLEX_LIMIT:
        # Before kinks descent stalls.
        best = polished_on_sphere(lambda direction: objective(direction)[0], best, scale=1.0)
        lowest = min(lowest, objective(best)[0])
    return scale * lowest
