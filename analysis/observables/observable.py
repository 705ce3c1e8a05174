"""What can be observed: functions of the model, with names for the axes of what they return."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY
from typing import Any

import equinox as eqx


class Quantity(eqx.Module):
    """How one array that an observable returns is labelled.

    Attributes:
        long_name: what it is, in a few words.
        axes: the name of each of its axes; by default of an array without any.
        labels: of the entries along an axis, by its name; by default none.
        measured_in: its unit of measurement; by default "1", a pure number or in units of the weights.
    """

    long_name: str = eqx.field(static=True)
    _: KW_ONLY
    axes: tuple[str, ...] = eqx.field(static=True, default=())
    labels: Mapping[str, Sequence[str]] = eqx.field(static=True, default_factory=dict)
    measured_in: str = eqx.field(static=True, default="1")

    def __str__(self) -> str:
        return f"{self.long_name} ({', '.join(self.axes) or 'a number'})"


class Observable(eqx.Module):
    """A function of the model together with the labels of what it returns.

    Attributes:
        function: from the model to an array, or to a dictionary of arrays.
        quantities: the labels of the array, under the name "", or of each in the dictionary, under its name.
        compiled: whether the function is one of JAX's arrays; by default it is. If not, it is called at each time.
    """

    function: Callable[[Any], Any] = eqx.field(static=True)
    _: KW_ONLY
    quantities: Mapping[str, Quantity] = eqx.field(static=True)
    compiled: bool = eqx.field(static=True, default=True)

    def __call__(self, model: Any) -> Any:
        """The function's value."""
        return self.function(model)

    def __str__(self) -> str:
        return "\n".join(f"{name}: {quantity}".removeprefix(": ") for name, quantity in self.quantities.items())


def checked(functions: Mapping[str, Any]) -> dict[str, Observable]:
    """Functions and observables by their names, all as observables.

    Args:
        functions: observables, or plain functions of the model, by name.

    Returns:
        Observables; those of plain functions have no labels.

    Raises:
        ValueError: for no function at all, a name that is none, and what cannot be called.
    """
    if not (isinstance(functions, Mapping) and functions):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"give functions of the model by name, {{'norm': function}}; got {functions!r}.")
    observables: dict[str, Observable] = {}
    for name, function in functions.items():
        if not str(name).isidentifier() or name == "time":
            raise ValueError(f"a name is an identifier other than 'time', which labels the results; got {name!r}.")
        if not callable(function):
            raise ValueError(f"the observable {name!r} must be a function of the model; got {function!r}.")
        known = isinstance(function, Observable)
        observables[name] = function if known else Observable(function, quantities={})
    return observables
