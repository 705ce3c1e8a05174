"""What one cell of a sweep is of: an experiment, its parameters and a range of seeds."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import equinox as eqx
import numpy as np

from ...catalogue import EXPERIMENTS, check_settings, check_solver_name

Value = str | int | float | bool

# Half of a SHA-256 hash tells apart more configurations than there will ever be.
DIGITS = 32


class Configuration(eqx.Module):
    """One cell of a sweep: which flows it holds.

    Attributes:
        experiment: name of the experiment.
        seeds: of data and initial weights, one flow for each.
        parameters: all other settings by name, each a string, a finite number or a truth value.
    """

    experiment: str = eqx.field(static=True)
    seeds: range = eqx.field(static=True)
    parameters: Mapping[str, Any] = eqx.field(static=True, default_factory=dict)

    def __check_init__(self) -> None:
        if not len(self.seeds) or self.seeds.step != 1:
            raise ValueError(f"a configuration needs a range of one seed or more, without gaps; got {self.seeds}.")
        for name, value in self.parameters.items():
            if name in ("experiment", "seed", "seeds", "visit"):
                raise ValueError(f"a parameter cannot be named {name!r}, which means something else in a sweep.")
            finite = isinstance(value, str | int | bool) or (isinstance(value, float) and math.isfinite(value))
            if not finite:
                raise ValueError(f"{name} must be a string, a finite number or a truth value; got {value!r}.")

    @property
    def canonical(self) -> dict[str, Any]:
        """Plain values for JSON, in the order of their names."""
        parameters = {name: self.parameters[name] for name in sorted(self.parameters)}
        seeds = [self.seeds.start, self.seeds.stop]
        return {"experiment": self.experiment, "parameters": parameters, "seeds": seeds}

    @property
    def identifier(self) -> str:
        """The hash that names the cell's file, of `canonical` with one form of each number."""
        same = {name: _plain(value) for name, value in self.parameters.items()}
        text = json.dumps({**self.canonical, "parameters": same}, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]

    @property
    def shape(self) -> tuple[Any, ...]:
        """What compiled programs depend on: all but the floating-point parameters and the seeds themselves."""
        names = (name for name in sorted(self.parameters) if not isinstance(self.parameters[name], float))
        return self.experiment, len(self.seeds), *((name, self.parameters[name]) for name in names)

    def __str__(self) -> str:
        settings = (f"{name} = {_written(value)}" for name, value in self.parameters.items())
        first, last = self.seeds.start, self.seeds.stop - 1
        return ", ".join([self.experiment, *settings, f"seed {first}" if first == last else f"seeds {first}–{last}"])


def from_canonical(values: Mapping[str, Any]) -> Configuration:
    """The configuration of `Configuration.canonical`."""
    return Configuration(
        experiment=values["experiment"], seeds=range(*values["seeds"]), parameters=dict(values["parameters"])
    )


def product(
    experiment: str | Iterable[str], *, seeds: int | range = 1, block: int | None = None, **axes: Any
) -> tuple[Configuration, ...]:
    """All configurations that take one value from each axis, the last one varying fastest.

    Of the experiments that `saddlescope list` names, settings that are not given are the published ones, and become
    part of the configuration. Other names stand for whatever a `compute` of one's own makes of them.

    Args:
        experiment: name or names.
        seeds: their number, from 0 on, or a range.
        block: number of seeds of one cell, by default all of them.
        **axes: a parameter's value or values, such as `width=(5, 10), scale=np.geomspace(1e-6, 1e-1, 6)`.

    Returns:
        The configurations, each once.

    Raises:
        ValueError: when an axis is empty or a value makes no sense.
    """
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    size = max(len(seeds), 1) if block is None else block
    if not len(seeds) or size < 1:
        raise ValueError(f"seeds and block must be at least 1; got {len(seeds)} and {size}.")
    blocks = [seeds[k : k + size] for k in range(0, len(seeds), size)]
    values = {name: _values(name, value) for name, value in {"experiment": experiment, **axes}.items()}
    found: dict[str, Configuration] = {}
    for name, *chosen in itertools.product(*values.values()):
        parameters = dict(zip(axes, chosen, strict=True))
        for part in blocks:
            each = completed(Configuration(experiment=str(name), seeds=part, parameters=parameters))
            found.setdefault(each.identifier, each)
    return tuple(found.values())


def completed(configuration: Configuration) -> Configuration:
    """A configuration of a named experiment with all of its settings, checked; any other one as it is.

    Args:
        configuration: some settings may be missing.

    Returns:
        The configuration with the published settings where there were none.

    Raises:
        ValueError: when the experiment has no such setting, or not with this value.
    """
    if configuration.experiment not in EXPERIMENTS:
        return configuration
    from ..setups.registry import experiment

    chosen, given = experiment(configuration.experiment), configuration.parameters
    published: dict[str, Any] = {"width": chosen.width, "scale": chosen.scale, "t1": chosen.t1}
    # `kinds=False` leaves out the critical points, which is another cell; so is one of a `solver` that is given.
    optional: dict[str, Any] = {"budget": chosen.budget, "rtol": None, "kinds": None, "solver": None}
    if unknown := set(given) - set(published) - set(optional):
        settings = ", ".join({**published, **optional})
        raise ValueError(f"{chosen.name} has no setting {min(unknown)!r}; there are: {settings}.")
    parameters = {**published, **{name: value for name, value in optional.items() if value is not None}, **given}
    checked = {name: _checked(name, value) for name, value in parameters.items()}
    if checked.get("kinds"):
        del checked["kinds"]
    of_setup = {name: value for name, value in checked.items() if name not in ("rtol", "kinds", "solver")}
    for seed in (configuration.seeds.start, configuration.seeds.stop - 1):
        check_settings(seed, **of_setup)
    return Configuration(experiment=chosen.name, seeds=configuration.seeds, parameters=checked)


def _checked(name: str, value: Any) -> Any:
    """The value of a setting, of the setting's type."""
    if name == "kinds":
        if not isinstance(value, bool):
            raise ValueError(f"kinds must be true or false; got {value!r}.")
        return value
    if name == "solver":
        check_solver_name(value)
        return value
    if isinstance(value, str | bool) or (name == "width" and value != int(value)):
        raise ValueError(f"{name} must be {'an integer' if name == 'width' else 'a number'}; got {value!r}.")
    return int(value) if name == "width" else float(value)


def _values(name: str, given: Any) -> list[Value]:
    """The values of an axis as Python's own scalars."""
    many = list(_each(given))
    if not many:
        raise ValueError(f"{name} has no values.")
    return [value.item() if isinstance(value, np.generic) else value for value in many]


def _each(given: Any) -> Iterator[Any]:
    if isinstance(given, Value) or not isinstance(given, Iterable):
        yield given
    else:
        yield from given


def _plain(value: Value) -> Value:
    """One form of each number, so that 1 and 1.0 are the same."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _written(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
