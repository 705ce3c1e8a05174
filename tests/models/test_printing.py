"""`print` of a record of the models says what it is in a few lines."""

import jax
import pytest
from saddlescope import models
from saddlescope.models import Committee, Convolution, Dense, Slot, TwoLayer, UnitLaw, erf, relu, softplus

from architectures import MODELS, problem


def test_laws():
    assert str(relu.law).startswith("φ(z; 0) = 0, positively homogeneous of degree 1, leading order 1, not twice")
    assert str(relu.law).endswith("embedded fixed points up to type iii")
    assert "linear" in str(models.linear.law) and str(models.linear.law).endswith("type iv")
    assert ", homogeneous of degree 2, leading order 2, smooth" in str(models.quadratic.law)
    assert str(UnitLaw(zero=False, order=0)).startswith("φ(z; 0) ≠ 0, leading order 0, smooth;")


def test_activations():
    assert str(relu) == f"relu: {relu.law}; Gaussian kernel known"
    assert str(softplus) == f"softplus: {softplus.law}"


def test_declarations():
    below, above = problem("deep-tanh-with-biases").model.units
    assert str(below).splitlines() == [
        "layer 1: " + str(below.law),
        *2 * ["u: units on axis 0"],
        "v: " + str(Slot(abs, degree=1)),
    ]
    assert str(above).splitlines()[1] == "u: units on axis -1"
    assert str(Slot(abs, axis=1, degree=2)) == "units on axis 1, homogeneous of degree 2"
    assert "Z = product_features" in str(problem("quadratic").model.features)


def test_architectures():
    assert str(Dense(relu, inputs=3, outputs=2, bias=True)).splitlines() == [
        "Dense(activation=relu, inputs=3, outputs=2, bias=True): u (3,), (), v (2,)",
        str(relu.law),
    ]
    assert str(Convolution(relu, inputs=6, kernel=2, stride=2)).endswith(str(relu.law))


def test_networks():
    model = TwoLayer(Dense(relu, inputs=2), width=5, scale=0.0, key=jax.random.key(0))
    assert str(model).splitlines() == [
        "TwoLayer: 15 parameters with root mean square 0",
        f"layer 1: 5 units; {relu.law}",
        "first layer of Dense(activation=relu, inputs=2, outputs=1, bias=False): u (2,), v (1,)",
    ]
    assert "layer 1, layer 2, layer 3: 3, 4, 3 units; φ" in str(problem("deep-linear").model)
    assert str(problem("relu-skip-2").model).endswith("activation relu, skip=2")
    assert str(problem("diagonal").model).endswith("product of 3 layers on 3 inputs")
    committee = Committee(erf, inputs=4, width=3, scale=1.0, key=jax.random.key(0))
    assert str(committee).startswith("Committee: 12 parameters with root mean square ")
    assert str(committee).endswith("sum of 3 units with activation erf of 4 inputs")


@pytest.mark.parametrize("name", [name for name in MODELS if name != "foreign"])
def test_every_network_of_ours_speaks(name):
    model = problem(name).model
    assert 2 <= len(str(model).splitlines()) <= 6
    assert type(model).__name__ in repr(model)


def test_a_network_speaks_while_it_is_traced():
    said = []

    @jax.jit
    def forward(model, x):
        said.append(str(model))
        return model(x)

    model, (x, _) = problem("linear")
    forward(model, x[0])
    assert said[0].splitlines()[0] == "TwoLayer: 25 parameters"
