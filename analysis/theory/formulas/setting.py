"""What the formulas need to know of a model, a loss and data, in the loss's own units and time.

Each function raises `NotApplicable` where the model, loss or data do not have what it looks for.
"""

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
from ....models.units import layer_of
from ..prediction import NotApplicable

# Initial weights are small if the loss differs from that of zero weights by less than this share: the plateau at the
# origin is then clear of the next level, and a leading-order time is right to about as much.
SMALL = 1e-2


def architecture_of(model: Any, *classes: type) -> Architecture:
    """The architecture of a two-layer network if it is an instance of one of the given classes."""
    if not isinstance(model, TwoLayer):
        raise NotApplicable(f"the model is a {type(model).__name__}, not a two-layer network")
    if not isinstance(model.architecture, classes):
        names = " or ".join(each.__name__ for each in classes)
        raise NotApplicable(f"the units are {type(model.architecture).__name__}, not {names}")
    return model.architecture


def dense_units(model: Any, activation: Activation | None = None, outputs: int | None = None) -> Dense:
    """The architecture of a fully connected two-layer network without biases.

    Args:
        model: any model.
        activation: which its units must have; `None` allows any.
        outputs: the number of outputs that it must have; `None` allows any.

    Returns:
        The architecture.

    Raises:
        NotApplicable: if the model is something else.
    """
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
    r"""Requires a two-layer network $\sum_i v_i (u_i \cdot z)$ with free u_i: dense linear or merged attention."""
    if not isinstance(architecture_of(model, Dense, MergedAttention), MergedAttention):
        dense_units(model, linear)


def sample_of(landscape: Landscape) -> tuple[np.ndarray, np.ndarray, float]:
    r"""Inputs, targets with one row per sample, and the weight w of the loss $w \langle \|y - f\|^2 \rangle$."""
    loss, data = landscape.loss, landscape.data
    if not isinstance(loss, SquaredError):
        raise NotApplicable("the loss is not a squared error on a sample")
    x, y = data
    if not hasattr(x, "ndim"):
        raise NotApplicable("the inputs are not one array")
    x, y = np.asarray(x, float), np.asarray(y, float).reshape(len(y), -1)
    return x, y, len(y) / loss.divisor(y)


def statistics_of(landscape: Landscape) -> SufficientStatistics:
    """Sufficient statistics of a squared error on a sample or a population."""
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


def require_invertible_covariance(statistics: SufficientStatistics) -> None:
    """Requires features whose second moments are invertible."""
    factor = np.asarray(statistics.factor)
    if np.linalg.matrix_rank(factor) < factor.shape[1]:
        raise NotApplicable("the input covariance is singular")


def unit_law(model: Any) -> UnitLaw:
    """The law of the units of a model that has no other parameters, and whose units of zero weights are zero."""
    try:
        units = layer_of(model)
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
    """Requires initial weights at which the loss is that of zero weights, to the share `SMALL`."""
    here, zero = float(landscape.value(landscape.theta)), loss_of_zero_network(landscape)
    if abs(here - zero) > SMALL * abs(zero):
        raise NotApplicable(f"the initial weights are not small: the loss is {here:.4g} with them, {zero:.4g} without")


def loss_of_zero_network(landscape: Landscape) -> float:
    """The loss of the network with all units of the first layer zero."""
    return float(landscape.value(_without_units(landscape)))


def _without_units(landscape: Landscape) -> Float[np.ndarray, " n"]:
    """The parameters with all units of the first layer zero."""
    theta = landscape.theta
    theta[unit_positions(landscape.model)] = 0.0
    return theta


def cross_matrix(landscape: Landscape) -> Float[np.ndarray, "Nv Nu"]:
    r"""The matrix $\Sigma_{yz}$ of the flow of small units that enter linearly.

    $\dot v = \Sigma_{yz} u$, $\dot u = \Sigma_{yz}^\top v$ in the loss's own time:
    $\Sigma_{yz} = -\partial^2 L / \partial v\, \partial u$ at zero.

    Args:
        landscape: of a two-layer network whose unit law is smooth of order 1.

    Returns:
        One row per outgoing, one column per incoming weight of a unit.

    Raises:
        NotApplicable: if the units do not enter linearly.

    Source: Zhang, Saxe & Latham (2025), Theorem 4.
    """
    law = unit_law(landscape.model)
    if law.order != 1 or not law.smooth:
        raise NotApplicable("a small unit does not enter linearly: its law is not smooth of order 1")
    u, v = _first_unit(landscape)
    return -landscape.hessian_products(_without_units(landscape), np.eye(landscape.theta.size)[:, u])[v]


def _first_unit(landscape: Landscape) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the incoming and of the outgoing parameters of the first unit in θ."""
    places, count = unit_positions(landscape.model)[0], incoming(landscape.model).shape[1]
    return places[:count], places[count:]


def unit_form(landscape: Landscape) -> Float[np.ndarray, "Nu Nu"]:
    r"""The symmetric matrix $\Sigma_{yZ}$ of the flow of small units that enter quadratically and have one output.

    $\dot v = u^\top \Sigma_{yZ} u$, $\dot u = 2 v \Sigma_{yZ} u$ in the loss's own time:
    $\Sigma_{yZ} = -\frac{1}{2} \partial^3 L / \partial v\, \partial u^2$ at zero.

    Args:
        landscape: of a two-layer network whose unit law is smooth of order 2.

    Returns:
        One row and one column per incoming weight of a unit.

    Raises:
        NotApplicable: if the units do not enter quadratically, or have more than one outgoing weight.

    Source: Zhang, Saxe & Latham (2025), Proposition 5.
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


def commute(a: Float[np.ndarray, "n n"], b: Float[np.ndarray, "n n"], tolerance: float = 1e-8) -> bool:
    r"""Whether two symmetric matrices commute: $\|ab - ba\| \le$ `tolerance` $\|a\| \|b\|$ in the Frobenius norm."""
    return bool(np.linalg.norm(a @ b - b @ a) <= tolerance * np.linalg.norm(a) * np.linalg.norm(b))
