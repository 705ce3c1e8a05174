"""The machinery of reproductions: checks that can fail, populations against samples, batches against single flows."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.__main__ import main
from saddlescope.experiments import (
    Panel,
    Reproduced,
    Reproduction,
    reproduce,
    reproductions,
    write_page,
    write_reproduction,
)
from saddlescope.experiments.ensemble import Curves, crossings, loss_curves, padded, plateau_times, seed_key
from saddlescope.experiments.panel import at_least, at_most, close, equal, farthest
from saddlescope.experiments.population import attention_population, linear_population, quadratic_population
from saddlescope.experiments.reproduce import draw, select
from saddlescope.flows import mean_squared_error, simulate, statistics_loss, sufficient_statistics
from saddlescope.models import (
    Dense,
    LinearAttention,
    TwoLayer,
    context_statistics,
    incoming,
    linear,
    outgoing,
    quadratic,
    with_units,
)


def test_checks_pass_and_fail():
    assert close("q", 2.0, 2.02, relative=0.02).passed and not close("q", 2.0, 2.02, absolute=0.01).passed
    assert not close("q", 2.0, float("nan"), absolute=1e9).passed
    assert not farthest("q", 0.0, [0.0, float("nan")], absolute=1.0).passed
    assert farthest("q", 1.0, [1.1, 0.95], absolute=0.2).measured == "1.1"
    assert at_most("q", 1, 1).passed and not at_most("q", 1, 1.1).passed and not at_most("q", 1, float("nan")).passed
    assert at_least("q", 1, 1).passed and not at_least("q", 1, 0.9).passed
    assert equal("q", (0, 1), (0, 1)).passed and not equal("q", (0, 1), (0, 2)).passed
    with pytest.raises(ValueError, match="either"):
        close("q", 1.0, 1.0)


def population_and_sample(name):
    key = jax.random.split(jax.random.key(4), 3)
    count = 40_000
    if name == "linear":
        covariance, target = np.array([[1.0, 0.4], [0.4, 2.0]]), np.array([[1.0, -1.0], [0.5, 0.2]])
        x = jax.random.multivariate_normal(key[0], jnp.zeros(2), jnp.asarray(covariance), (count,))
        return (
            TwoLayer(Dense(linear, 2, 2), 4, 0.7, key=key[1]),
            linear_population(covariance, target, weight=0.5),
            (
                x,
                x @ target.T,
            ),
        )
    if name == "quadratic":
        target = np.array([[1.0, 0.3], [0.3, -0.5]])
        x = jax.random.normal(key[0], (count, 2))
        y = jnp.einsum("pi,ij,pj->p", x, target, x)[:, None]
        return TwoLayer(Dense(quadratic, 2), 4, 0.7, key=key[1]), quadratic_population(target), (x, y)
    values, context = np.array([0.7, 0.3]), 5
    x = jax.random.normal(key[0], (count, context + 1, 2)) * jnp.sqrt(jnp.asarray(values))
    y = jnp.einsum("pnd,pd->pn", x, jax.random.normal(key[2], (count, 2)))
    tokens = jnp.concatenate([x, y.at[:, -1].set(0.0)[..., None]], axis=-1)
    data = (context_statistics(tokens), y[:, -1:])
    return TwoLayer(LinearAttention(2), 4, 0.3, key=key[1]), attention_population(values, context), data


@pytest.mark.parametrize("name", ["linear", "quadratic", "attention"])
def test_populations_are_the_limit_of_samples(name):
    """Loss and gradient agree within five standard errors, estimated from halves of the sample."""
    model, population, data = population_and_sample(name)
    exact = float(statistics_loss(model, population))
    errors = jnp.sum((jax.vmap(model)(data[0]) - data[1]) ** 2, axis=1) / data[1].shape[1]
    assert float(jnp.mean(errors)) == pytest.approx(exact, abs=5 * float(jnp.std(errors)) / 200)
    sample = sufficient_statistics(model, mean_squared_error, data)
    np.testing.assert_allclose(population.target, sample.target, atol=0.05)
    gram = population.factor.T @ population.factor
    np.testing.assert_allclose(gram, sample.factor.T @ sample.factor, rtol=0.1, atol=0.05 * np.max(gram))


def test_normalised_attention_is_the_same_network_in_other_units():
    """β / N instead of β is v → N v."""
    model = TwoLayer(LinearAttention(2), 3, 0.5, key=jax.random.key(0))
    values = (0.7, 0.3)
    plain = statistics_loss(model, attention_population(values, 7))
    key, query, v = model.parameters
    larger = eqx.tree_at(lambda m: m.parameters, model, (key, query, 7 * v))
    normalised = statistics_loss(larger, attention_population(values, 7, normalised=True))
    assert float(normalised) == pytest.approx(float(plain), rel=1e-12)


def test_a_batch_of_padded_networks_is_what_simulate_finds():
    """Zero units stay zero and do not act; the loss at the batch's times is that of single flows of the small width."""
    data = linear_population(np.eye(2), np.diag([2.0, 1.0]))
    architecture = Dense(linear, 2, 2)
    models = [padded(architecture, width, 1e-2, 6, key=seed_key(width)) for width in (3, 6)]
    ts = np.linspace(0, 8.0, 9)
    curves = loss_curves(models, [data] * 2, np.tile(ts, (2, 1)))
    small = TwoLayer(architecture, 3, 1.0, key=seed_key(0))
    small = with_units(small, incoming(models[0])[:3], outgoing(models[0])[:3])
    for model, losses in zip((small, models[1]), curves.losses, strict=True):
        flow = simulate(model, statistics_loss, data, t1=8.0, saveat=ts[1:])
        at = np.searchsorted(flow.ts, ts)
        np.testing.assert_allclose(losses, flow.losses[at], rtol=1e-5, atol=1e-9)


def test_crossings_and_plateau_times_of_a_staircase():
    """Straight drops from 4 to 2 on [1, 2] and from 2 to 0 on [4, 6]."""
    ts = np.linspace(0, 8, 801)
    losses = np.interp(ts, [0, 1, 2, 4, 6, 8], [4, 4, 2, 2, 0, 0])
    curves = Curves(
        ts[None], losses[None], np.interp(ts, [0, 1, 1.5, 2.5, 3.5, 5, 7], [1e-3, 1, 1, 1e-3, 1, 1, 0])[None]
    )
    np.testing.assert_allclose(crossings(curves.ts, curves.losses, 3.0), [1.5])
    assert np.isnan(crossings(curves.ts, curves.losses, -1.0)[0])
    times = plateau_times(curves, np.array([4.0, 2.0, 0.0]))
    np.testing.assert_allclose(times.middles, [[1.5, 5.0]])
    np.testing.assert_allclose(times.dwells, [[1.1, 4.2 - 1.9]])
    assert list(curves.plateaus) == [1]


def example(passes):
    checks = (close("a|b", 1.0, 1.0 if passes else 2.0, absolute=0.1),)
    panel = Panel("left", lambda ax: ax.plot([0, 1]), {"x": np.arange(2)}, checks, "" if passes else "because")
    item = Reproduction("1B", "a title", "a source", lambda seeds, quick: (panel,), 2, 1)
    return Reproduced(item, (panel,) * 5, 2, False, 1.0)


def test_what_is_written(tmp_path):
    folder = tmp_path / "pages"
    png, npz, js = write_reproduction(example(False), folder)
    assert png.read_bytes()[:4] == b"\x89PNG" and not list(folder.glob("*.part"))
    assert np.load(npz)["left/x"].tolist() == [0, 1]
    record = json.loads(js.read_text())
    assert record["panels"][0]["verdict"] == "FAIL" and record["panels"][0]["checks"][0]["error"] == "1"
    page = write_page(folder)
    assert page == tmp_path / "pages.md"
    text = page.read_text()
    assert "5 failed" in text and "because" in text and "(pages/1B.png)" in text and "a\\|b" in text
    assert len(draw(example(True)).axes) == 8
    assert example(True).passed and not example(False).passed


def test_figures_by_name():
    assert select(("1b", "2")) == ("1B", "2A", "2B", "2C", "2D")
    assert select() == reproductions()
    with pytest.raises(ValueError, match="there are: 1B"):
        select(("9Z",))


def test_the_command(tmp_path, capsys):
    """One cheap figure end to end; its checks pass."""
    out = tmp_path / "figures"
    assert main(["reproduce", "2C", "--quick", "--seeds", "4", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "end of the first plateau, rank 1" in printed.out and "FAIL" not in printed.out
    assert {path.name for path in out.iterdir()} == {"2C.png", "2C.npz", "2C.json"}
    assert "1 figures, 0 with failed checks" in printed.err and (tmp_path / "figures.md").exists()
    assert main(["reproduce", "nothing", "--out", str(out)]) == 2
    assert main(["reproduce", "2C", "--seeds", "0", "--out", str(out)]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", reproductions())
def test_the_full_figure_passes(name):
    failed = [check for panel in reproduce(name).panels for check in panel.checks if not check.passed]
    assert not failed
