"""The lowest order at which the loss changes along the null space of a Hessian, and the steepest way down."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float

from ..flows import GradientFlow, flatten
from .curvature import Spectrum
from .scales import Scales

# Random directions that tell a form that vanishes from one that does not, and starts of the search for its least value.
PROBES, STARTS = 8, 24
# A form below this share of its natural size L/‖θ‖ᵖ is zero: derivatives by differentiation are exact to rounding.
ZERO_FORM = 1e-9
# A position known to δ, with a true quartic, shows eigenvalues 12 F₄ δ² and a third-order form 4 F₄ δ; four times that
# is still no cubic.
OFF_CENTRE = 4.0


class LowestForm(eqx.Module):
    r"""$L = L^* + s^p F_p(d) + \dots$ along a null direction d, the other coordinates relaxed.

    $F_p$ is the first form that does not vanish on the null space; relaxing means that $\nabla L$ has no component
    outside it, so that the coupling between the two enters $F_4$ and higher forms.

    - `order`: p, or `None` where no form up to the examined order differs from zero.
    - `lowest`, `highest`: the extreme values of $F_p$ on the unit sphere of the null space that were found.
    - `direction`: the unit vector with the lowest, the direction of steepest escape where that is negative.
    - `examined`: the highest order that was looked at; `dimension`: of the null space.

    Source: the reduction of Lyapunov and Schmidt; the escape from degenerate saddles is that of Jacot et al. (2021).
    """

    order: int | None
    lowest: float
    highest: float
    direction: Float[np.ndarray, " n"] | None
    examined: int
    dimension: int

    @property
    def falls(self) -> bool:
        """Whether the loss falls along some null direction at the lowest order."""
        return self.order is not None and self.lowest < -self._small

    @property
    def rises(self) -> bool:
        """Whether the loss rises at the lowest order along every null direction that the search saw."""
        return self.order is not None and self.lowest > self._small

    @property
    def _small(self) -> float:
        # The search ends within 1e-6 of a zero of a semidefinite form, where its value is the square of that.
        return 1e-6 * max(abs(self.lowest), abs(self.highest))

    def __str__(self) -> str:
        if self.order is None:
            return f"the loss does not change up to order {self.examined}"
        values = f"F_{self.order} from {self.lowest:.4g} to {self.highest:.4g} on the unit sphere of {self.dimension}"
        return f"the loss changes at order {self.order}, {values} dimension{'s' if self.dimension > 1 else ''}"

    @property
    def rate(self) -> float | None:
        r"""$c = -p F_p$ of $\dot r = c\,r^{p-1}$ on the steepest direction; `None` where the loss does not fall."""
        return -self.order * self.lowest if self.order is not None and self.falls else None


def _derivative(function: Callable[[Array], Array], order: int, dtype: Any) -> Array:
    """The Taylor coefficient of a function of one variable at zero, by nested forward derivatives."""
    factorial = 1.0
    for k in range(order):
        function = lambda s, inner=function: jax.jvp(inner, (s,), (jnp.ones_like(s),))[1]  # noqa: E731
        factorial *= k + 1
    return function(jnp.zeros((), dtype)) / factorial


def _form(flow: GradientFlow, theta: Array, inverse: tuple[Array, Array] | None, data: Any, d: Array, order: int):
    """F_p(d), the Taylor coefficient of the loss along d, the coordinates outside the null space relaxed."""
    along = lambda point, k: _derivative(lambda s: flow.value(point + s * d, data), k, theta.dtype)  # noqa: E731
    if inverse is None or order == 3:
        return along(theta, order)
    vectors, inverses = inverse
    if order == 4:
        # The second-order response -H⁺g to g = D³L(d, d, ·)/2 lowers the loss by gᵀH⁺g/2; cheaper than what follows.
        response = vectors.T @ jax.grad(lambda point: along(point, 2))(theta)
        return along(theta, 4) - jnp.sum(inverses * response**2) / 2

    def relaxed(s: Array) -> Array:
        point = theta + s * d
        # Each correction with the fixed Hessian gains one order of s in position, hence two in the loss.
        for _ in range(order // 2 - 1):
            point = point - vectors @ (inverses * (vectors.T @ jax.grad(flow.value)(point, data)))
        return flow.value(point, data)

    return _derivative(relaxed, order, theta.dtype)


_value = eqx.filter_jit(_form)


@eqx.filter_jit
def _value_and_gradient(flow, theta, inverse, data, direction, order):
    return jax.value_and_grad(lambda d: _form(flow, theta, inverse, data, d, order))(direction)


def form_along(
    model: Any,
    theta: Float[np.ndarray, " n"],
    loss: Callable,
    data: Any,
    direction: Float[np.ndarray, " n"],
    order: int,
) -> float:
    r"""The form of order p along a direction, not relaxed: $\frac{1}{p!} \frac{d^p}{ds^p} L(\theta + s d)$ at s = 0."""
    return float(_value(GradientFlow(model, loss), jnp.asarray(theta), None, data, jnp.asarray(direction), order))


def third_order_form(model: Any, loss: Callable, data: Any, direction: Float[np.ndarray, " n"]) -> float:
    r"""$F_3(d) = \frac{1}{6} \frac{d^3}{ds^3} L(\theta + s d)$ at s = 0.

    On a direction d with $\nabla L = 0$ and $\nabla^2 L\, d = 0$ a non-zero value proves that the loss falls along d
    or −d, whatever the Hessian says.
    """
    return form_along(model, np.asarray(flatten(model)), loss, data, direction, 3)


def lowest_form(
    model: Any,
    theta: Float[np.ndarray, " n"],
    loss: Callable,
    data: Any,
    spectral: Spectrum,
    *,
    basis: Float[np.ndarray, "n k"] | None = None,
    scales: Scales | None = None,
    max_order: int = 6,
    search: bool = True,
) -> LowestForm:
    """The first form of the loss that does not vanish on the null space, with its extreme values.

    **Arguments:** `model`, `theta`: the critical point; `loss`, `data`; `spectral`: its spectrum; `basis`: of the part
    of the null space to look at, as orthonormal columns (by default all of it; along orbits of symmetries the loss does
    not change, so that they can be left out); `scales`: sizes that count as large; `max_order`: the last order tried;
    `search`: look for the extreme values, beyond those met in telling the order.

    The extremes are the best of 24 local searches, not certified.
    """
    scales = Scales() if scales is None else scales
    basis = spectral.null_space if basis is None else basis
    if basis.shape[1] == 0:
        return LowestForm(None, 0.0, 0.0, None, max_order, 0)
    kept = np.abs(spectral.eigenvalues) > spectral.zero_threshold
    inverses = np.where(kept, 1 / np.where(kept, spectral.eigenvalues, 1.0), 0.0)
    inverse = (jnp.asarray(spectral.eigenvectors), jnp.asarray(inverses)) if np.any(kept) else None
    fixed = GradientFlow(model, loss), jnp.asarray(theta), inverse, data

    def at(c: np.ndarray, order: int) -> float:
        return float(_value(*fixed, jnp.asarray(basis @ (c / np.linalg.norm(c))), order))

    def with_gradient(c: np.ndarray, order: int) -> tuple[float, np.ndarray]:
        """F_p and its gradient as a function of coefficients in the null space, made homogeneous of degree zero."""
        norm = np.linalg.norm(c)
        parts = _value_and_gradient(*fixed, jnp.asarray(basis @ (c / norm)), order)
        value, gradient = float(parts[0]), np.asarray(parts[1])
        return value, (basis.T @ gradient - order * value * c / norm) / norm

    starts = np.random.default_rng(0).standard_normal((STARTS, basis.shape[1]))
    natural = scales.loss / scales.weight ** np.arange(max_order + 2)

    def size(order: int) -> float:
        return max(abs(at(c, order)) for c in starts[:PROBES])

    for order in range(3, max_order + 1):
        found = size(order)
        if order == 3 and found > ZERO_FORM * natural[3] and spectral.largest_zero > 0:
            # Beside a quartic critical point, as well as it can be located, the third form is not quite zero.
            off_centre = OFF_CENTRE * np.sqrt(size(4) * spectral.largest_zero)
            found = found if found > off_centre else 0.0
        if found > ZERO_FORM * natural[order]:
            lowest, highest, best = _met([(at(sign * c, order), sign * c) for c in starts[:PROBES] for sign in (1, -1)])
            if search and basis.shape[1] > 1:
                form = lambda c, p=order: with_gradient(c, p)  # noqa: E731
                lowest, highest, best = _extremes(form, starts, found, odd=order % 2 == 1)
            return LowestForm(order, lowest, highest, basis @ best, max_order, basis.shape[1])
    return LowestForm(None, 0.0, 0.0, None, max_order, basis.shape[1])


def _met(values: list[tuple[float, np.ndarray]]) -> tuple[float, float, np.ndarray]:
    """The lowest and highest of some values, and where the lowest is; all there is on a sphere of two points."""
    lowest, where = min(values, key=lambda pair: pair[0])
    return lowest, max(value for value, _ in values), where / np.linalg.norm(where)


def _extremes(form: Callable, starts: np.ndarray, scale: float, *, odd: bool) -> tuple[float, float, np.ndarray]:
    """The lowest and highest value on the sphere, and where the lowest is, by local searches."""

    def search(sign: float) -> tuple[float, np.ndarray]:
        objective = lambda c: tuple(sign * part / scale for part in form(c))  # noqa: E731
        found = [
            scipy.optimize.minimize(objective, c, jac=True, method="BFGS", options={"gtol": 1e-10}) for c in starts
        ]
        best = min(found, key=lambda result: result.fun)
        return sign * scale * float(best.fun), best.x / np.linalg.norm(best.x)

    lowest, where = search(1.0)
    return lowest, -lowest if odd else search(-1.0)[0], where
