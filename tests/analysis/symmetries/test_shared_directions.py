"""Null directions that a symmetry and an embedding's family both explain are counted once."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from saddlescope.analysis import embed, null_space
from saddlescope.analysis.curvature.spectrum import Spectrum
from saddlescope.analysis.symmetries.symmetry import family_directions, symmetry_directions
from saddlescope.flows import flatten
from saddlescope.models import Slot, UnitLaw, Units

from architectures import normal


class Twofold(eqx.Module):
    """Units tanh(u·x)(v + w): each may shift its output from v to w."""

    u: Array
    v: Array
    w: Array

    @property
    def units(self):
        outgoing = (Slot(lambda model: model.v), Slot(lambda model: model.w))
        return Units(incoming=(Slot(lambda model: model.u),), outgoing=outgoing, law=UnitLaw(zero=True))

    def __call__(self, x):
        return (self.v + self.w).T @ jnp.tanh(self.u @ x)


def explained(v, w):
    """The null space of two units, the first in three copies, where every direction counts as null."""
    narrow = Twofold(jnp.array([[1.0, 0.5], [-0.3, 1.0]]), jnp.array(v), jnp.array(w))
    embedding = embed(narrow, "i", gamma_v=[0.3, 0.5])
    wide, data = embedding.wide(), (normal(0, 20, 2), normal(1, 20, 1))
    n = flatten(wide).size
    flat = Spectrum(eigenvalues=np.zeros(n), eigenvectors=np.eye(n), zero_threshold=1.0)
    found = null_space(flat, wide, data, embedding)
    assert found.nullity == found.symmetry + found.families + found.unexplained == n
    return found, np.vstack([symmetry_directions(wide, data), family_directions(embedding)])


def test_directions_of_both_kinds_count_once():
    # Four units, each with one shift from v to w; two ways to share the output of three copies.
    found, directions = explained([[1.0], [2.0]], [[0.5], [1.0]])
    assert (found.symmetry, found.families) == (4, 2)
    assert np.linalg.matrix_rank(directions) == 6
    # Where v = −w the copies' output is zero: shares of it are shifts from v to w.
    found, directions = explained([[1.0], [2.0]], [[-1.0], [1.0]])
    assert (found.symmetry, found.families) == (4, 0)
    assert np.linalg.matrix_rank(directions) == 4
    assert jax.tree.leaves(found.directions)[0].shape[1] == found.unexplained
