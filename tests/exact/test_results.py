"""What all results have in common: what was asked, what came out, what made it, and how they are shown, written and drawn.

It would catch a result that dumps its arrays when it is shown, that cannot be written as JSON or does not say what it is, that
cannot be repeated from what it recorded, a picture without labels or in somebody else's axes, and a file that is half written,
or takes the place of a device.
"""

import dataclasses
import json
import os
import pkgutil
import stat
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from matplotlib import pyplot

from gradnoise import figures, simulations
from gradnoise.simulations import langevin, least_squares, ornstein_uhlenbeck, sde, toy
from gradnoise.simulations.ensemble import PathsResult, Result, replacing, versions
from gradnoise.simulations.network_protocols import Comparison
from gradnoise.simulations.seeds import Stream
from gradnoise.theory.escape import PlanarLandscape
from gradnoise.theory.least_squares import LeastSquares
from gradnoise.theory.sampling import Minibatch

LANDSCAPE = PlanarLandscape(quadratic=0.5, stiffness=1.5, shear=0.7)
RISK = LeastSquares([1.0, 0.3], [1.0, 1.0], 0.5)
MAKERS = {
    "toy": lambda rng: toy.simulate("gld_hessian", 300, rng=rng, n_steps=20, record=("loss",), noise_power=0.3),
    "langevin": lambda rng: langevin.simulate(LANDSCAPE, [[0.9, 0.3], [0.3, 0.4]], (0, 0), 0.1, 10, 300, rng=rng),
    "ornstein_uhlenbeck": lambda rng: ornstein_uhlenbeck.simulate(np.eye(16), np.eye(16), 1.0, 300, rng=rng, deltas=[0.3]),
    "least_squares": lambda rng: least_squares.simulate_curve(RISK, Minibatch(7, 2), 0.1, [0, 5], 300, rng=rng),
    "sde": lambda rng: sde.weak_error(
        sde.standard_problems.logistic(n=3), [0.5, 0.25, 0.125], 1.0, 300, batch_size=1, rng=rng, refinement=4
    ),
    "networks": lambda rng: Comparison.load(kept("zhu2019-fig5")),
}


def kept(name):
    return Path(figures.__file__).parent / "data" / f"{name}.json"


@cache
def made(name):
    return MAKERS[name](5)


each = pytest.mark.parametrize("name", MAKERS)


def kinds(base=Result):
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_every_result_is_shown_and_compared_by_the_rules_of_the_base():
    """A dataclass would bring its own ``repr``, with all arrays, and ``==``, which arrays cannot answer."""
    for module in pkgutil.walk_packages(simulations.__path__, "gradnoise.simulations."):
        if not module.name.startswith("gradnoise.simulations.neural"):
            import_module(module.name)
    ours = [kind for kind in kinds() if kind.__module__.startswith("gradnoise.")]
    assert {type(made(name)) for name in MAKERS} <= set(ours)
    for kind in ours:
        assert kind.__repr__ is Result.__repr__ and kind.__eq__ is object.__eq__, kind
        assert vars(kind)["__dataclass_params__"].frozen, kind


@each
def test_a_result_shows_what_came_out_then_what_was_asked(name):
    shown = repr(made(name))
    found, _, asked = shown.partition("; ")
    assert len(shown) < 700 and "\n" not in shown and "array" not in shown
    assert found.startswith(f"{type(made(name)).__name__}(") and any(digit in found for digit in "0123456789")
    assert asked.endswith(f"seed {made(name).stream.entropy})")


def test_the_toy_is_shown_like_this():
    shown = repr(toy.simulate("gd", 10, rng=np.random.default_rng(5), n_steps=3))
    assert shown == (
        "ToyResult(success rate 0.0 ± 0.0 of 10 paths; dynamics='gd', n_paths=10, n_steps=3, step_size=0.005, noise_power=0.01, "
        "convention='released', n_data=100, tie_direction=[0.0, 1.0], seed 5 at (0,))"
    )


@each
def test_a_result_is_json_that_says_what_it_is_and_what_made_it(name):
    result = made(name)
    read = json.loads(result.to_json(), parse_constant=pytest.fail)
    assert next(iter(read)) == "result" and read["result"] == type(result).__name__
    assert set(read["arguments"]) == set(result.arguments) and {"gradnoise", "numpy", "python"} <= set(read["versions"])
    assert read["stream"] == {
        "entropy": result.stream.entropy, "spawn_key": [], "bit_generator": "PCG64"
    }  # fmt: skip
    fields = {f.name for f in dataclasses.fields(result)} - {"arguments", "stream", "versions"}
    assert isinstance(result, PathsResult) or name == "sde" or fields <= set(read)


@pytest.mark.parametrize("name", ["toy", "ornstein_uhlenbeck"])
def test_a_result_is_repeated_from_what_it_recorded(name):
    simulate = {"toy": toy.simulate, "ornstein_uhlenbeck": ornstein_uhlenbeck.simulate}[name]
    first = MAKERS[name](np.random.default_rng(5))
    again = simulate(**first.arguments, rng=first.stream)
    assert again.to_dict() == first.to_dict()
    assert simulate(**first.arguments, rng=first.stream.child(1)).to_dict() != first.to_dict()


def test_an_estimate_of_any_kind_is_written_with_its_error():
    rate = made("toy").success_rate
    written = made("toy").to_dict()["success_rate"]
    assert written == {"value": rate.value, "standard_error": rate.standard_error, "successes": rate.successes, "n": 300}
    loss = made("ornstein_uhlenbeck").loss
    assert {"value": loss.value, "standard_error": loss.standard_error, "n": 300}.items() <= (
        made("ornstein_uhlenbeck").to_dict()["loss"].items()
    )


@pytest.mark.parametrize("name", ["toy", "langevin"])
def test_paths_are_kept_as_arrays(name, tmp_path):
    result = made(name)
    result.save(tmp_path / "paths")
    with np.load(tmp_path / "paths") as read:
        assert json.loads(str(read["summary"])) == json.loads(result.to_json())
        assert set(read) - {"summary"} == {k for k, v in vars(result).items() if isinstance(v, np.ndarray)}
        assert all(np.array_equal(read[k], getattr(result, k)) for k in read if k != "summary")


@pytest.mark.parametrize("name", ["toy", "langevin", "least_squares", "sde"])
def test_a_picture_has_labels_and_axes_of_its_own(name):
    pyplot.gcf().clear()
    others = pyplot.gca()
    ax = made(name).plot()
    assert ax is not others and not others.has_data() and ax.has_data() and ax.get_ylabel()
    assert ax.get_xlabel() or all(label.get_text() for label in ax.get_xticklabels())
    assert made(name).plot(others) is others and others.has_data()
    pyplot.close("all")


def test_itos_balance_is_the_imbalance_of_the_bars():
    result = made("langevin")
    heights = [bar.get_height() for bar in result.plot().patches]
    assert heights[0] + heights[1] == pytest.approx(heights[2]) and heights[2] > 0.1
    assert heights[3] - heights[2] == pytest.approx(result.imbalance.value)
    pyplot.close("all")


def test_a_result_has_the_versions_of_now_unless_it_is_read():
    assert made("toy").versions == versions()
    assert made("networks").versions["gradnoise"] == "unknown" and made("networks").stream == Stream.of(20261121)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path):
    file = tmp_path / "result.json"
    file.write_text("before")
    with pytest.raises(OSError, match="full"), replacing(file) as new:
        new.write(b"half of")
        raise OSError("the disk is full")
    assert file.read_text() == "before" and os.listdir(tmp_path) == ["result.json"]
    with replacing(file) as new:
        new.write(b"after")
        assert file.read_text() == "before"
    assert file.read_text() == "after" and os.listdir(tmp_path) == ["result.json"]


def test_a_link_stays_one_and_so_do_a_device_and_the_modes_of_a_file(tmp_path):
    file, link = tmp_path / "result.json", tmp_path / "newest.json"
    file.write_text("before")
    file.chmod(0o640)
    link.symlink_to(file)
    made("least_squares").save(link)
    assert link.is_symlink() and json.loads(file.read_text())["result"] == "RiskCurve"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    (tmp_path / "elsewhere").symlink_to(os.devnull)
    made("least_squares").save(tmp_path / "elsewhere")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_a_target_that_cannot_be_is_named_as_it_was_given(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere/result\.json"):
        made("toy").save(tmp_path / "nowhere" / "result.json")
    with pytest.raises(IsADirectoryError):
        made("toy").save(tmp_path)
    if os.geteuid():  # root may write anything
        (tmp_path / "kept.json").touch(mode=0o400)
        with pytest.raises(PermissionError, match=r"kept\.json"):
            made("toy").save(tmp_path / "kept.json")


def test_numpy_numbers_as_arguments_are_shown_and_written():
    found = toy.simulate("gd", cast(int, np.int64(5)), rng=1, n_steps=cast(int, np.int64(2)), step_size=np.float64(0.1))
    assert "n_paths=5, n_steps=2, step_size=0.1" in repr(found)
    assert json.loads(found.to_json())["arguments"]["n_paths"] == 5


def test_paths_that_diverge_are_refused():
    steep = PlanarLandscape(quadratic=1e6, stiffness=2e6)
    with pytest.raises(ValueError, match=r"step_size must keep all paths finite, got 0\.5"), np.errstate(all="ignore"):
        langevin.simulate(steep, [[0.5, 0.0], [0.0, 0.5]], (1.0, 1.0), 0.5, 100, 20, rng=1)
