"""The evidence on a critical point other than its Hessian: lower bounds of the loss, and the effect of small units."""

from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows.losses.declaration import convex_in_output
from ...models.units import largest_width, layer_of, layers_of, width
from ..curvature.lowest import negative_eigenvalues
from ..curvature.scales import Scales
from ..embeddings.embedding import Embedding
from ..leading_order.added_unit import AddedUnitForm, unpenalised_form
from ..leading_order.added_units import AddedUnitsForm, added_units_form
from ..thresholds import Thresholds
from .critical_point import CriticalPoint
from .lower_bound import lower_bound_attained
from .refine_by_products import BY_PRODUCTS_FROM

NO_UNIT_HELPS = (
    "no unit of any size lowers the loss: its derivative in the output is orthogonal to all, and it is convex"
)
# Products that show whether the Hessian of a large network has an eigenvalue below minus this share of its radius.
PROBED, CLEARLY = 60, 1e-3


class Evidence(eqx.Module):
    """A critical point with the evidence on it other than its Hessian.

    Attributes:
        point: the critical point, refined and converged.
        scales: characteristic scales of the flow.
        thresholds: what counts as zero.
        form: the leading-order form of an added unit, or of one in each layer with room; `None` where none was
            examined.
        lowers: whether small added units lower the loss.
        spare_lowers: whether they do so and the network has units to spare that can take their place.
        added: the same in words.
        smooth: whether the loss is twice differentiable at the point.
        lower_bound_attained: the sentence that the loss attains a lower bound, `None` where it is not known to.
        no_unit_helps: the sentence that no network of any width has a lower loss, `None` where that is not known.
    """

    point: CriticalPoint
    scales: Scales
    thresholds: Thresholds
    form: AddedUnitForm | AddedUnitsForm | None
    lowers: bool
    spare_lowers: bool
    added: str
    smooth: bool
    lower_bound_attained: str | None
    no_unit_helps: str | None

    @property
    def fall(self) -> tuple[int | None, str]:
        """The order at which small units lower the loss, unless a lower one is to be expected; the same in words."""
        assert self.form is not None
        if isinstance(self.form, AddedUnitsForm) and not self.form.lowest_order:
            return None, f"order {self.form.order} or lower"
        return self.form.order, f"order {self.form.order}"


class _Added(NamedTuple):
    """What added units do: the fields of `Evidence` of the same names."""

    form: AddedUnitForm | AddedUnitsForm | None
    lowers: bool
    spare_lowers: bool
    added: str


def gather(
    point: CriticalPoint, *, scales: Scales, starts: Float[np.ndarray, "k Nu"] | None, thresholds: Thresholds
) -> Evidence:
    """Computes the effect of added units at a critical point, and the thresholds for zero there.

    Args:
        point: the critical point.
        scales: characteristic scales of the flow.
        starts: incoming parameters from which to search for the steepest added unit, besides random ones.
        thresholds: what counts as zero.

    Returns:
        The evidence.
    """
    attained = lower_bound_attained(point.landscape, point.theta, thresholds=thresholds)
    if point.embedding is not None and point.embedding.layered:
        added = _in_several_layers(point, point.embedding, thresholds, attained is not None)
    else:
        added = _in_one_layer(point, starts, thresholds, attained is not None)
    return Evidence(
        point=point,
        scales=scales,
        thresholds=thresholds,
        form=added.form,
        lowers=added.lowers,
        spare_lowers=added.spare_lowers,
        added=added.added,
        smooth=_is_smooth(point) or _kinks_vanish(point, added),
        lower_bound_attained=attained,
        no_unit_helps=_no_unit_helps(point, added),
    )


def _in_one_layer(
    point: CriticalPoint, starts: Float[np.ndarray, "k Nu"] | None, thresholds: Thresholds, attained: bool
) -> _Added:
    """What added units do in models with one layer of units, or none. At a lower bound nothing lowers the loss."""
    units, embedding, form, spare = layer_of(point.landscape.model), point.single_layer, None, 0
    if units is not None and units.law.zero and embedding is not None and _holds_one_more(embedding):
        form = unpenalised_form(point.landscape, embedding, starts=starts, thresholds=thresholds)
        if form is None:
            return _penalised(point, embedding, thresholds, attained)
        (spare,) = embedding.spare
    lowers = form is not None and form.lowers(thresholds) and not attained
    order = "" if form is None else f" at order {form.order}"
    added = "a small unit lowers the loss" if lowers else f"no small unit was found that lowers the loss{order}"
    return _Added(form=form, lowers=lowers, spare_lowers=lowers and spare > 0, added=added)


def _penalised(point: CriticalPoint, embedding: Embedding, thresholds: Thresholds, attained: bool) -> _Added:
    """What an added unit does whose own weights are penalised: the form of all its parameters together."""
    form = added_units_form(point.landscape, embedding, thresholds=thresholds)
    lowers = form.order is not None and not attained
    added = "a small unit lowers the loss" if lowers else "no small unit was found that lowers the loss"
    return _Added(form=form, lowers=lowers, spare_lowers=lowers, added=added)


def _holds_one_more(embedding: Embedding) -> bool:
    """Whether a unit can be added to the narrow network: not where all are used of a number that its program fixes."""
    most = largest_width(embedding.narrow)
    return most is None or width(embedding.narrow) < most


def _in_several_layers(point: CriticalPoint, embedding: Embedding, thresholds: Thresholds, attained: bool) -> _Added:
    """The same for units in several layers, where one is added to each that has units to spare."""
    form = None
    if point.theta.size >= BY_PRODUCTS_FROM and not attained and _curves_down(point):
        added = "no small units were sought, as the Hessian has negative eigenvalues"
        return _Added(form=None, lowers=False, spare_lowers=False, added=added)
    if any(embedding.spare) and not attained:
        form = added_units_form(point.landscape, embedding, thresholds=thresholds)
    lowers = form is not None and form.order is not None
    found = "one small unit in each layer with units to spare lowers the loss"
    added = found if lowers else "no small units were found that lower the loss"
    return _Added(form=form, lowers=lowers, spare_lowers=lowers, added=added)


def _curves_down(point: CriticalPoint) -> bool:
    """Whether a few products show a clearly negative eigenvalue, beside which no form of a higher order matters."""
    landscape, theta = point.landscape, point.theta
    if not _is_smooth(point):
        return False
    found = negative_eigenvalues(lambda v: landscape.hessian_product(theta, v), theta.size, products=PROBED)
    return bool(np.min(found.values, initial=0.0) < -CLEARLY * found.radius)


def _is_smooth(point: CriticalPoint) -> bool:
    """Whether the loss is twice differentiable: kinks of units are met where units are zero."""
    smooth = all(units.law.smooth for units in layers_of(point.landscape.model))
    return smooth or point.embedding is None or not bool(np.any(point.embedding.dormant))


def _kinks_vanish(point: CriticalPoint, added: _Added) -> bool:
    r"""Whether zero units have no kink at second order, $\phi(z; u) = O(|u|^2)$, and a form of higher order decides."""
    # Then φ(z; u) v is of third order at u = v = 0 and its second derivatives there are zero, whatever those of φ are.
    if not (isinstance(added.form, AddedUnitForm) and added.spare_lowers and added.form.order > 2):
        return False
    product = point.landscape.hessian_product(point.theta, np.ones_like(point.theta))
    return bool(np.all(np.isfinite(product)))


def _no_unit_helps(point: CriticalPoint, added: _Added) -> str | None:
    r"""The sentence that no other network of this kind, of any width, has a lower loss, if it is known.

    If $L(f)$ is convex and $f = \sum_i \phi(u_i) v_i$, then $L(f') - L(f) \ge \langle L'(f), f' - f \rangle =
    \sum_i M(u_i) v_i - \sum_i M(u'_i) v'_i$, which is zero if M vanishes. A form vanishes for units of any size if
    φ is homogeneous; and everywhere if it does on random directions and φ has no kinks, between which it could hide.

    Args:
        point: the critical point.
        added: the form there.

    Returns:
        The sentence, or `None`.
    """
    units = layer_of(point.landscape.model)
    if units is None or not isinstance(added.form, AddedUnitForm) or added.lowers:
        return None
    homogeneous = units.law.degree is not None and units.law.field == "real" and units.law.smooth
    convex = units.additive and convex_in_output(point.landscape.loss)
    return NO_UNIT_HELPS if homogeneous and convex else None
