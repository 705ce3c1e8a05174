"""The report of a sweep holds every flow once, where its settings put it."""

import json
import re

import numpy as np
import pytest
import xarray as xr
from saddlescope.experiments import report_sweep
from saddlescope.experiments.reports import of_sweep

WIDTHS, SCALES, SEEDS, VISITS = (3, 6), (1e-6, 1e-3), 5, 3
EVIL = "</script><script>alert(1)</script>"


def made_up():
    """A sweep of 2 × 2 configurations of five flows, one of which is missing, one failed, one cut short."""
    random = np.random.default_rng(0)
    shape = (len(WIDTHS), len(SCALES), SEEDS)
    dims = ("width", "scale", "seed")
    positive = lambda: random.uniform(1, 2, (*shape, VISITS))  # noqa: E731
    visits = np.full(shape, VISITS)
    visits[0, 0, 1] = 1
    result = np.full(shape, "horizon reached", "<U20")
    result[1, 1, :] = ""
    failure = np.full(shape, "", "<U40")
    failure[0, 1, 2] = EVIL
    there = np.arange(VISITS) < visits[..., None]
    numbers = {name: np.where(there, positive(), np.nan) for name in ("loss", "dwell", "dwell_predicted")}
    numbers |= {name: np.where(there, positive(), np.nan) for name in ("rate_measured", "rate_predicted")}
    # The last visit is not left.
    for name in ("dwell", "dwell_predicted", "rate_measured", "rate_predicted"):
        numbers[name][..., -1] = np.nan
    widths = np.where(there, np.arange(VISITS), -1)
    kinds = np.where(there, np.array(["strict saddle", "strict saddle", "minimum"]), "")
    variables = {name: ((*dims, "visit"), values) for name, values in numbers.items()}
    variables |= {"effective_width": ((*dims, "visit"), widths), "kind": ((*dims, "visit"), kinds)}
    variables |= {"visits": (dims, visits), "result": (dims, result), "failure": (dims, failure)}
    variables |= {"loss_final": (dims, numbers["loss"][..., 0]), "censored": (dims, visits == 1)}
    coordinates = {"width": list(WIDTHS), "scale": list(SCALES), "seed": np.arange(SEEDS), "experiment": EVIL}
    return xr.Dataset(variables, coords=coordinates, attrs={"versions": "{}"})


def held(html):
    page = json.loads(re.search(r'id="page">(.*?)</script>', html, flags=re.DOTALL)[1])
    return {chart["description"]: chart["datasets"] for chart in page["charts"].values()}, page["said"]


@pytest.mark.slow
def test_every_flow_stands_where_its_settings_put_it():
    dataset = made_up()
    charts, said = held(report_sweep(dataset).html)
    # The configuration without flows is left out.
    assert said == [f"width {w}, scale {s}: 5 flows" for w, s in ((3, "1e-06"), (3, "0.001"), (6, "1e-06"))]
    losses = charts["Losses of the plateaus"]["rows"]
    known = dataset.loss.where(dataset.result != "").values
    assert len(losses) == np.sum(np.isfinite(known)) == 3 * 5 * 3 - 2
    np.testing.assert_allclose([row["loss"] for row in losses if row["frame"] == 1], known[0, 1].ravel(), rtol=1e-3)
    pairs = charts["Dwell times beside their predictions"]["rows"]
    assert len(pairs) == 3 * 5 * 2 - 1
    first = next(row for row in pairs if row["frame"] == 2 and row["visit"] == 1)
    assert first["dwell"] == pytest.approx(float(dataset.dwell[1, 0, 0, 1]), rel=1e-3)
    settings = {(row["frame"], row["setting"]) for row in charts["Dwell times against scale, with medians"]["rows"]}
    assert settings == {(0, 1e-6), (1, 1e-3), (2, 1e-6)}
    kinds = charts["Kinds at each visit"]["rows"]
    assert sum(row["flows"] for row in kinds if row["frame"] == 0) == 4 * 3 + 1


def test_the_table_counts_failures_and_paths_and_escapes_text():
    html = report_sweep(made_up(), title=EVIL).html
    assert "alert(1)</script>" not in html and "&lt;script&gt;alert(1)" in html
    lines = re.findall(r"<tr><td>(width.*?)</tr>", html)
    cells = [re.sub(r"<[^>]*>", "|", line).replace("||", "|").split("|") for line in lines]
    assert [(row[1], row[2], row[3]) for row in cells] == [("5", "0", "1"), ("5", "1", "0"), ("5", "0", "0")]
    assert cells[0][6].startswith("0 → 1 → 2 (4)")
    assert [row[4] for row in cells] == ["1 to 3", "3", "3"]


@pytest.mark.parametrize(
    ("made_with", "told"),
    [
        ('{"jax": "0.10", "numpy": "2.4"}', "jax 0.10, numpy 2.4"),
        ('{"jax": "0.10"} | {"jax": "0.11"}', "jax 0.10 | jax 0.11"),
        # As somebody else may have written them.
        ("jax 0.10", "jax 0.10"),
        ('["jax"]', "[&quot;jax&quot;]"),
    ],
)
def test_versions_are_told_and_what_is_empty_is_not(made_with, told):
    html = report_sweep(made_up().assign_attrs(versions=made_with, commit="")).html
    assert f"<dt>versions</dt><dd>{told}</dd>" in html and "<dt>commit</dt>" not in html


def test_of_many_flows_the_clouds_hold_some(monkeypatch):
    monkeypatch.setattr(of_sweep, "MOST", 24)
    html = report_sweep(made_up()).html
    charts, _ = held(html)
    assert "hold every 2th seed" not in html and "one seed of 2" in html
    assert len(charts["Losses of the plateaus"]["rows"]) == 3 * 3 * 3
    assert sum(row["flows"] for row in charts["Kinds at each visit"]["rows"]) == 3 * 5 * 3 - 2


def test_a_sweep_without_flows_is_refused():
    dataset = made_up()
    with pytest.raises(ValueError, match="no flow"):
        report_sweep(dataset.assign(result=dataset.result.where(False, "")))
