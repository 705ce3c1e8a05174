"""Units found in programs, against units derived by hand, declared units, and stated laws."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.models import Activation, Slot, UnitLaw, Units, units_of, with_units_found
from saddlescope.models import activation as activations
from saddlescope.models.found_units.axes import Axes
from saddlescope.models.found_units.program import SAMPLES, random_inputs
from saddlescope.models.unit_axis import by_unit, from_units
from saddlescope.models.units import layers_of, map_units, units_matrix, width

from architectures import MODELS, problem
from own_models import cases

RELU = UnitLaw(zero=True, degree=1, field="nonnegative", smooth=False)
LINEAR = UnitLaw(zero=True, degree=1, linear=True)
QUADRATIC = UnitLaw(zero=True, degree=2, order=2)
FIRST_ORDER = UnitLaw(zero=True)  # φ(z; 0) = 0 and smooth, as for tanh, GELU, softmax attention, gated cells
SOFTPLUS = UnitLaw(zero=False, order=0)

# By hand: for each layer of units their number, law, and the arrays of u and of v, each with the axis of the units and,
# where the units follow each other in blocks or have several entries, the numbers of these.
BY_HAND = {
    "mlp relu": [
        (4, RELU, "layers[0].weight:0 layers[0].bias:0", "layers[1].weight:1"),
        (4, RELU, "layers[1].weight:0 layers[1].bias:0", "layers[2].weight:1"),
    ],
    "mlp gelu": [
        (4, FIRST_ORDER, "layers[0].weight:0 layers[0].bias:0", "layers[1].weight:1"),
        (4, FIRST_ORDER, "layers[1].weight:0 layers[1].bias:0", "layers[2].weight:1"),
    ],
    # The stream is the sum of what is written to it, and mixes linearly; both linear maps that read it are outgoing.
    "residual": [
        (4, LINEAR, "embed.weight:0 embed.bias:0 up.weight:0 up.bias:0", "down.weight:1 readout.weight:1"),
        (5, FIRST_ORDER, "down.weight:0 down.bias:0", "up.weight:1"),
    ],
    "convolution": [(4, RELU, "conv.weight:0 conv.bias:0", "readout.weight:1:1:4")],
    # A group of channels is normalised by itself, hence a unit; its channels share their variance.
    "group norm": [
        (3, FIRST_ORDER, "conv.weight:0:1:2 conv.bias:0:1:2 norm.weight:0:1:2 norm.bias:0:1:2", "readout.weight:1:1:2")
    ],
    # The entries of the stream share their variance; heads, and hidden neurons.
    "attention": [
        (
            2,
            FIRST_ORDER,
            "attention.query_proj.weight:0:1:2 attention.key_proj.weight:0:1:2 attention.value_proj.weight:0:1:2",
            "attention.output_proj.weight:1:1:2",
        ),
        (5, FIRST_ORDER, "mlp.layers[0].weight:0 mlp.layers[0].bias:0", "mlp.layers[1].weight:1"),
    ],
    # Three gates, four gates; the state is read by the recurrent matrix and by the readout.
    "gru": [
        (
            4,
            FIRST_ORDER,
            "cell.weight_ih:0:3:1 cell.weight_hh:0:3:1 cell.bias:0:3:1 cell.bias_n:0",
            "cell.weight_hh:1 readout.weight:1",
        )
    ],
    "lstm": [
        (
            4,
            FIRST_ORDER,
            "cell.weight_ih:0:4:1 cell.weight_hh:0:4:1 cell.bias:0:4:1",
            "cell.weight_hh:1 readout.weight:1",
        )
    ],
    # One matrix is incoming and outgoing at once: equal neurons cannot share an output.
    "tied": [],
    # All experts take part in one softmax; their hidden neurons lie on one axis.
    "mixture": [(3, RELU, "first:1", "second:1")],
    "frozen embedding": [(4, SOFTPLUS, "hidden.weight:0 hidden.bias:0", "readout.weight:1")],
    "deep sets": [
        (4, RELU, "element.weight:0 element.bias:0", "code.weight:1"),
        (3, LINEAR, "code.weight:0 code.bias:0", "outer.weight:1"),
        (5, QUADRATIC, "outer.weight:0 outer.bias:0", "readout.weight:1"),
    ],
    "committee": [],
    "broken": [],
}
# By hand: the numbers of axes' entries that are interchangeable, but no units of a declaration.
INTERCHANGEABLE = {"group norm": [2], "attention": [4, 2, 2], "tied": [4], "mixture": [2], "committee": [4]}


def written(slot: Slot) -> str:
    more = f":{slot.blocks}:{slot.entries}" if (slot.blocks, slot.entries) != (1, 1) else ""
    return f"{slot.where}:{slot.axis}{more}"


def listed(slots: tuple[Slot, ...]) -> str:
    return " ".join(map(written, slots))


def sides(units: Units) -> tuple[tuple[Slot, ...], ...]:
    return units.incoming, units.outgoing


@pytest.fixture(scope="module")
def found():
    return {name: units_of(case.model, example=case.example) for name, case in cases().items()}


@pytest.mark.parametrize("name", BY_HAND)
def test_units_and_laws_are_those_derived_by_hand(found, name):
    groups = [group for group in found[name].groups if group.units is not None]
    layers = [(group.count, group.units.law, *map(listed, sides(group.units))) for group in groups]
    assert layers == BY_HAND[name]
    others = [group for group in found[name].groups if group.units is None]
    assert [group.count for group in others if group.interchangeable] == INTERCHANGEABLE.get(name, [])
    assert all(group.reason for group in others)


def test_heads_have_the_products_of_key_and_query_and_of_value_and_output(found):
    heads = found["attention"].units[0]
    names = [tuple(str(slot.where).split(".")[1] for slot in pair) for pair in heads.products]
    assert names == [("query_proj", "key_proj"), ("value_proj", "output_proj")]
    assert [slot.degree for slot in (*heads.incoming, *heads.outgoing)] == [None, None, 1, 1]


def test_the_print_says_what_was_found_and_on_what_evidence(found):
    text = str(found["attention"])
    assert "Block: 2 layers of units found" in text and "u: attention.key_proj.weight" in text
    assert "permuting them changes the outputs by" in text and "a unit that nothing reads still acts" in text
    assert "not interchangeable: their axis meets a fixed array" in str(found["broken"])
    assert "not interchangeable: their axis is held fixed by stop_gradient" in str(found["frozen embedding"])


def places(model, slots):
    return {(id(slot.where(model)), slot.axis % slot.where(model).ndim) for slot in slots}


@pytest.mark.parametrize("name", MODELS)
def test_declared_units_are_found(name):
    """In all architectures: the same layers in the same order, laws, degrees and products."""
    model, data = problem(name)
    found, declared = units_of(model, data), layers_of(model)
    assert len(found.units) == len(declared)
    assert all(sentence.endswith("as found") for sentence in found.declared)
    for own, other in zip(declared, found.units, strict=True):
        assert places(model, own.incoming) == places(model, other.incoming)
        assert places(model, own.outgoing) == places(model, other.outgoing)
        assert own.law == other.law and own.additive <= other.additive
        pairs = [{frozenset(places(model, pair)) for pair in units.products} for units in (own, other)]
        assert pairs[0] == pairs[1]
        degrees = {frozenset(places(model, (slot,))): slot.degree for slot in (*other.incoming, *other.outgoing)}
        assert all(
            slot.degree in (None, degrees[frozenset(places(model, (slot,)))]) for slot in (*own.incoming, *own.outgoing)
        )


class Neurons(eqx.Module):
    """Neurons with an activation, and a kink above them."""

    incoming: jax.Array
    outgoing: jax.Array
    activation: object = eqx.field(static=True)

    def __call__(self, x):
        return jax.nn.relu(self.outgoing @ self.activation(self.incoming @ x))


STATED = {name: value for name, value in vars(activations).items() if isinstance(value, Activation)}
# A jump of the curvature, of the slope away from zero, and of the value.
INFERRED = {
    "elu": (jax.nn.elu, UnitLaw(zero=True, smooth=False)),
    "squared relu": (
        lambda x: jax.nn.relu(x) ** 2,
        UnitLaw(zero=True, degree=2, order=2, field="nonnegative", smooth=False),
    ),
    "hard tanh": (jax.nn.hard_tanh, UnitLaw(zero=True, smooth=False)),
    "step": (lambda x: jnp.where(x > 1, x + 1, x), UnitLaw(zero=True, smooth=False)),
    "almost relu": (lambda x: jax.nn.relu(x) + 1e-7 * jax.nn.relu(x) ** 2, UnitLaw(zero=True, smooth=False)),
    "softplus − log 2": (lambda x: jax.nn.softplus(x) - jnp.log(2.0), UnitLaw(zero=True)),
}


@pytest.mark.parametrize("name", [*STATED, *INFERRED])
def test_laws_of_neurons_are_those_of_their_activation(name):
    activation, law = INFERRED.get(name) or (STATED[name].function, STATED[name].law)
    model = Neurons(jnp.ones((3, 2)), jnp.ones((2, 3)), activation)
    (units,) = units_of(model, example=np.ones(2)).units
    assert units.law == law


@pytest.mark.parametrize("name", [name for name, layers in BY_HAND.items() if layers])
@pytest.mark.fast_for("frozen embedding", "group norm", "lstm", "residual")
def test_the_declaring_module_computes_the_same_at_every_width(name):
    """A unit that is taken away is one that nothing reads, also where the program holds their number fixed."""
    model, x = cases()[name]
    module = with_units_found(model, example=x)
    for mine, theirs in zip(jax.tree.leaves(module), jax.tree.leaves(model), strict=True):
        assert mine is theirs
    np.testing.assert_array_equal(module(x), model(x))
    for layer in range(len(layers_of(module))):
        count = width(module, layer)
        fewer, silent = np.eye(count)[1:], np.diag([0.0] + [1.0] * (count - 1))
        narrow = map_units(module, fewer, fewer, layer)
        assert width(narrow, layer) == count - 1
        np.testing.assert_allclose(narrow(x), map_units(module, np.eye(count), silent, layer)(x), rtol=1e-6)


def test_a_program_that_holds_its_width_fixed_refuses_more_units(found):
    assert [group.resizable for group in found["attention"].groups if group.units] == [False, True]
    model, x = cases()["gru"]
    module = with_units_found(model, example=x)
    more = np.concatenate([np.eye(4), np.eye(4)[:1]])
    with pytest.raises(ValueError, match="works with 4 units; got 5"):
        map_units(module, more, more)(x)


def test_the_declaring_module_has_the_other_attributes_of_the_model():
    model, data = problem("linear")
    module = with_units_found(model, data)
    assert module.features == model.features and module.architecture == model.architecture
    with pytest.raises(AttributeError):
        _ = module.nothing
    assert layers_of(module) == layers_of(with_units_found(model, data))


@pytest.mark.parametrize("name", ["gru", "convolution", "attention"])
@pytest.mark.fast_for("convolution", "gru")
def test_blocks_and_entries_are_put_back_where_they_were(name):
    model, x = cases()[name]
    module = with_units_found(model, example=x)
    count = width(module)
    for slot in (*module.units[0].incoming, *module.units[0].outgoing):
        array = np.asarray(slot.where(module))
        rows = by_unit(array, slot)
        assert rows.shape[0] == count and rows.size == array.size
        np.testing.assert_array_equal(from_units(rows, slot, array), array)
    p, q = np.random.default_rng(0).standard_normal((2, count, count))
    flat = lambda m: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(eqx.filter(m, eqx.is_inexact_array))])  # noqa: E731
    matrix = units_matrix(module, [(p, q, 0)])
    np.testing.assert_allclose(matrix @ flat(module), flat(map_units(module, p, q)), rtol=1e-10, atol=1e-12)


def test_gates_of_one_unit_lie_apart():
    """In rows (r, z, n) of two units, the second one's are 1, 3 and 5."""
    slot = Slot(lambda model: model, axis=0, blocks=3)
    array = np.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(by_unit(array, slot)[1], array[1::2])


def test_a_slot_that_does_not_hold_its_units_is_refused():
    class Wrong(eqx.Module):
        weight: jax.Array

        @property
        def units(self):
            slot = Slot(lambda model: model.weight, blocks=2)
            return Units(incoming=(slot,), outgoing=(slot,), law=UnitLaw(zero=True))

    with pytest.raises(ValueError, match="an axis of 3 entries does not hold units with 2 entries each"):
        layers_of(Wrong(jnp.ones((3, 2))))


class Overstated(eqx.Module):
    """Neurons that declare more than holds, with one array on the wrong axis."""

    incoming: jax.Array
    outgoing: jax.Array
    swapped: bool = eqx.field(static=True)

    @property
    def units(self):
        law = UnitLaw(zero=True, degree=1, linear=True)
        outgoing = Slot(lambda model: model.outgoing, axis=0 if self.swapped else 1)
        return Units(incoming=(Slot(lambda model: model.incoming),), outgoing=(outgoing,), law=law, name="neurons")

    def __call__(self, x):
        return self.outgoing @ jnp.tanh(self.incoming @ x)


def test_declarations_are_checked_against_what_was_found():
    arrays = jnp.ones((3, 2)), jnp.ones((3, 3))
    stated = units_of(Overstated(*arrays, False), example=np.ones(2)).declared
    assert stated == ("declared neurons: states degree 1, linearity, which was not found",)
    misplaced = units_of(Overstated(*arrays, True), example=np.ones(2)).declared
    assert misplaced == ("declared neurons: not found", "incoming: not declared")


def test_arrays_that_are_not_trained_hold_no_units():
    model, x = cases()["mlp gelu"]
    trainable = jax.tree.map(eqx.is_inexact_array, model)
    trainable = eqx.tree_at(lambda m: m.layers[0].weight, trainable, False)
    layers = units_of(model, example=x, trainable=trainable).units
    assert [written(units.incoming[0]) for units in layers] == ["layers[1].weight:0"]


def test_what_cannot_be_traced_is_refused():
    model, _ = cases()["mlp gelu"]
    with pytest.raises(ValueError, match="traced on one input: give data"):
        units_of(model)
    with pytest.raises(ValueError, match="MLP cannot be called on one input of shape 3"):
        units_of(model, example=np.ones(3))
    with pytest.raises(ValueError, match="no parameters"):
        units_of(eqx.nn.Lambda(jnp.tanh), example=np.ones(3))
    with pytest.raises(ValueError, match="real parameters"):
        units_of(eqx.nn.Linear(2, 2, dtype=complex, key=jax.random.key(0)), example=np.ones(2))


def test_axes_that_are_divided_differently_are_fixed():
    axes = Axes()
    whole, fitting, other = axes.new(6), axes.new(2) + axes.new(3), axes.new(3) + axes.new(2)
    axes.tie(whole, fitting)
    assert [axes.sizes[factor] for factor in axes.factors(whole)] == [2, 3]
    assert axes.factors(whole) == axes.factors(fitting) and not any(map(axes.reasons.__getitem__, axes.factors(whole)))
    axes.tie(whole, other)
    assert all(axes.reasons[factor] for factor in (*axes.factors(whole), *axes.factors(other)))
    slow, fast = axes.split(axes.new(12), 4)
    assert [axes.size(slow), axes.size(fast)] == [3, 4]
    # 2 × 3 cannot be 3 × 2 as well: all four factors are fixed, and say why.
    divided = axes.new(2) + axes.new(3)
    slow, fast = axes.split(divided, 2)
    assert [axes.size(slow), axes.size(fast)] == [3, 2]
    assert {axes.reasons[factor] for factor in (*divided, *slow, *fast)} == {"is divided in two ways that do not fit"}


@pytest.mark.parametrize("given", [1, 4, 9])
def test_functions_are_compared_on_as_many_whole_numbers_as_on_others(given):
    """Those that there are, and more of theirs."""
    numbers = np.arange(3 * given).reshape(given, 3) + 100
    found = random_inputs(eqx.nn.Linear(3, 2, key=jax.random.key(0)), numbers, batched=True, seed=0)
    assert found.shape == (SAMPLES, 3) and np.all(np.isin(found, numbers))
    np.testing.assert_array_equal(found[:given], numbers[:SAMPLES])
