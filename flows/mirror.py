"""Diagonal linear networks in the coordinates of their mirror map, in which initial weights may vanish."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

MAX_STEPS = 200_000
# sinh overflows beyond 710.
LARGEST = 700.0


def mirror_flow(
    x: Float[np.ndarray, "n D"],
    y: Float[np.ndarray, " n"],
    alpha: float,
    times: Float[np.ndarray, " T"],
    *,
    rtol: float = 1e-10,
) -> Float[np.ndarray, "T D"]:
    r"""Gradient flow of a diagonal linear network $\beta = u \odot v$ from $u = \sqrt 2 \alpha$, $v = 0$.

    The loss is $L = \frac{1}{2n} \|X \beta - y\|^2$. With $\theta = \mathrm{arcsinh}(\beta / \alpha^2)$ the flow of
    (u, v) is exactly $\dot\theta = -2 \nabla_\beta L(\alpha^2 \sinh\theta)$. In (u, v) a coordinate that has been large
    cannot return to zero, since $u^2 - v^2 = 2 \alpha^2$ is lost in rounding; here α may be 1e-80.

    Args:
        x: the design X, one row per sample.
        y: the targets.
        alpha: the initialisation scale α > 0, at least $e^{-350}$, since β / α² must not overflow.
        times: increasing times to step onto, from 0 on.
        rtol: tolerance of θ, relative and absolute.

    Returns:
        β at these times, one row each.

    Raises:
        ValueError: when α or the times are out of range, or the flow could not be integrated.

    Source: Woodworth et al. (2020), "Kernel and rich regimes in overparametrized models".
    """
    times = np.asarray(times, dtype=float)
    if not (alpha > 0 and -2 * np.log(alpha) < LARGEST):
        raise ValueError(f"alpha must be positive and at least exp(-{LARGEST / 2:g}); got {alpha}.")
    if times.ndim != 1 or not len(times) or times[0] < 0 or np.any(np.diff(times) <= 0):
        raise ValueError("times must be increasing and not negative.")
    start = jnp.zeros(x.shape[1], jnp.result_type(float))
    states, succeeded = _integrate(jnp.asarray(x), jnp.asarray(y), jnp.asarray(alpha), jnp.asarray(times), start, rtol)
    if not bool(succeeded):
        raise ValueError(f"the flow did not reach t = {times[-1]:g} within {MAX_STEPS} steps.")
    return alpha**2 * np.sinh(np.asarray(states))


@eqx.filter_jit
def _integrate(
    x: Array, y: Array, alpha: Array, times: Array, start: Array, rtol: float
) -> tuple[Float[Array, "T D"], Array]:
    def field(_: Any, theta: Any, __: Any) -> Any:
        return -2 * x.T @ (x @ (alpha**2 * jnp.sinh(theta)) - y) / len(x)

    solution = dfx.diffeqsolve(
        dfx.ODETerm(field),
        dfx.Dopri8(),
        0.0,
        times[-1],
        None,
        start,
        saveat=dfx.SaveAt(ts=times),
        stepsize_controller=dfx.ClipStepSizeController(dfx.PIDController(rtol=rtol, atol=rtol), step_ts=times),
        max_steps=MAX_STEPS,
        throw=False,
    )
    assert solution.ys is not None  # as saveat asks for it
    return solution.ys, solution.result == dfx.RESULTS.successful
