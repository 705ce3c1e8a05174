"""Films show the flow's own states, and are written whole or not at all."""

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from saddlescope.analysis import animate, save_film
from saddlescope.analysis.figures import film as films
from saddlescope.analysis.figures.frames import frames
from saddlescope.analysis.figures.planes import planes
from saddlescope.experiments import experiment
from saddlescope.flows import flatten, simulate
from saddlescope.models import Deep, Dense, LinearAttention, TwoLayer, incoming, relu


@pytest.fixture(scope="module")
def flow():
    setup = experiment("relu").setup(0, width=3, t1=30.0)
    return simulate(setup.model, setup.loss, setup.data, t1=setup.t1)


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    monkeypatch.setattr(films, "PICTURES", 5)
    yield
    plt.close("all")


def test_a_film_moves_units_and_loss_together(flow):
    film = animate(flow, levels=(1.0, 0.5), title="t")
    chosen = frames(flow, count=5)
    last = len(chosen.indices) - 2
    trails, rays, dots, past, dot = film._func(last)
    u = np.asarray(incoming(flow.model_at_index(int(chosen.indices[last]))))
    np.testing.assert_array_equal(np.column_stack(dots.get_data()), u)
    np.testing.assert_array_equal([segment[1] for segment in rays.get_segments()], u)
    assert [len(segment) for segment in trails.get_segments()] == 3 * [last + 1]
    assert float(dot.get_xdata()[0]) == chosen.ts[last]
    np.testing.assert_array_equal(past.get_ydata(), flow.losses[chosen.indices[: last + 1]])


def test_a_film_is_written(flow, tmp_path):
    save_film(animate(flow), tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as image:
        assert image.n_frames == len(frames(flow, count=5).indices)
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]


def test_films_that_cannot_be_written(flow, tmp_path, monkeypatch):
    film = animate(flow)
    with pytest.raises(ValueError, match=r"\.mp4 or \.gif; got film\.avi"):
        save_film(film, tmp_path / "film.avi")
    monkeypatch.setattr(films._FFMpeg, "isAvailable", classmethod(lambda cls: False))
    with pytest.raises(ValueError, match=r"saddlescope\[film\]"):
        save_film(film, tmp_path / "film.mp4")
    assert films.film_format() == "gif"
    film._draw_was_started = True  # matplotlib warns of films that nobody has seen
    assert not list(tmp_path.iterdir())


def thetas_of(model):
    return np.stack([flatten(model), 2 * flatten(model)])


def test_planes_are_those_of_the_arrays_with_two_weights_or_more():
    model = TwoLayer(LinearAttention(inputs=2), width=4, scale=1.0, key=jax.random.key(0))
    key, query = planes(model, thetas_of(model))
    np.testing.assert_array_equal(key.points[0], np.asarray(model.parameters[0])[:, 0])
    np.testing.assert_array_equal(query.points[1], 2 * np.asarray(model.parameters[1])[:, 0])
    assert key.axes == ("weight 1", "weight 2")
    assert (key.title, query.title) == ("Keys of heads", "Queries of heads")


def test_more_than_two_weights_are_seen_along_their_largest_directions():
    model = TwoLayer(Dense(relu, inputs=5), width=3, scale=1.0, key=jax.random.key(0))
    (plane,) = planes(model, thetas_of(model))
    u = np.asarray(incoming(model))
    # Of three units in five dimensions the plane holds the two largest singular values.
    sizes = np.linalg.svd(u, compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(plane.points[0]), np.linalg.norm(sizes[:2]))
    assert plane.axes[0] == "principal direction 1"


def test_planes_of_several_layers_say_which():
    model = Deep(Dense(relu, inputs=2, outputs=2), widths=(3, 2), scale=1.0, key=jax.random.key(0))
    titles = [plane.title for plane in planes(model, thetas_of(model))]
    assert titles == ["Incoming weights of units, layer 1", "Incoming weights of units, layer 2"]


def test_one_incoming_weight_stands_beside_the_outgoing_one():
    model = TwoLayer(Dense(relu, inputs=1), width=3, scale=1.0, key=jax.random.key(0))
    (plane,) = planes(model, thetas_of(model))
    first, second = (np.asarray(array)[:, 0] for array in model.parameters)
    np.testing.assert_array_equal(plane.points[0], np.column_stack([first, second]))


def test_a_network_without_units_has_no_plane():
    assert planes(jax.numpy.ones(3), np.ones((2, 3))) == ()
