"""The evidence on a critical point other than its Hessian: the effect of small units, and thresholds for zero."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...models.units import layers_of, units_of
from ..curvature.scales import Scales
from ..embeddings.embedding import Embedding, LayeredEmbedding
from ..leading_order.added_unit import AddedUnitForm, added_unit_form
from ..leading_order.added_units import AddedUnitsForm, added_units_form
from ..thresholds import Thresholds
from .critical_point import CriticalPoint

NO_UNIT_HELPS = "no unit of any size lowers the loss to first order, so none does if it is convex in the sum of units"


class Evidence(eqx.Module):
    """A critical point with the evidence on it other than its Hessian.

    Attributes:
        point: the critical point, refined and converged.
        scales: characteristic scales of the flow.
        thresholds: what counts as zero.
        form: the leading-order form of an added unit, or of one in each layer; `None` where none was examined.
        lowers: whether small added units lower the loss.
        spare_lowers: whether they do so and the network has a dormant unit that can take their place.
        added: the same in words.
        smooth: whether the loss is twice differentiable at the point.
        homogeneous: whether the form is that of added units of any size, as φ is homogeneous.
        zero_loss: whether the loss is zero to rounding.
        zero_threshold: |λ| up to which an eigenvalue counts as zero; `None` to decide by the spectrum at hand.
    """

    point: CriticalPoint
    scales: Scales
    thresholds: Thresholds
    form: AddedUnitForm | AddedUnitsForm | None
    lowers: bool
    spare_lowers: bool
    added: str
    smooth: bool
    homogeneous: bool
    zero_loss: bool
    zero_threshold: float | None


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
    zero_loss = abs(point.loss) <= thresholds.loss_zero * scales.loss
    if isinstance(point.embedding, LayeredEmbedding):
        form, lowers, spare_lowers, added, smooth = _of_several_layers(point, scales, thresholds, zero_loss)
    else:
        form, lowers, spare_lowers, added, smooth = _of_one_layer(point, scales, starts, thresholds)
    units = units_of(point.landscape.model)
    return Evidence(
        point=point,
        scales=scales,
        thresholds=thresholds,
        form=form,
        lowers=lowers,
        spare_lowers=spare_lowers,
        added=added,
        smooth=smooth,
        homogeneous=isinstance(form, AddedUnitForm) and units is not None and units.law.degree is not None,
        zero_loss=zero_loss,
        zero_threshold=_zero_threshold(point, scales, thresholds),
    )


def _of_one_layer(
    point: CriticalPoint, scales: Scales, starts: Float[np.ndarray, "k Nu"] | None, thresholds: Thresholds
) -> tuple[AddedUnitForm | None, bool, bool, str, bool]:
    """Form, `lowers`, `spare_lowers`, `added` and `smooth` for models with one layer of units, or none."""
    units, embedding, form = units_of(point.landscape.model), point.embedding, None
    if units is not None and units.law.zero and isinstance(embedding, Embedding):
        form = added_unit_form(point.landscape, embedding=embedding, starts=starts)
    lowers = form is not None and form.strength > thresholds.form_zero * scales.gradient
    dormant = embedding is not None and bool(np.any(embedding.dormant))
    smooth = units is None or units.law.smooth or not dormant
    return form, lowers, lowers and dormant, "a small unit lowers the loss", smooth


def _of_several_layers(
    point: CriticalPoint, scales: Scales, thresholds: Thresholds, zero_loss: bool
) -> tuple[AddedUnitsForm | None, bool, bool, str, bool]:
    """The same for units in several layers, where one is added to each of them at once."""
    embedding, form = point.embedding, None
    assert isinstance(embedding, LayeredEmbedding)
    if any(p.shape[0] > p.shape[1] for p, _ in embedding.layers) and not zero_loss:
        silent = thresholds.loss_silent * scales.loss
        form = added_units_form(point.landscape, embedding, weight_scale=scales.weight, silent=silent)
    lowers = form is not None and form.order is not None
    found = "one small unit in every layer lowers the loss"
    added = found if lowers else "no small units were found that lower the loss"
    smooth = all(units.law.smooth for units in layers_of(point.landscape.model)) or not np.any(embedding.dormant)
    return form, lowers, lowers, added, bool(smooth)


def _zero_threshold(point: CriticalPoint, scales: Scales, thresholds: Thresholds) -> float | None:
    """|λ| up to which the sign of an eigenvalue is uncertain, as the point is known only to finite accuracy."""
    if scales.curvature is None:
        return None
    # Where the loss is of third order a gradient of g leaves the point uncertain by √g, and its eigenvalues as much.
    accuracy = max(point.gradient_norm / scales.gradient, np.finfo(float).eps)
    return thresholds.eigenvalue_safety * scales.curvature * float(np.sqrt(accuracy))
