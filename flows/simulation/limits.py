"""When to stop a flow early."""

from typing import Any

import equinox as eqx

from ...models.arguments import quoted, real


class Limits(eqx.Module):
    """When to stop early.

    Attributes:
        convergence: the speed below which to stop once it has been above; `None`: never.
        max_steps: the number of steps tried after which to stop.
    """

    convergence: float | None
    max_steps: int


def check_limits(budget: Any, convergence: Any, progress: Any) -> None:
    """Checks when to stop early, and whom to tell.

    Args:
        budget: seconds, or `None`.
        convergence: a speed, or `None`.
        progress: a function, or `None`.

    Raises:
        ValueError: when one of them is something else.
    """
    for name, value in (("budget", budget), ("convergence", convergence)):
        if value is not None and not real(name, value) >= 0:
            raise ValueError(f"{name} must not be negative; got {value}.")
    if progress is not None and not callable(progress):
        raise ValueError(f"progress must be a function of (t, loss); got {quoted(progress)}.")
