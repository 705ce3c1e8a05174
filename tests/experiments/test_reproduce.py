"""The machinery of reproductions: checks that can fail, populations against samples, batches against single flows."""

import json

import numpy as np
import pytest
from saddlescope.__main__ import main
from saddlescope.catalogue import FIGURES, select_figures
from saddlescope.experiments import reproduce
from saddlescope.experiments.reproductions.check import at_least, at_most, close, equal, farthest
from saddlescope.experiments.reproductions.panel import Panel, Reproduced, Reproduction
from saddlescope.experiments.reproductions.plateau_times import (
    count_plateaus,
    crossings,
    padded,
    plateau_times,
    seed_key,
)
from saddlescope.experiments.reproductions.report import draw, write_page, write_reproduction
from saddlescope.experiments.reproductions.reproduce import reproduction
from saddlescope.flows import LossCurves, linear_population, loss_curves, simulate, statistics_loss
from saddlescope.models import Dense, TwoLayer, incoming, linear, outgoing
from saddlescope.models.units import with_units


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


@pytest.mark.slow
def test_a_batch_of_padded_networks_is_what_simulate_finds():
    """Zero units stay zero and do not act; the loss at the batch's times is that of single flows of the small width."""
    data = linear_population(np.eye(2), np.diag([2.0, 1.0]), weight=0.5)
    architecture = Dense(linear, inputs=2, outputs=2)
    models = [padded(architecture, width, 1e-2, 6, key=seed_key(width)) for width in (3, 6)]
    ts = np.linspace(0, 8.0, 9)
    # To no loss but zero: the same program as below.
    curves = loss_curves(models, statistics_loss, [data] * 2, np.tile(ts, (2, 1)), until=0.0)
    small = TwoLayer(architecture, width=3, scale=1.0, key=seed_key(0))
    small = with_units(small, incoming(models[0])[:3], outgoing(models[0])[:3])
    for model, losses in zip((small, models[1]), curves.losses, strict=True):
        flow = simulate(model, statistics_loss, data, t1=8.0, save_times=ts[1:])
        at = np.searchsorted(flow.ts, ts)
        np.testing.assert_allclose(losses, flow.losses[at], rtol=1e-5, atol=1e-9)
    # Stopped at half of the loss, a curve is the same until there and stays there.
    stopped = loss_curves(models, statistics_loss, [data] * 2, np.tile(ts, (2, 1)), until=0.5)
    above = curves.losses > 0.5 * curves.losses[:, :1]
    np.testing.assert_allclose(stopped.losses[above], curves.losses[above], rtol=1e-12)
    assert np.all(np.isfinite(stopped.losses)) and np.all(stopped.losses[~above] > curves.losses[~above])


def test_crossings_and_plateau_times_of_a_staircase():
    """Straight drops from 4 to 2 on [1, 2] and from 2 to 0 on [4, 6]."""
    ts = np.linspace(0, 8, 801)
    losses = np.interp(ts, [0, 1, 2, 4, 6, 8], [4, 4, 2, 2, 0, 0])
    curves = LossCurves(
        ts[None], losses[None], np.interp(ts, [0, 1, 1.5, 2.5, 3.5, 5, 7], [1e-3, 1, 1, 1e-3, 1, 1, 0])[None]
    )
    np.testing.assert_allclose(crossings(curves.ts, curves.losses, 3.0), [1.5])
    assert np.isnan(crossings(curves.ts, curves.losses, -1.0)[0])
    times = plateau_times(curves, np.array([4.0, 2.0, 0.0]))
    np.testing.assert_allclose(times.middles, [[1.5, 5.0]])
    np.testing.assert_allclose(times.dwells, [[1.1, 4.2 - 1.9]])
    assert list(count_plateaus(curves)) == [1]


def example(passes):
    checks = (close("a|b", 1.0, 1.0 if passes else 2.0, absolute=0.1),)
    panel = Panel(
        title="left",
        draw=lambda ax: ax.plot([0, 1]),
        data={"x": np.arange(2)},
        checks=checks,
        note="" if passes else "because",
    )
    item = Reproduction(name="1B", title="a title", source="a source", make=lambda seeds, quick: (panel,), seeds=2)
    return Reproduced(reproduction=item, panels=(panel,) * 5, seeds=2, quick=False, seconds=1.0)


def test_records_tell_what_they_hold():
    """The table of a figure has one line per check; each record names what a reader asks for first."""
    reproduced = example(False)
    table = str(reproduced)
    assert "Figure 1B: a title" in table and table.count("FAIL") == 5 and "a|b" in table
    assert str(reproduced.panels[0]).endswith("because") and "FAIL: a|b: 2, by theory 1" in str(reproduced.panels[0])
    assert str(reproduced.reproduction) == "Figure 1B: a title\na source; 2 seeds, 1 when quick"


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
    assert select_figures(("1b", "2")) == ("1B", "2A", "2B", "2C", "2D")
    assert select_figures() == tuple(FIGURES)
    with pytest.raises(ValueError, match="there are: 1B"):
        select_figures(("9Z",))
    with pytest.raises(ValueError, match="several figures: 2A, 2B"):
        reproduction("2")
    for name in FIGURES:
        assert reproduction(name).name == name


def test_the_command(tmp_path, capsys):
    """One cheap figure end to end; its checks pass."""
    out = tmp_path / "figures"
    assert main(["reproduce", "2C", "--quick", "--seeds", "4", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "end of the first plateau, rank 1" in printed.out and "FAIL" not in printed.out
    assert {path.name for path in out.iterdir()} == {"2C.png", "2C.npz", "2C.json"}
    assert "figures: 1, with failed checks: 0" in printed.err and (tmp_path / "figures.md").exists()
    assert main(["reproduce", "nothing", "--out", str(out)]) == 2
    assert main(["reproduce", "2C", "--seeds", "0", "--out", str(out)]) == 2


# What fails in the full figures: figure, panel, quantity. The panel's note says why.
KNOWN_FAILURES = {
    ("3", "two-layer linear network", "0/1: second plateau per ln 1/ε"),
    ("3", "two-layer linear network", "0/8: second plateau per ln 1/ε"),
    ("3", "two-layer linear network", "5/7: second plateau per ln 1/ε"),
    ("4", "E 1-cos, order 2", "effective widths, first three visits"),
    ("4", "E 1-cos, order 2", "first plateau / initial loss"),
    ("5", "D ReLU convolution + dense", "effective widths of the first layer, every seed"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_the_full_figure_passes_but_for_what_is_known(name):
    panels = reproduce(name).panels
    failed = {(name, panel.title, check.quantity) for panel in panels for check in panel.checks if not check.passed}
    assert failed <= KNOWN_FAILURES
    assert all(panel.note for panel in panels if not panel.passed)
