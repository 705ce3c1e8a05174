"""Sign changes of quantities along a flow, recorded without stopping it."""

from collections.abc import Callable, Mapping
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Bool, Float, Int

from ..compilation.traced import Traced, compiled, evaluate, trace
from ..landscapes.landscape import Landscape
from .stepping import CHUNK, Steps, step_onto

FIELDS = ("times", "entries", "directions")


class SignChanges(eqx.Module):
    """The sign changes of one watched quantity, in order of time.

    - `times`: when; `entries`: which entry of the quantity, flattened; `directions`: +1 where it became positive, −1
      where it ceased to be.
    """

    times: Float[np.ndarray, " k"]
    entries: Int[np.ndarray, " k"]
    directions: Int[np.ndarray, " k"]

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def none(cls, dtype: Any = float) -> "SignChanges":
        """No sign change."""
        return cls(np.zeros(0, dtype), np.zeros(0, int), np.zeros(0, int))


class Watch:
    """Finds the sign changes of functions of the model between accepted steps.

    Each is located by a root-finder on the flow itself, stepped onto from the accepted step before it, so that its
    time is as accurate as the flow. An entry that changes its sign twice within one step is not noticed.
    """

    def __init__(self, landscape: Landscape, functions: Mapping[str, Callable], tolerances: tuple[float, float]):
        self.landscape, self.tolerances = landscape, tolerances
        self.functions = {name: traced_quantity(landscape, function) for name, function in functions.items()}
        self.found = {name: SignChanges.none() for name in self.functions}

    def look(self, last: Steps, steps: Steps, solver: dfx.AbstractSolver) -> dict[str, SignChanges]:
        """What has been found once the accepted steps (one or more) that follow the record `last` are looked at."""
        run = jax.tree.map(lambda *arrays: np.concatenate(arrays), last, steps)
        return {name: self._look(name, run, solver) for name in self.functions}

    def _look(self, name: str, run: Steps, solver: dfx.AbstractSolver) -> SignChanges:
        function = self.functions[name]
        # Padded to one shape, so that it is compiled once.
        thetas = np.pad(run.thetas, ((0, CHUNK + 1 - len(run.ts)), (0, 0)))
        positive = np.asarray(_positive(function, thetas, np.asarray(len(run.ts))))[: len(run.ts)]
        before, entries = np.nonzero(positive[1:] != positive[:-1])
        if len(before) == 0:
            return self.found[name]
        times = [self._locate(function, run[k : k + 2], int(e), solver) for k, e in zip(before, entries, strict=True)]
        directions = np.where(positive[before + 1, entries], 1, -1)
        return _append(self.found[name], np.array(times), entries, directions)

    def _locate(self, function: Traced, pair: Steps, entry: int, solver: dfx.AbstractSolver) -> float:
        """The time between two accepted steps at which one entry passes zero."""
        start, end = (float(t) for t in pair.ts)

        def at(theta: np.ndarray) -> float:
            return float(evaluate(function, theta)[entry])

        known = {start: at(pair.thetas[0]), end: at(pair.thetas[1])}
        if (known[start] > 0) == (known[end] > 0):
            # The sign is rounding's, which compilers do differently: an end lies on zero.
            return min(known, key=lambda t: abs(known[t]))

        def value(t: float) -> float:
            return (
                known[t]
                if t in known
                else at(step_onto(self.landscape, solver, pair[:1], t, self.tolerances).thetas[-1])
            )

        resolution = 4 * float(np.finfo(pair.ts.dtype).eps)
        try:
            return float(scipy.optimize.brentq(value, start, end, xtol=resolution * end, rtol=resolution))  # pyright: ignore
        except FloatingPointError:
            # No step short of the accepted one succeeds, as may be at a kink: the step's end is what is known.
            return end

    def state(self) -> dict[str, np.ndarray]:
        """What `restore` needs."""
        return pack(self.found)

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Goes on after the events of a former watch."""
        self.found = unpack(arrays, self.functions)


def _append(found: SignChanges, times: np.ndarray, entries: np.ndarray, directions: np.ndarray) -> SignChanges:
    order = np.argsort(times, kind="stable")
    new = SignChanges(times[order], entries[order], directions[order])
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), found, new)


def traced_quantity(landscape: Landscape, function: Callable[[Any], Any]) -> Traced:
    """A function of the model as a function from θ to a vector, traced."""
    return trace(lambda theta: jnp.ravel(jnp.asarray(function(landscape.at(theta)))), landscape.theta)


@compiled
def _positive(function: Traced, thetas: Float[Any, "T n"], count: Int[Any, ""]) -> Bool[Array, "T m"]:
    """Which entries are positive at the first `count` points."""
    # One after the other: of many entries, like every unit on every sample, only the signs fit into memory.
    signs = jnp.zeros((len(thetas), *jax.eval_shape(function, thetas[0]).shape), bool)
    return jax.lax.fori_loop(0, count, lambda k, signs: signs.at[k].set(function(thetas[k]) > 0), signs)


def pack(sign_changes: Mapping[str, SignChanges]) -> dict[str, np.ndarray]:
    """Events as arrays to be written to a file."""
    return {
        f"sign-change-{name}-{field}": getattr(found, field) for name, found in sign_changes.items() for field in FIELDS
    }


def unpack(arrays: Mapping[str, np.ndarray], names: Any) -> dict[str, SignChanges]:
    """The events that `pack` made arrays of."""
    return {name: SignChanges(*(arrays[f"sign-change-{name}-{field}"] for field in FIELDS)) for name in names}


def check_sign_changes(functions: Any, model: Any) -> None:
    """Refuses events that are not named functions from the model to finite real numbers."""
    if not isinstance(functions, Mapping):
        raise ValueError(f"sign_changes must be a dictionary from names to functions of the model; got {functions!r}.")
    for name, function in functions.items():
        if not (isinstance(name, str) and name.isidentifier() and callable(function)):
            raise ValueError(
                f"a watched quantity is an identifier and a function of the model; got {name!r}: {function!r}."
            )
        value = np.asarray(function(model))
        if not (np.issubdtype(value.dtype, np.floating) and np.all(np.isfinite(value))):
            raise ValueError(
                f"the watched quantity {name!r} must return finite real numbers; at the initial weights: {value}."
            )
