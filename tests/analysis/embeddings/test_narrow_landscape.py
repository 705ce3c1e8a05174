"""Narrow networks as parts of wide ones: a large one by a sparse matrix."""

import jax
import numpy as np
from saddlescope.analysis.embeddings import narrow_landscape as module
from saddlescope.analysis.embeddings.reduction import reduce_layers
from saddlescope.flows import Landscape, mean_squared_error
from saddlescope.models import Deep, Dense, tanh

from architectures import normal


def test_a_sparse_matrix_puts_parameters_where_the_dense_one_does(monkeypatch):
    model = Deep(Dense(tanh, inputs=2, outputs=2), widths=(3, 5), scale=1.0, key=jax.random.key(0))
    # Without a place in a wide network, as that of a large one: padded to the next power of two.
    monkeypatch.setattr(module, "DENSE_HESSIAN_LIMIT", 0)
    landscape = Landscape(model, mean_squared_error, (normal(1, 9, 2), normal(2, 9, 2)))
    embedding = reduce_layers(model)
    dense = module.narrow_landscape(landscape, embedding)
    monkeypatch.setattr(module, "DENSE_NUMBERS", 0)
    sparse = module.narrow_landscape(landscape, embedding)
    assert dense.matrix.shape[0] > dense.matrix.shape[1] and not isinstance(sparse.matrix, np.ndarray)
    np.testing.assert_array_equal(sparse.matrix.toarray(), dense.matrix)
    theta = sparse.theta
    value, gradient = sparse.value_and_gradient(theta)
    np.testing.assert_allclose(value, landscape.value(theta), rtol=1e-14)
    np.testing.assert_allclose(gradient, landscape.gradient(theta), rtol=1e-12, atol=1e-15)
    product, direction = sparse.hessian_product(theta, gradient), landscape.hessian_product(theta, gradient)
    np.testing.assert_allclose(product, direction, rtol=1e-12, atol=1e-15)
    copies = [copy.matrix for copy, _ in sparse.perturbed(theta)]
    assert copies and all(copy is sparse.matrix for copy in copies)
