"""Identities of axes through loops, branches, convolutions, masks, and stacked parameters."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from saddlescope.models import units_of
from saddlescope.models.initialisation import normal_array, split_key

KEYS = split_key(jax.random.key(1), 6)


class Net(eqx.Module):
    """Named arrays and a function of them."""

    arrays: dict[str, Array]
    function: object = eqx.field(static=True)

    def __call__(self, x):
        return self.function(x, **self.arrays)


def net(function, **shapes):
    arrays = {name: normal_array(KEYS[k], shape) for k, (name, shape) in enumerate(shapes.items())}
    return Net(arrays, function)


def repeated(x, w, u, v):
    return v @ jax.lax.fori_loop(0, 3, lambda _, h: jnp.tanh(w @ h + u @ x), jnp.zeros(4))


def until(x, w, u, v):
    step = lambda state: (state[0] + 1, jnp.tanh(w @ state[1] + u @ x))  # noqa: E731
    return v @ jax.lax.while_loop(lambda state: state[0] < 3, step, (jnp.array(0), jnp.zeros(4)))[1]


def branched(x, a, b, v):
    return v @ jax.lax.cond(x[0] > 0, lambda: jnp.tanh(a @ x), lambda: b @ x)


def stacked_layers(x, w, u, v):
    return v @ jax.lax.scan(lambda h, layer: (h + jnp.tanh(layer @ h), None), u @ x, w)[0]


def depthwise(x, a, b, v):
    dimensions = ("NCH", "OIH", "NCH")
    h = jnp.tanh(jax.lax.conv_general_dilated(x[None], a, (1,), "VALID", dimension_numbers=dimensions))
    h = jax.lax.conv_general_dilated(h, b, (1,), "VALID", dimension_numbers=dimensions, feature_group_count=4)
    return v @ jnp.mean(jnp.tanh(h[0]), axis=1)


def causal(tokens, embedding, position, qkv, out, readout):
    h = embedding[tokens] + position
    q, k, v = (part.reshape(3, 2, 2) for part in jnp.split(h @ qkv.T, 3, axis=-1))
    scores = jnp.where(jnp.tril(jnp.ones((3, 3), bool)), jnp.einsum("thd,shd->hts", q, k), -jnp.inf)
    read = jnp.einsum("hts,shd->thd", jax.nn.softmax(scores), v).reshape(3, 4)
    return readout @ (h + read @ out.T)[-1]


def sums_of_products(x, u, v):
    return jnp.sum(v * jnp.tanh(jnp.sum(u * x, axis=1)), keepdims=True)


def mean_of_products(x, u, v):
    return jnp.mean(v * jnp.tanh(u @ x), keepdims=True)


def weights_first(x, u, v):
    return (v @ u) @ x


def maxout(x, u, v):
    return v @ jnp.max((u @ x).reshape(4, 2), axis=1)


def written_in_rows(x, u, v):
    h = jnp.zeros((2, 4)).at[0].set(jnp.tanh(u @ x)).at[1].add(u @ x)
    return v @ jax.lax.dynamic_index_in_dim(h, 0, keepdims=False)


def joined_steps(x, w, v):
    h = jnp.zeros(4)
    for z in x:
        h = jnp.tanh(w @ jnp.concatenate([h, z]))
    return v @ h


def joined_with_the_input(x, u, w, v):
    return v @ jnp.tanh(w @ jnp.concatenate([x, jnp.tanh(u @ x), jnp.ones(1)]))


def joined_channels(x, a, b, v):
    """As in a U-Net: the input's channels beside those of the first convolution."""
    dimensions = ("NCH", "OIH", "NCH")
    h = jnp.tanh(jax.lax.conv_general_dilated(x[None], a, (1,), "SAME", dimension_numbers=dimensions))
    h = jnp.concatenate([h, x[None]], axis=1)
    h = jax.lax.conv_general_dilated(h, b, (1,), "VALID", dimension_numbers=dimensions)
    return v @ jnp.ravel(jnp.tanh(h[0]))


def joined_and_parted(x, u, t, v, w):
    h = jnp.concatenate([jnp.tanh(u @ x), jax.nn.relu(t @ x)])
    return v @ h[:4] + w @ h[4:]


def joined_gates(x, w, b, v):
    """A minimal gated unit: of rows (f, n) over [state, input]."""

    def step(h, z):
        f, n = jnp.split(w @ jnp.concatenate([h, z]) + b, 2)
        return h + jax.nn.sigmoid(f) * (jnp.tanh(n) - h), None

    return v @ jax.lax.scan(step, jnp.zeros(4), x)[0]


RECURRENT = ("u:0 w:0", "v:1 w:1")
# The arrays of u and of v, each with the axis, blocks and entries where there are several; whether widths may change.
BY_HAND = {
    "fori": (net(repeated, w=(4, 4), u=(4, 2), v=(1, 4)), (2,), [RECURRENT], [False]),
    "while": (net(until, w=(4, 4), u=(4, 2), v=(1, 4)), (2,), [RECURRENT], [False]),
    "cond": (net(branched, a=(4, 2), b=(4, 2), v=(1, 4)), (2,), [("a:0 b:0", "v:1")], [True]),
    "scan over layers": (net(stacked_layers, w=(3, 4, 4), u=(4, 2), v=(1, 4)), (2,), [("u:0 w:1", "v:1 w:2")], [True]),
    "depthwise": (net(depthwise, a=(4, 2, 3), b=(4, 1, 2), v=(1, 4)), (2, 6), [("a:0 b:0", "v:1")], [False]),
    # The stream, and heads whose key, query and value are blocks of one array.
    "causal": (
        net(causal, embedding=(5, 6), position=(3, 6), qkv=(12, 6), out=(6, 4), readout=(2, 6)),
        None,
        [("embedding:1 out:0 position:1", "qkv:1 readout:1"), ("qkv:0:3:2", "out:1:1:2")],
        [True, False],
    ),
    "sums": (net(sums_of_products, u=(4, 2), v=(4,)), (2,), [("u:0", "v:0")], [True]),
    "mean": (net(mean_of_products, u=(4, 2), v=(4,)), (2,), [("u:0", "v:0")], [False]),
    "weights first": (net(weights_first, u=(4, 2), v=(2, 4)), (2,), [("u:0", "v:1")], [True]),
    "maxout": (net(maxout, u=(8, 2), v=(1, 4)), (2,), [("u:0:1:2", "v:1")], [False]),
    # What a slot leaves out of its axis, before and after its units.
    "joined steps": (net(joined_steps, w=(4, 7), v=(1, 4)), (2, 3), [("w:0", "v:1 w:1(0,3)")], [False]),
    "joined input": (
        net(joined_with_the_input, u=(4, 3), w=(5, 8), v=(1, 5)),
        (3,),
        [("u:0", "w:1(3,1)"), ("w:0", "v:1")],
        [True, True],
    ),
    "joined channels": (
        net(joined_channels, a=(4, 2, 3), b=(3, 6, 3), v=(1, 9)),
        (2, 5),
        [("a:0", "b:1(0,2)"), ("b:0", "v:1:1:3")],
        [True, True],
    ),
    "joined and parted": (
        net(joined_and_parted, u=(4, 2), t=(3, 2), v=(1, 4), w=(1, 3)),
        (2,),
        [("u:0", "v:1"), ("t:0", "w:1")],
        [False, True],
    ),
    "joined gates": (
        net(joined_gates, w=(8, 6), b=(8,), v=(1, 4)),
        (3, 2),
        [("b:0:2:1 w:0:2:1", "v:1 w:1(0,2)")],
        [False],
    ),
    "rows": (net(written_in_rows, u=(4, 2), v=(1, 4)), (2,), [("u:0", "v:1")], [False]),
}


def written(slots):
    names = []
    for slot in slots:
        more = f":{slot.blocks}:{slot.entries}" if (slot.blocks, slot.entries) != (1, 1) else ""
        ends = f"({slot.before},{slot.after})" if slot.before or slot.after else ""
        names.append(f"{slot.where.path[-1][1]}:{slot.axis}{more}{ends}")
    return " ".join(names)


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.fast_for(
    "cond", "fori", "joined and parted", "joined steps", "maxout", "mean", "rows", "sums", "weights first", "while"
)
def test_units_are_followed_through(name):
    model, shape, expected, resizable = BY_HAND[name]
    found = units_of(model, example=np.array([0, 3, 1]) if shape is None else np.ones(shape))
    assert [(written(units.incoming), written(units.outgoing)) for units in found.units] == expected
    assert [group.resizable for group in found.groups if group.units] == resizable


def joined_units(x, u, t, w):
    return w @ jnp.concatenate([jnp.tanh(u @ x), jax.nn.relu(t @ x)])


def numbered(x, u, v):
    return v @ (jnp.arange(4) + u @ x)


def accumulated(x, u, v):
    return v @ jnp.cumsum(jnp.tanh(u @ x))


def ordered(x, u, v):
    return v @ jnp.sort(u @ x)


def reversed_in_part(x, u, v):
    h = u @ x
    return v @ (h + h[::-1])


def coupled_to_the_input(x, u, v):
    return v @ (jnp.tanh(u @ x) * x)


@pytest.mark.parametrize(
    ("model", "shape", "reason"),
    [
        (net(joined_units, u=(4, 2), t=(3, 2), w=(1, 7)), (2,), "joins them with others"),
        (net(numbered, u=(4, 2), v=(1, 4)), (2,), "numbered|fixed array"),
        (net(accumulated, u=(4, 2), v=(1, 4)), (2,), "accumulated in order"),
        (net(ordered, u=(4, 2), v=(1, 4)), (2,), "sorted"),
        (net(reversed_in_part, u=(4, 2), v=(1, 4)), (2,), "reversed"),
        (net(coupled_to_the_input, u=(4, 4), v=(1, 4)), (4,), None),
    ],
    ids=["joined units", "numbered", "accumulated", "sorted", "reversed", "coupled"],
)
def test_axes_whose_order_matters_hold_no_units(model, shape, reason):
    found = units_of(model, example=np.ones(shape))
    assert found.units == ()
    if reason:
        assert any(word in str(found) for word in reason.split("|"))
