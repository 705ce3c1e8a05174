"""A narrow network inside a wide one: the linear maps that embed it, in one layer or in all."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from ...models.units import declared_units, map_units, unit_vectors
from ..thresholds import EPS

# P_u and P_v, H × r, and the layer whose units they map.
LayerMap = tuple[Float[np.ndarray, "_ _"], Float[np.ndarray, "_ _"], int]


class Embedding(eqx.Module):
    r"""A narrow network and the linear maps that embed it in a wide one: $U = P_u U'$, $V = P_v V'$.

    Attributes:
        narrow: the model with r units in the layer.
        p_in: $P_u$, which maps incoming parameters.
        p_out: $P_v$, which maps outgoing parameters, with $P_v^\top P_u = 1$. Types i–iii: every wide unit belongs to
            one narrow unit, its column, or is zero; type iv: any columns.
        layer: whose units these are, from 0; all other layers are the same in both networks.
    """

    narrow: Any
    p_in: Float[np.ndarray, "H r"]
    p_out: Float[np.ndarray, "H r"]
    layer: int = eqx.field(static=True, default=0)

    @property
    def maps(self) -> tuple[LayerMap, ...]:
        """The maps of all layers in which the two networks differ: this one."""
        return ((self.p_in, self.p_out, self.layer),)

    @property
    def dormant(self) -> Bool[np.ndarray, " H"]:
        """Which units of the wide network are zero."""
        return zero_rows(self.p_in, self.p_out)

    @property
    def spare(self) -> tuple[int, ...]:
        """The number of units to spare in the layer: zero or, where units mix freely, beyond the narrow ones."""
        return _spare(self)

    def wide(self, narrow: Any = None) -> Any:
        """The wide network with the narrow one's map; its gradient is zero wherever the narrow network's is.

        Args:
            narrow: a network of the narrow one's shape, by default the narrow one itself.

        Returns:
            The model.
        """
        narrow = self.narrow if narrow is None else narrow
        return map_units(narrow, self.p_in, self.p_out, self.layer)

    def without_zero_units(self, size: float) -> "Embedding":
        """The same embedding without those units of the narrow network that are zero, as a search may have left them.

        Args:
            size: of the weights; a unit is zero if it is zero to their rounding.

        Returns:
            The embedding of the narrower network, the same where no unit is zero.
        """
        narrow, ((p, q),) = _used(self, size)
        return self if narrow is self.narrow else Embedding(narrow=narrow, p_in=p, p_out=q, layer=self.layer)

    def projected(self, model: Any) -> Any:
        r"""Another wide network projected on those of this embedding's shape: $U \to P_u P_v^\top U$.

        Args:
            model: the other network.

        Returns:
            Its projection.
        """
        return _projected(self, model)

    def then(self, outer: "Embedding") -> "Embedding":
        """This embedding followed by an embedding of its wide network in a wider one.

        Args:
            outer: the second embedding, of the same layer.

        Returns:
            The embedding of the narrow network in the widest.

        Raises:
            ValueError: for embeddings of different layers.
        """
        if outer.layer != self.layer:
            raise ValueError(f"embeddings of different layers, {self.layer} and {outer.layer}, have no composition.")
        p_in, p_out = outer.p_in @ self.p_in, outer.p_out @ self.p_out
        return Embedding(narrow=self.narrow, p_in=p_in, p_out=p_out, layer=self.layer)

    def __str__(self) -> str:
        wide, narrow = self.p_in.shape
        return (
            f"embedding of width {narrow} in width {wide} (layer {self.layer}): "
            f"{wide - narrow} further units, {int(np.sum(self.dormant))} of them zero"
        )


class LayeredEmbedding(eqx.Module):
    """A network that is narrow in every layer, and the linear maps that embed each of them.

    Attributes:
        narrow: the narrow model.
        layers: for each layer of units the maps $P_u$, $P_v$ of an `Embedding`, H × r.
    """

    narrow: Any
    layers: tuple[tuple[Float[np.ndarray, "_ _"], Float[np.ndarray, "_ _"]], ...]

    @property
    def maps(self) -> tuple[LayerMap, ...]:
        """The maps of all layers, from the lowest up."""
        return tuple((p, q, layer) for layer, (p, q) in enumerate(self.layers))

    @property
    def dormant(self) -> Bool[np.ndarray, " units"]:
        """Which units of the wide network are zero, one layer after the other."""
        return np.concatenate([zero_rows(p, q) for p, q in self.layers])

    @property
    def spare(self) -> tuple[int, ...]:
        """The number of units to spare in each layer: zero or, where units mix freely, beyond the narrow ones."""
        return _spare(self)

    def wide(self, narrow: Any = None) -> Any:
        """The wide network with the narrow one's map.

        Args:
            narrow: a network of the narrow one's shape, by default the narrow one itself.

        Returns:
            The model.
        """
        model = self.narrow if narrow is None else narrow
        for layer, (p, q) in enumerate(self.layers):
            model = map_units(model, p, q, layer)
        return model

    def without_zero_units(self, size: float) -> "LayeredEmbedding":
        """The same embedding without those units of the narrow network that are zero, as a search may have left them.

        Args:
            size: of the weights; a unit is zero if it is zero to their rounding.

        Returns:
            The embedding of the narrower network, the same where no unit is zero.
        """
        narrow, layers = _used(self, size)
        return self if narrow is self.narrow else LayeredEmbedding(narrow=narrow, layers=layers)

    def projected(self, model: Any) -> Any:
        r"""Another wide network projected on those of this embedding's shape: $U \to P_u P_v^\top U$, layer by layer.

        Args:
            model: the other network.

        Returns:
            Its projection.
        """
        return _projected(self, model)

    def __str__(self) -> str:
        widths = [f"{p.shape[1]} in {p.shape[0]}" for p, _ in self.layers]
        zero = int(np.sum(self.dormant))
        return f"embedding of widths {', '.join(widths)}, layer by layer: {zero} zero units"


def zero_rows(p: np.ndarray, q: np.ndarray) -> Bool[np.ndarray, " H"]:
    """Which units both maps leave zero."""
    return ~np.any((p != 0) | (q != 0), axis=1)


def _projected(embedding: Embedding | LayeredEmbedding, model: Any) -> Any:
    """A wide network projected on those of the embedding's shape."""
    for p, q, layer in embedding.maps:
        model = map_units(model, p @ q.T, q @ p.T, layer)
    return model


def _spare(embedding: Embedding | LayeredEmbedding) -> tuple[int, ...]:
    mixing = [declared_units(embedding.narrow, layer).law.linear for *_, layer in embedding.maps]
    return tuple(
        len(p) - p.shape[1] if free else int(np.sum(zero_rows(p, q)))
        for free, (p, q, _) in zip(mixing, embedding.maps, strict=True)
    )


def _used(
    embedding: Embedding | LayeredEmbedding, size: float
) -> tuple[Any, tuple[tuple[Float[np.ndarray, "_ _"], Float[np.ndarray, "_ _"]], ...]]:
    """The narrow network without its zero units, and the maps without their columns."""
    narrow, maps = embedding.narrow, []
    for p, q, layer in embedding.maps:
        used = np.linalg.norm(np.asarray(unit_vectors(narrow, layer)), axis=1) > EPS * size
        # Without a zero of φ no unit can be left out.
        used |= not declared_units(narrow, layer).law.zero
        chosen = np.eye(len(used))[used]
        narrow = narrow if np.all(used) else map_units(narrow, chosen, chosen, layer)
        maps.append((p[:, used], q[:, used]))
    return narrow, tuple(maps)
