"""The landscape of a narrow network as a part of a wide one, so that all widths share what is compiled for one."""

import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...flows import Landscape, flatten, unflatten
from ...flows.landscapes.unit_positions import unit_positions
from ...models import UnitLaw, incoming
from ...models.units import declared_units, largest_width, layers_of, map_units, units_matrix, width
from ..curvature.spectrum import DENSE_HESSIAN_LIMIT
from ..rounding import perturbed
from .embedding import Embedding, LayerMap, zero_rows

# A matrix of so many numbers takes 256 MB.
DENSE_NUMBERS = 2**25
# A product with a sparse matrix takes 10 µs and more, as one with a dense matrix of so many numbers does; and for each
# number that is not zero ten times as long as the dense one.
SPARSE_FROM, SPARSE = 2**16, 0.05


@dataclass(frozen=True)
class NarrowLandscape:
    r"""$L(E \theta')$ as a function of a narrow network's flattened parameters θ'.

    Attributes:
        landscape: L, of a wider network.
        matrix: E; sparse where a large narrow network is a part of one that is little wider.
        model: the narrow network.
    """

    landscape: Landscape
    matrix: Any
    model: Any

    @property
    def theta(self) -> Float[np.ndarray, " m"]:
        """The narrow network's own parameters."""
        return flatten(self.model)

    @functools.cached_property
    def _quick(self) -> Any:
        """E for products with single vectors, which searches make by the thousand: sparse where that is quicker."""
        large = isinstance(self.matrix, np.ndarray) and self.matrix.size >= SPARSE_FROM
        if not large or np.count_nonzero(self.matrix) > SPARSE * self.matrix.size:
            return self.matrix
        from scipy.sparse import csr_array

        return csr_array(self.matrix)

    def value_and_gradient(self, theta: Float[np.ndarray, " m"]) -> tuple[Float[np.ndarray, ""], np.ndarray]:
        """The loss and its gradient in θ'."""
        value, gradient = self.landscape.value_and_gradient(self._quick @ theta)
        return value, self._quick.T @ gradient

    def gradient(self, theta: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """The gradient in θ'."""
        return self.value_and_gradient(theta)[1]

    def hessian_product(
        self, theta: Float[np.ndarray, " m"], direction: Float[np.ndarray, " m"]
    ) -> Float[np.ndarray, " m"]:
        """The product of the Hessian in θ' with one direction."""
        return self._quick.T @ self.landscape.hessian_product(self._quick @ theta, self._quick @ direction)

    def hessian(self, theta: Float[np.ndarray, " m"]) -> Float[np.ndarray, "m m"]:
        """The Hessian in θ'."""
        matrix = self.matrix.T @ self.landscape.hessian_products(self.matrix @ theta, self.matrix)
        return (matrix + matrix.T) / 2

    def perturbed(self, theta: Float[np.ndarray, " m"]) -> "Iterator[tuple[NarrowLandscape, Float[np.ndarray, ' m']]]":
        """Copies in which every number is changed in its last place, those of E too: where units mix they are rounded.

        Args:
            theta: a point θ'.

        Yields:
            The narrow landscape and the point.
        """
        random, matrix = np.random.default_rng(0), self.matrix
        for copy, point in perturbed(self.landscape, theta):
            if isinstance(matrix, np.ndarray):
                # Columns are orthogonal to the last place of one, however small an entry is.
                last_place = np.finfo(matrix.dtype).eps * (matrix != 0)
                changed = matrix + last_place * random.standard_normal(matrix.shape)
            else:
                # Its entries are ones and zeros.
                changed = matrix
            yield NarrowLandscape(landscape=copy, matrix=changed, model=self.model), point


def narrow_landscape(landscape: Landscape, embedding: Embedding, *, spare: Collection[int] = ()) -> NarrowLandscape:
    """The landscape of an embedding's narrow network.

    It is a part of the wide network's landscape where that has up to 3000 parameters and room for the spare units;
    else of the landscape of a network with a few units more, a power of two in each layer, so that few sizes are
    compiled.

    Args:
        landscape: of the wide network, or of any other with the same loss and data.
        embedding: of the narrow network.
        spare: the layers in which the narrow network gets one zero unit more, the last of its layer.

    Returns:
        The landscape, a function of the narrow network's parameters.
    """
    narrow, maps = embedding.narrow, embedding.maps
    if spare:
        narrow, maps = _with_spare_units(narrow, maps, spare)
    size = landscape.theta.size
    if maps is not None and size <= DENSE_HESSIAN_LIMIT:
        matrix = units_matrix(narrow, maps)
        if len(matrix) == size:
            return NarrowLandscape(landscape=landscape, matrix=matrix, model=narrow)
    padding = [_padding(narrow, layer) for layer in range(len(layers_of(narrow)))]
    padded = narrow
    for p, q, layer in padding:
        padded = map_units(padded, p, q, layer)
    wider = Landscape(padded, landscape.loss, landscape.data)
    return NarrowLandscape(landscape=wider, matrix=_padding_matrix(narrow, padded, padding), model=narrow)


def _padding_matrix(narrow: Any, padded: Any, padding: list[LayerMap]) -> Any:
    """The matrix by which the narrow network's parameters are put among those of the padded one, sparse if large."""
    size, more = flatten(narrow).size, flatten(padded).size
    if size * more <= DENSE_NUMBERS:
        return units_matrix(narrow, padding)
    from scipy.sparse import csr_array

    marked = unflatten(narrow, np.arange(1.0, size + 1))
    for p, q, layer in padding:
        marked = map_units(marked, p, q, layer)
    columns = np.asarray(flatten(marked)).astype(int) - 1
    rows = np.flatnonzero(columns >= 0)
    return csr_array((np.ones(len(rows)), (rows, columns[rows])), shape=(more, size))


def _padding(narrow: Any, layer: int) -> LayerMap:
    """The map to a layer of $2^k$ units, at least four, if it holds as many; the further ones are zero."""
    count, most = width(narrow, layer), largest_width(narrow, layer)
    wider = max(4, 1 << (count - 1).bit_length())
    p = np.eye(wider if most is None else max(min(wider, most), count), count)
    return p, p, layer


def _with_spare_units(
    narrow: Any, maps: tuple[LayerMap, ...], layers: Collection[int]
) -> tuple[Any, tuple[LayerMap, ...] | None]:
    """The narrow network with its spare units, and the maps with their places in the wide one; `None` without room."""
    wider, room = [], True
    for p, q, layer in maps:
        if layer in layers:
            more = np.eye(p.shape[1] + 1, p.shape[1])
            narrow = map_units(narrow, more, more, layer)
            place = _spare_place(p, q, declared_units(narrow, layer).law)
            room = room and place is not None
            p, q = (p, q) if place is None else (np.column_stack([p, place]), np.column_stack([q, place]))
        wider.append((p, q, layer))
    return narrow, tuple(wider) if room else None


def _spare_place(p: np.ndarray, q: np.ndarray, law: UnitLaw) -> Float[np.ndarray, " H"] | None:
    """The combination of wide units that makes one that the narrow network does not use."""
    unused = zero_rows(p, q)
    if np.any(unused):
        return np.eye(len(p))[np.argmax(unused)]
    if law.linear and len(p) > p.shape[1] and np.array_equal(p, q):
        # Units mix freely: any direction orthogonal to the columns in use serves.
        return np.linalg.qr(p, mode="complete")[0][:, -1]
    return None


def added_positions(narrow: NarrowLandscape, layer: int = 0) -> tuple[Int[np.ndarray, " Nu"], Int[np.ndarray, " Nv"]]:
    """The positions of a layer's last unit in the flattened narrow network: incoming and outgoing parameters."""
    split = incoming(narrow.model, layer).shape[1]
    last = unit_positions(narrow.model, layer)[-1]
    return last[:split], last[split:]
