"""What the formulas need to know of a model, a loss and data, in the units of the loss's own time."""

from typing import Any

import numpy as np
from jaxtyping import Float

from ....flows import Landscape, SquaredError, statistics_loss
from ....flows.landscapes.taylor import third_products
from ....flows.landscapes.unit_positions import unit_positions
from ....flows.losses.statistics import SufficientStatistics, features_on, from_sample
from ....models import Activation, Dense, MergedAttention, TwoLayer, UnitLaw, incoming, linear
from ....models.architecture import Architecture
from ....models.features import features_of
from ....models.units import units_of
from ..prediction import NotApplicable

# A start counts as small if the loss differs from that of zero weights by less than this share.
SMALL = 1e-2


def architecture_of(model: Any, *kinds: type) -> Architecture:
    """The architecture of a two-layer network if it is one of the given kinds."""
    if not isinstance(model, TwoLayer):
        raise NotApplicable(f"the model is a {type(model).__name__}, not a two-layer network")
    if not isinstance(model.architecture, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise NotApplicable(f"the units are {type(model.architecture).__name__}, not {names}")
    return model.architecture


def dense_units(model: Any, activation: Activation | None = None, outputs: int | None = None) -> Dense:
    """The architecture of a fully connected two-layer network of a given activation and number of outputs."""
    architecture = architecture_of(model, Dense)
    assert isinstance(architecture, Dense)
    if architecture.bias:
        raise NotApplicable("the units have biases")
    if activation is not None and architecture.activation != activation:
        raise NotApplicable(f"the activation is {architecture.activation.name}, not {activation.name}")
    if outputs is not None and architecture.outputs != outputs:
        raise NotApplicable(f"there are {architecture.outputs} outputs, not {outputs}")
    return architecture


def require_linear_units(model: Any) -> None:
    r"""Refuses all but two-layer networks $\sum_i v_i (u_i \cdot z)$ with any u_i: dense linear, merged attention."""
    if not isinstance(architecture_of(model, Dense, MergedAttention), MergedAttention):
        dense_units(model, linear)


def sample_of(landscape: Landscape) -> tuple[np.ndarray, np.ndarray, float]:
    """Inputs, targets with one row per sample, and the weight w of $w \\langle \\|y - f\\|^2 \\rangle$."""
    loss, data = landscape.loss, landscape.data
    if not isinstance(loss, SquaredError):
        raise NotApplicable("the loss is not a squared error on a sample")
    x, y = data
    if not hasattr(x, "ndim"):
        raise NotApplicable("the inputs are not one array")
    y = np.asarray(y).reshape(len(y), -1)
    return np.asarray(x), y, len(y) / loss.divisor(y)


def statistics_of(landscape: Landscape) -> SufficientStatistics:
    """Sufficient statistics of a squared error, of a sample or of a population."""
    loss, data = landscape.loss, landscape.data
    if isinstance(data, SufficientStatistics):
        if loss is not statistics_loss:
            raise NotApplicable("the loss is not the squared error of the statistics")
        return data
    features = features_of(landscape.model)
    if features is None:
        raise NotApplicable("the model is not linear in fixed features of the input")
    if not isinstance(loss, SquaredError):
        raise NotApplicable("the loss is not a squared error")
    x, y = data
    y = np.asarray(y).reshape(len(y), -1)
    return from_sample(features_on(features, x), y, loss.weight(y))


def unit_law(model: Any) -> UnitLaw:
    """The law of a model's units, which must vanish with their weights and have no others beside them."""
    try:
        units = units_of(model)
    except ValueError as error:
        raise NotApplicable(str(error).rstrip(".")) from error
    if units is None:
        raise NotApplicable(f"{type(model).__name__} declares no units")
    if not isinstance(model, TwoLayer):
        raise NotApplicable("the model may have parameters besides one layer of units")
    if not units.law.zero:
        raise NotApplicable("a unit of zero weights is not zero")
    return units.law


def require_small(landscape: Landscape) -> None:
    """Refuses a start at which the units are not small."""
    here, zero = float(landscape.value(landscape.theta)), loss_of_zero_network(landscape)
    if abs(here - zero) > SMALL * abs(zero):
        raise NotApplicable(f"the initial weights are not small: the loss is {here:.4g} with them, {zero:.4g} without")


def loss_of_zero_network(landscape: Landscape) -> float:
    """The loss of the same network with all units zero."""
    return float(landscape.value(_without_units(landscape)))


def _without_units(landscape: Landscape) -> Float[np.ndarray, " n"]:
    """The parameters with all units of the first layer zero."""
    theta = landscape.theta
    theta[unit_positions(landscape.model)] = 0.0
    return theta


def cross_matrix(landscape: Landscape) -> Float[np.ndarray, "Nv Nu"]:
    r"""$\Sigma_{yz}$ of $\dot v = \Sigma_{yz} u$, $\dot u = \Sigma_{yz}^\top v$ near zero, in the loss's own time.

    $-\partial^2 L / \partial v\, \partial u$ at zero, for units whose lowest order is one and smooth.
    """
    law = unit_law(landscape.model)
    if law.order != 1 or not law.smooth:
        raise NotApplicable("a small unit does not enter linearly: its law is not smooth of order 1")
    u, v = _first_unit(landscape)
    return -landscape.hessian_products(_without_units(landscape), np.eye(landscape.theta.size)[:, u])[v]


def _first_unit(landscape: Landscape) -> tuple[np.ndarray, np.ndarray]:
    """Where the incoming and the outgoing parameters of the first unit are in θ."""
    places, count = unit_positions(landscape.model)[0], incoming(landscape.model).shape[1]
    return places[:count], places[count:]


def unit_form(landscape: Landscape) -> Float[np.ndarray, "Nu Nu"]:
    r"""$\Sigma_{yZ}$ of $\dot v = u^\top \Sigma_{yZ} u$, $\dot u = 2 v \Sigma_{yZ} u$ near zero, in the loss's time.

    $-\frac{1}{2} \partial^3 L / \partial v\, \partial u^2$ at zero, for units of lowest order two with one output.
    """
    law = unit_law(landscape.model)
    if law.order != 2 or not law.smooth:
        raise NotApplicable("a small unit does not enter quadratically: its law is not smooth of order 2")
    u, v = _first_unit(landscape)
    if len(v) != 1:
        raise NotApplicable(f"a unit has {len(v)} outgoing weights, not one")
    # The quadratic form on e_i + e_j, i ≤ j, from which polarisation makes the matrix.
    first, second = np.triu_indices(len(u))
    unit = np.eye(landscape.theta.size)[:, u]
    values = third_products(landscape, _without_units(landscape), unit[:, first] + unit[:, second])[v[0]]
    form = np.zeros((len(u), len(u)))
    form[first, second] = form[second, first] = -values / 2
    alone = np.diag(form) / 4
    return (form - alone[:, None] - alone) / 2


def commute(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-8) -> bool:
    """Whether two symmetric matrices commute, to a share of the product of their sizes."""
    return bool(np.linalg.norm(a @ b - b @ a) <= tolerance * np.linalg.norm(a) * np.linalg.norm(b))
