"""Reports in a real browser: an empty console, no request, and a slider that moves all charts."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from saddlescope.analysis import itinerary, saddle_graph
from saddlescope.experiments import experiment, report
from saddlescope.flows import mean_squared_error, simulate

pytestmark = pytest.mark.slow

# A browser must not speak for itself while it is watched for what the page asks for.
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
QUIET += ("--disable-sync",)
PLACES = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
EVIL = "</script><script>document.title='broken'</script>"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
    with playwright.sync_playwright() as driver:
        found = next((path for path in (*PLACES, driver.chromium.executable_path) if Path(path).exists()), None)
        if found is None:
            pytest.skip("no Chromium was found")
        browser = driver.chromium.launch(executable_path=found, args=list(QUIET))
        yield browser
        browser.close()


def of_experiment(name):
    chosen = experiment(name)
    setup = chosen.setup(0)
    flow = simulate(setup.model, setup.loss, setup.data, t1=setup.t1)
    return flow, {"data": setup.data, "levels": chosen.levels(setup.data)}


def of_own_network():
    x = jax.random.normal(jax.random.key(0), (50, 2))
    data = x, jnp.tanh(2 * x[:, :1]) + 0.5 * jnp.tanh(x[:, 1:])
    model = eqx.nn.MLP(2, 1, width_size=8, depth=1, activation=jnp.tanh, key=jax.random.key(1))
    model = jax.tree.map(lambda leaf: 1e-3 * leaf if eqx.is_array(leaf) else leaf, model)
    return simulate(model, mean_squared_error, data, t1=1e4), {}


@pytest.fixture(scope="module", params=["linear", "attention", "own network"])
def page_file(request, tmp_path_factory):
    flow, more = of_own_network() if request.param == "own network" else of_experiment(request.param)
    visits = itinerary(flow)
    graph = saddle_graph(flow.landscape, visits[0].critical_point.theta, visits=visits)
    made = report(flow, visits, title=EVIL, graph=graph, settings={"note": EVIL}, **more)
    path = tmp_path_factory.mktemp("report") / "report.html"
    made.save(path)
    assert path.stat().st_size < 2e6
    return path


def opened(browser, path, *, width=1200, scheme="light"):
    """The page once all is drawn, with what it wrote on the console and asked for."""
    view = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    said, asked = [], []
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda request: asked.append(request.url))
    view.goto(path.as_uri())
    view.wait_for_selector("body[data-drawn]", timeout=120_000)
    return view, said, asked


def pictures(view):
    """The marks of every chart as text."""
    return view.evaluate("[...document.querySelectorAll('figure svg')].map(svg => svg.innerHTML)")


def shown(view, before):
    view.wait_for_function("(n) => document.getElementById('said').textContent !== n", arg=before)
    view.wait_for_timeout(1500)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_all_charts_follow_the_slider_without_a_word_or_a_request(browser, page_file, width, scheme):
    view, said, asked = opened(browser, page_file, width=width, scheme=scheme)
    start, told = pictures(view), view.inner_text("#said")
    assert len(start) == int(view.get_attribute("body", "data-drawn")) > 8
    # With the keyboard: to the end of the flow.
    view.focus("#frame")
    view.keyboard.press("End")
    shown(view, told)
    end = pictures(view)
    assert all(a != b for a, b in zip(start, end, strict=True))
    assert view.inner_text("#said") != told
    assert not said and asked == [page_file.as_uri()]
    # Nothing reaches beyond a phone's edge.
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert view.title() == EVIL and view.inner_text("h1") == EVIL
    paper = view.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    view.context.close()


def test_buttons_and_themes(browser, page_file):
    view, said, _ = opened(browser, page_file)
    told = view.inner_text("#said")
    view.click("text=visit 1")
    shown(view, told)
    assert view.evaluate("+document.getElementById('frame').value") > 0
    view.check("#dark")
    assert view.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    # Chart text takes the page's colour.
    assert view.evaluate("getComputedStyle(document.querySelector('svg text')).fill") == "rgb(228, 231, 236)"
    view.click("#play")
    before = view.evaluate("+document.getElementById('frame').value")
    view.wait_for_function("(n) => +document.getElementById('frame').value > n + 1", arg=before, timeout=60_000)
    assert not said
    view.context.close()
