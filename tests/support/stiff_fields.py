"""Classical stiff problems (Hairer & Wanner 1996, sections IV.1 and IV.10)."""

import jax
import jax.numpy as jnp


def robertson(t, y, args):
    slow, back, fast = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return jnp.stack([-slow + back, slow - back - fast, fast])


def van_der_pol(t, y, args):
    return jnp.stack([y[1], ((1 - y[0] ** 2) * y[1] - y[0]) / 1e-6])


def hires(t, y, args):
    a = 280 * y[5] * y[7]
    return jnp.stack(
        [
            -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007,
            1.71 * y[0] - 8.75 * y[1],
            -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4],
            8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3],
            -1.745 * y[4] + 0.43 * y[5] + 0.43 * y[6],
            -a + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6],
            a - 1.81 * y[6],
            -a + 1.81 * y[6],
        ]
    )


# Ends of the solutions from (1, 0, 0) at t = 1e11, from (2, 0) at 2 and from (1, 0, …, 0, 0.0057) at 321.8122: the test
# set for initial value problems of CWI Amsterdam.
ENDS = {
    "robertson": [2.083340149701255e-8, 8.333360770334713e-14, 0.9999999791665050],
    "van der pol": [1.706167732170483, -0.8928097010247975],
    "hires": [7.371312573325668e-4, 1.442485726316185e-4, 5.888729740967575e-5, 1.175651343283149e-3]
    + [2.386356198831331e-3, 6.238968252742796e-3, 2.849998395185769e-3, 2.850001604814231e-3],
}
FIELDS = {"robertson": (robertson, 3), "van der pol": (van_der_pol, 2), "hires": (hires, 8)}
# Components of the longest: all fit one compiled solve.
SIZE = 8


def _padded(field, size):
    return lambda t, y, args: jnp.concatenate([field(t, y[:size], args), jnp.zeros(SIZE - size)])


def any_of(t, y, number):
    """The field of a number in `FIELDS`; what pads the state stays zero."""
    return jax.lax.switch(number, [_padded(*entry) for entry in FIELDS.values()], t, y, None)


def padded(y0):
    """A state with the zeros that fill it up."""
    return jnp.concatenate([jnp.asarray(y0, float), jnp.zeros(SIZE - len(y0))])


def unpadded_norm(error):
    """The root mean square of the components that are not zero, that is without those that pad the state."""
    count = jnp.maximum(jnp.count_nonzero(error), 1)
    return jnp.sqrt(jnp.sum(error**2) / count)
