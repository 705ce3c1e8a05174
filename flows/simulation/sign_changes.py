"""Sign changes of quantities along a flow, recorded without stopping it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Bool, Float, Int, Shaped

from ..compilation.traced import Traced, compiled, evaluate, trace
from ..landscapes.landscape import Landscape
from .stepping import CHUNK, step_onto
from .steps import Steps, join

FIELDS = ("times", "entries", "directions")
# What `str` lists of them at most.
SHOWN = 5


class SignChanges(eqx.Module):
    """The sign changes of one quantity, in order of time.

    Attributes:
        times: times of the changes.
        entries: which entry of the flattened quantity changed its sign.
        directions: +1 where the entry became positive, −1 where it ceased to be.
    """

    times: Float[np.ndarray, " k"]
    entries: Int[np.ndarray, " k"]
    directions: Int[np.ndarray, " k"]

    def __len__(self) -> int:
        return len(self.times)

    def __str__(self) -> str:
        count = f"{len(self)} sign change" + "s" * (len(self) != 1)
        rows = list(zip(self.times, self.entries, self.directions, strict=True))
        lines = [f"  t = {t:.6g}: entry {k} becomes {'positive' if d > 0 else 'non-positive'}" for t, k, d in rows]
        if len(lines) > SHOWN:
            lines = [*lines[: SHOWN - 1], f"  … {len(lines) - SHOWN + 1} more, the last at t = {self.times[-1]:.6g}"]
        return "\n".join([count, *lines])

    @classmethod
    def none(cls, dtype: Any = float) -> "SignChanges":
        """The record of no sign change."""
        return cls(times=np.zeros(0, dtype), entries=np.zeros(0, int), directions=np.zeros(0, int))


class SignChangeRecorder:
    """Finds the sign changes of functions of the model between accepted steps.

    Each is located by a root-finder on the flow itself, stepped onto from the accepted step before it, so that its
    time is as accurate as the flow. An entry that changes its sign twice within one step is missed.

    Args:
        landscape: the landscape of the flow.
        functions: from the model to real numbers of any shape, by name.
        tolerances: rtol and atol.
    """

    landscape: Landscape
    tolerances: tuple[float, float]
    functions: dict[str, Traced]
    found: dict[str, SignChanges]

    def __init__(
        self, landscape: Landscape, functions: Mapping[str, Callable[..., Any]], tolerances: tuple[float, float]
    ):
        self.landscape, self.tolerances = landscape, tolerances
        self.functions = {name: traced_quantity(landscape, function) for name, function in functions.items()}
        self.found = {name: SignChanges.none() for name in self.functions}

    def search(self, last: Steps, steps: Steps, solver: dfx.AbstractSolver[Any]) -> dict[str, SignChanges]:
        """All sign changes found so far and on the accepted steps (one or more) that follow the record `last`."""
        run = join([last, steps])
        return {name: self._search(name, run, solver) for name in self.functions}

    def _search(self, name: str, run: Steps, solver: dfx.AbstractSolver[Any]) -> SignChanges:
        function = self.functions[name]
        # Padded to one shape, so that it is compiled once.
        thetas = np.pad(run.thetas, ((0, CHUNK + 1 - len(run)), (0, 0)))
        positive = np.asarray(_positive(function, thetas, np.asarray(len(run))))[: len(run)]
        before, entries = np.nonzero(positive[1:] != positive[:-1])
        if len(before) == 0:
            return self.found[name]
        times = [self._locate(function, run[k : k + 2], int(e), solver) for k, e in zip(before, entries, strict=True)]
        directions = np.where(positive[before + 1, entries], 1, -1)
        new = SignChanges(times=np.array(times), entries=entries, directions=directions)
        return join([self.found[name], _in_order(new)])

    def _locate(self, function: Traced, pair: Steps, entry: int, solver: dfx.AbstractSolver[Any]) -> float:
        """The time between two accepted steps at which one entry passes zero."""
        start, end = (float(t) for t in pair.ts)

        def at(theta: np.ndarray) -> float:
            return float(evaluate(function, theta)[entry])

        known = {start: at(pair.thetas[0]), end: at(pair.thetas[1])}
        if (known[start] > 0) == (known[end] > 0):
            # Programs round differently, and one end is zero up to rounding.
            return min(known, key=lambda t: abs(known[t]))

        def value(t: float) -> float:
            if t in known:
                return known[t]
            return at(step_onto(self.landscape, solver, pair[:1], t, self.tolerances).thetas[-1])

        resolution = 4 * float(np.finfo(pair.ts.dtype).eps)
        try:
            return float(scipy.optimize.brentq(value, start, end, xtol=resolution * end, rtol=resolution))  # pyright: ignore
        except FloatingPointError:
            # No step shorter than the accepted one succeeds, as may be at a kink: only the step's end is known.
            return end

    def state(self) -> dict[str, Shaped[np.ndarray, "..."]]:
        """The arrays that `restore` needs."""
        return pack(self.found)

    def restore(self, arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> None:
        """Continues after the sign changes that another recorder found."""
        self.found = unpack(arrays, self.functions)


def _in_order(changes: SignChanges) -> SignChanges:
    order = np.argsort(changes.times, kind="stable")
    return jax.tree.map(lambda array: array[order], changes)


def traced_quantity(landscape: Landscape, function: Callable[[Any], Any]) -> Traced:
    """Traces a function of the model as one from θ to a vector."""
    return trace(lambda theta: jnp.ravel(jnp.asarray(function(landscape.at(theta)))), landscape.theta)


@compiled
def _positive(function: Traced, thetas: Float[Any, "T n"], count: Int[Any, ""]) -> Bool[Array, "T m"]:
    """Which entries are positive at the first `count` points."""
    # One after the other: of many entries, like every unit on every sample, only the signs fit into memory.
    signs = jnp.zeros((len(thetas), *jax.eval_shape(function, thetas[0]).shape), bool)
    return jax.lax.fori_loop(0, count, lambda k, signs: signs.at[k].set(function(thetas[k]) > 0), signs)


def pack(sign_changes: Mapping[str, SignChanges]) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Sign changes as arrays to be written to a file."""
    return {
        f"sign-change-{name}-{field}": getattr(found, field) for name, found in sign_changes.items() for field in FIELDS
    }


def unpack(arrays: Mapping[str, Shaped[np.ndarray, "..."]], names: Iterable[str]) -> dict[str, SignChanges]:
    """The sign changes that `pack` made arrays of."""
    return {name: SignChanges(**{f: arrays[f"sign-change-{name}-{f}"] for f in FIELDS}) for name in names}


def check_sign_changes(functions: Any, model: Any) -> None:
    """Checks the functions whose sign changes are to be recorded.

    Args:
        functions: from the model to real numbers, by name.
        model: the initial model.

    Raises:
        ValueError: when they are not named functions of the model with finite real values at the initial weights.
    """
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
