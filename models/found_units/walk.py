"""A walk through a traced program that follows the identities of axes."""

from typing import Any

import numpy as np

from ..scan_counts import scan_counts
from .axes import Axes, Axis
from .contractions import ALL_RULES, contracted_axes
from .rules import NOT_SMOOTH
from .values import Value, constant, fixed, parameter, value


class Walk:
    """The identities of all axes in a program, and what was seen of its parameters.

    Attributes:
        axes: the identities.
        parameters: the parameters, each with the identities of its axes.
        contracted: (parameter, axis, identity, step) for every sum of products of a parameter over one of its axes.
        first_use: the step at which each parameter is first used.
        kinks: whether something that need not be smooth is applied anywhere.
    """

    axes: Axes
    parameters: list[Value]
    contracted: list[tuple[int, int, Axis, int]]
    first_use: dict[int, int]
    kinks: bool

    def __init__(self, program: Any, parameters: int):
        """Walks through a closed jaxpr whose first arguments are the parameters, and whose others are inputs."""
        self.axes, self.contracted, self.first_use, self.kinks, self._step = Axes(), [], {}, False, 0
        variables = program.jaxpr.invars
        shapes = [variable.aval.shape for variable in variables]
        self.parameters = [parameter(self.axes, k, shape) for k, shape in enumerate(shapes[:parameters])]
        of_input = lambda size: self.axes.new(size, "is an axis of the input")  # noqa: E731
        inputs = [value(tuple(map(of_input, shape))) for shape in shapes[parameters:]]
        for result in self._closed(program, [*self.parameters, *inputs]):
            for axis in result.axes:
                self.axes.fix(axis, "is an axis of the output")

    def _closed(self, program: Any, arguments: list[Value]) -> list[Value]:
        constants = getattr(program, "consts", ())
        return self._walk(getattr(program, "jaxpr", program), [constant(self.axes, c) for c in constants], arguments)

    def _walk(self, program: Any, constants: list[Value], arguments: list[Value]) -> list[Value]:
        known: dict[Any, Value] = {}
        known |= zip((*program.constvars, *program.invars), (*constants, *arguments), strict=True)
        read = lambda atom: constant(self.axes, atom.val) if hasattr(atom, "val") else known[atom]  # noqa: E731
        for equation in program.eqns:
            operands = [read(atom) for atom in equation.invars]
            known |= zip(equation.outvars, self._apply(equation, operands), strict=True)
        return [read(atom) for atom in program.outvars]

    def _apply(self, equation: Any, operands: list[Value]) -> list[Value]:
        name, parameters = equation.primitive.name, equation.params
        self.kinks |= name in NOT_SMOOTH
        if name in ("scan", "while", "cond"):
            return {"scan": self._scan, "while": self._while, "cond": self._cond}[name](equation, operands)
        inner = next((parameters[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in parameters), None)
        if inner is not None and len(getattr(inner, "jaxpr", inner).invars) == len(operands):
            return self._closed(inner, operands)
        self._step += 1
        for operand in operands:
            for number in operand.parameters or ():
                self.first_use.setdefault(number, self._step)
        self._note_contractions(name, parameters, operands)
        shapes = [variable.aval.shape for variable in equation.outvars]
        if name == "stop_gradient":
            self._freeze(operands[0])
        if name in ALL_RULES:
            return ALL_RULES[name](self.axes, operands, parameters, shapes)
        for axis in (axis for operand in operands for axis in operand.axes):
            self.axes.fix(axis, f"enters {name}")
        return [value(fixed(self.axes, shape, f"comes out of {name}").axes, *operands) for shape in shapes]

    def _freeze(self, operand: Value) -> None:
        if operand.parameters:
            for axis in operand.axes:
                self.axes.fix(axis, "is held fixed by stop_gradient")

    def _note_contractions(self, name: str, parameters: dict[str, Any], operands: list[Value]) -> None:
        for operand, places in zip(operands, contracted_axes(name, parameters), strict=False):
            for place in places:
                for number, axis in operand.origins[place]:
                    self.contracted.append((number, axis, operand.axes[place], self._step))

    def _tie_all(self, first: list[Value], second: list[Value]) -> None:
        for one, other in zip(first, second, strict=True):
            for axis, same in zip(one.axes, other.axes, strict=True):
                self.axes.tie(axis, same)

    def _scan(self, equation: Any, operands: list[Value]) -> list[Value]:
        constants, carry, xs = np.split(np.arange(len(operands)), np.cumsum(scan_counts(equation.params)))
        for k in xs:
            self.axes.fix(operands[k].axes[0], "is passed in order")
        carried = [value(operands[k].axes) for k in carry]
        slices = [Value(o.axes[1:], o.origins[1:], o.parameters) for o in (operands[k] for k in xs)]
        results = self._closed(equation.params["jaxpr"], [*(operands[k] for k in constants), *carried, *slices])
        self._tie_all(carried, results[: len(carried)])
        time = self.axes.new(equation.params["length"], "is passed in order")
        return [*carried, *(value((time, *result.axes)) for result in results[len(carried) :])]

    def _while(self, equation: Any, operands: list[Value]) -> list[Value]:
        tested, repeated = equation.params["cond_nconsts"], equation.params["body_nconsts"]
        carried = [value(operand.axes) for operand in operands[tested + repeated :]]
        self._closed(equation.params["cond_jaxpr"], [*operands[:tested], *carried])
        results = self._closed(equation.params["body_jaxpr"], [*operands[tested : tested + repeated], *carried])
        self._tie_all(carried, results)
        return carried

    def _cond(self, equation: Any, operands: list[Value]) -> list[Value]:
        branches = [self._closed(branch, operands[1:]) for branch in equation.params["branches"]]
        for results in branches[1:]:
            self._tie_all(branches[0], results)
        return [value(result.axes) for result in branches[0]]
