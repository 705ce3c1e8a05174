"""Sign changes of quantities along a flow, recorded without stopping it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from ..compilation.traced import Traced, compiled, evaluate, trace
from ..landscapes.landscape import Landscape
from .approach import zero_from_before
from .stepping import CHUNK, step_onto
from .steps import FIELDS as STEP_FIELDS
from .steps import Steps, join

FIELDS = ("times", "entries", "directions")
# What `str` lists of them at most.
SHOWN = 5
# Accepted steps before the one with the change of sign from which its time is approached. A step across a kink mixes
# the fields of both sides and is accepted where it ends within its tolerance, on either side: the sign changes later.
BEHIND = 2


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


class Progress(NamedTuple):
    """What a recorder has found up to a time.

    Attributes:
        found: the sign changes by name.
        recent: the last accepted steps, from which the next ones are approached; `None` before the first.
    """

    found: dict[str, SignChanges]
    recent: Steps | None


class SignChangeRecorder:
    """Finds the sign changes of functions of the model between accepted steps.

    Each is approached on the flow itself, stepped onto from an accepted step before it and never across it, so that its
    time is as accurate as the flow, also where the field has a kink there. An entry that changes its sign twice within
    one step is missed.

    Args:
        landscape: the landscape of the flow.
        functions: from the model to real numbers of any shape, by name.
        tolerances: rtol and atol.
    """

    landscape: Landscape
    tolerances: tuple[float, float]
    functions: dict[str, Traced]
    progress: Progress

    def __init__(
        self, landscape: Landscape, functions: Mapping[str, Callable[..., Any]], tolerances: tuple[float, float]
    ):
        self.landscape, self.tolerances = landscape, tolerances
        self.functions = {name: traced_quantity(landscape, function) for name, function in functions.items()}
        self.progress = Progress(found={name: SignChanges.none() for name in self.functions}, recent=None)

    @property
    def found(self) -> dict[str, SignChanges]:
        """The sign changes found so far, by name."""
        return self.progress.found

    def search(self, last: Steps, steps: Steps, solver: dfx.AbstractSolver[Any]) -> Progress:
        """Searches the accepted steps (one or more) that follow the record `last`; changes nothing."""
        run = join([last if self.progress.recent is None else self.progress.recent, steps])
        found = {name: self._search(name, run, len(steps), solver) for name in self.functions}
        return Progress(found=found, recent=run[-1 - BEHIND :])

    def _search(self, name: str, run: Steps, count: int, solver: dfx.AbstractSolver[Any]) -> SignChanges:
        """The sign changes found so far and on the last `count` of some steps, in order of time."""
        function = self.functions[name]
        # Padded to one shape, so that it is compiled once.
        thetas = np.pad(run.thetas, ((0, CHUNK + 1 + BEHIND - len(run)), (0, 0)))
        positive = np.asarray(_positive(function, thetas, np.asarray(len(run))))[: len(run)]
        changed = positive[1:] != positive[:-1]
        first = len(run) - 1 - count
        before, entries = np.nonzero(changed[first:])
        if len(before) == 0:
            return self.found[name]
        before += first
        # As far back as the sign is the same.
        earlier = [
            max([k - BEHIND, 0, *(np.nonzero(changed[:k, e])[0] + 1)]) for k, e in zip(before, entries, strict=True)
        ]
        ends = [run[np.array([j, k + 1])] for j, k in zip(earlier, before, strict=True)]
        times = [self._locate(function, pair, int(e), solver) for pair, e in zip(ends, entries, strict=True)]
        directions = np.where(positive[before + 1, entries], 1, -1)
        new = SignChanges(times=np.array(times), entries=entries, directions=directions)
        return _in_order(join([self.found[name], new]))

    def _locate(self, function: Traced, pair: Steps, entry: int, solver: dfx.AbstractSolver[Any]) -> float:
        """The time between two accepted steps at which one entry passes zero."""

        def value(record: Steps) -> float:
            return float(evaluate(function, record.thetas[-1])[entry])

        def onto(record: Steps, time: float) -> Steps:
            return step_onto(self.landscape, solver, record, time, self.tolerances)

        return zero_from_before(value, onto, pair)

    def state(self) -> dict[str, Shaped[np.ndarray, "..."]]:
        """The arrays that `restore` needs."""
        recent = self.progress.recent
        kept = {} if recent is None else {f"recent-{field}": getattr(recent, field) for field in STEP_FIELDS}
        return pack(self.found) | kept

    def restore(self, arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> None:
        """Continues after the sign changes that another recorder found."""
        recent = None
        if "recent-ts" in arrays:
            recent = Steps(**{field: arrays[f"recent-{field}"] for field in STEP_FIELDS})
        self.progress = Progress(found=unpack(arrays, self.functions), recent=recent)


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
        try:
            value = np.asarray(function(model))
        except Exception as error:  # a function of somebody's own can fail in any way
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ValueError(f"the watched quantity {name!r} fails at the initial weights, {said}.") from error
        if not (value.size and np.issubdtype(value.dtype, np.floating) and np.all(np.isfinite(value))):
            raise ValueError(
                f"the watched quantity {name!r} must return finite real numbers; at the initial weights: {value}."
            )
