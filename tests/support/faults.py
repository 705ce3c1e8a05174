"""Faults of the kinds that people make, found in a file's syntax tree: each is one changed piece of text."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Constants that are tolerances: those below this, and what is called so.
SMALL, TOLERANCES = 1e-2, ("rtol", "atol", "tolerance", "safety", "accuracy")
# Loosened by so much a tolerance should be noticed.
LOOSER = 1e4
# Calls of which the first two arguments may stand in either order.
SYMMETRIC = {"max", "min", "maximum", "minimum", "hypot", "logical_and", "logical_or", "isclose", "array_equal"}
# Calls whose arguments nobody swaps by mistake, as the program would not run.
PLAIN = {"isinstance", "getattr", "setattr", "hasattr", "zip", "range", "map", "filter", "field", "replace", "partial"}
# What says something instead of computing it.
SAYING = {"__str__", "__repr__"}


@dataclass(frozen=True)
class Fault:
    """A changed piece of a file.

    Attributes:
        kind: wrong sign, factor ½, off by one, swapped arguments, dropped term, or loosened tolerance.
        path: of the file, from the repository's root.
        line: where the piece begins.
        start: its first position in the file's bytes.
        old: the piece.
        new: what takes its place.
    """

    kind: str
    path: str
    line: int
    start: int
    old: str
    new: str

    def planted(self, source: bytes) -> bytes:
        """The file with the fault."""
        old = self.old.encode()
        if source[self.start : self.start + len(old)] != old:
            raise ValueError(f"{self.path}:{self.line} is no longer {self.old!r}: find the faults anew.")
        return source[: self.start] + self.new.encode() + source[self.start + len(old) :]

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.path}:{self.line} [{self.kind}] {old}  →  {new}"


def faults_in(root: Path, path: str) -> list[Fault]:
    """All faults that can be planted in a file."""
    source = (root / path).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node in _computations(ast.parse(source)):
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        old = source[start:end].decode()
        for kind, changed in _changes(node):
            new = f"({ast.unparse(changed)})" if isinstance(changed, ast.BinOp | ast.UnaryOp) else ast.unparse(changed)
            found.append(Fault(kind, path, node.lineno, start, old, new))
    return found


def _computations(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions that compute something: not annotations, decorators, messages, or what is printed."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "type_params", "args") and not isinstance(
            node, ast.Call
        ):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.Assert | ast.JoinedStr):
                continue
            if isinstance(child, ast.FunctionDef) and child.name in SAYING:
                continue
            if isinstance(child, ast.expr):
                yield child
            yield from _computations(child)
    if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
        yield from _tolerance_constants(node)


def _tolerance_constants(node: ast.Assign | ast.AnnAssign) -> Iterator[ast.expr]:
    value = node.value
    if isinstance(value, ast.Constant) and isinstance(value.value, float) and 0 < value.value < SMALL:
        yield ast.copy_location(_Tolerance(value=value.value), value)


class _Tolerance(ast.Constant):
    """A constant that is known to be a tolerance."""


def _changes(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """The faults in one expression."""
    if isinstance(node, _Tolerance):
        yield "loosened tolerance", ast.Constant(LOOSER * node.value)
    elif isinstance(node, ast.BinOp) and _numeric(node):
        yield from _in_operations(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield "wrong sign", node.operand
    elif isinstance(node, ast.Subscript):
        yield from _in_subscripts(node)
    elif isinstance(node, ast.Call):
        yield from _in_calls(node)


def _numeric(node: ast.BinOp) -> bool:
    """Whether an operation is one on numbers, as far as can be seen: not of texts, tuples, sets or types."""
    literal = ast.JoinedStr | ast.Tuple | ast.List | ast.Set | ast.Dict | ast.ListComp
    sides = (node.left, node.right)
    return not any(isinstance(s, literal) or (isinstance(s, ast.Constant) and isinstance(s.value, str)) for s in sides)


def _in_operations(node: ast.BinOp) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node.op, ast.Add | ast.Sub):
        other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield "wrong sign", ast.BinOp(node.left, other, node.right)
        yield "dropped term", node.left
    elif isinstance(node.op, ast.Mult | ast.Div):
        yield "factor ½", ast.BinOp(node, ast.Div(), ast.Constant(2))


def _in_subscripts(node: ast.Subscript) -> Iterator[tuple[str, ast.expr]]:
    index = node.slice
    if isinstance(index, ast.Slice) and (bound := index.upper or index.lower) is not None:
        more = ast.BinOp(bound, ast.Add(), ast.Constant(1))
        parts = {"lower": index.lower, "upper": index.upper, "step": index.step}
        parts["upper" if index.upper is not None else "lower"] = more
        yield "off by one", ast.Subscript(node.value, ast.Slice(**parts), node.ctx)
    elif isinstance(index, ast.Constant) and type(index.value) is int:
        yield "off by one", ast.Subscript(node.value, ast.Constant(index.value + 1), node.ctx)


def _in_calls(node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name == "range" and len(node.args) == 1:
        less = ast.BinOp(node.args[0], ast.Sub(), ast.Constant(1))
        yield "off by one", ast.Call(node.func, [less], [])
    two = len(node.args) >= 2 and not any(isinstance(each, ast.Starred) for each in node.args[:2])
    if two and name not in PLAIN | SYMMETRIC and ast.dump(node.args[0]) != ast.dump(node.args[1]):
        yield "swapped arguments", ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
    for k, keyword in enumerate(node.keywords):
        if keyword.arg in TOLERANCES and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value):
            looser = ast.keyword(keyword.arg, ast.BinOp(ast.Constant(LOOSER), ast.Mult(), keyword.value))
            yield (
                "loosened tolerance",
                ast.Call(node.func, node.args, node.keywords[:k] + [looser] + node.keywords[k + 1 :]),
            )
