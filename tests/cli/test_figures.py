"""Figures: catches a picture that is not drawn, whose labels overlap, or that differs between two runs of one seed."""

import pytest
from matplotlib import pyplot

from gradnoise.figures import (
    networks,
    registry,
    wu2019_theorem1,
    wu2019_theorem2,
    wu2019_theorem3,
    wu2020_theorem1,
    zhu2019_figure2,
    zhu2019_figure4,
)
from gradnoise.figures.style import style
from gradnoise.simulations.network_protocols import PROTOCOLS, Comparison
from gradnoise.simulations.sweeps import paper_sweep


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(zhu2019_figure2.REPEATS, "quick", 2_000)
    monkeypatch.setitem(wu2019_theorem2.PATHS, "quick", 300)
    monkeypatch.setitem(wu2019_theorem3.PATHS, "quick", 100)
    monkeypatch.setitem(wu2020_theorem1.REPLICATES, "quick", 20)
    monkeypatch.setitem(zhu2019_figure4.STEPS, "quick", (30, 5))


FRESH = [name for name, figure in registry.FIGURES.items() if not figure.kept("quick") and figure.extra is None]
KEPT = [name for name, figure in registry.FIGURES.items() if figure.kept("full")]


@pytest.mark.parametrize("name", FRESH)
def test_a_figure_is_written_and_repeats_with_its_seed(name, small, tmp_path):
    figure = registry.FIGURES[name]
    first = figure.save(tmp_path / "a", rng=3).read_bytes()
    assert first == figure.save(tmp_path / "b", rng=3).read_bytes()
    assert first != figure.save(tmp_path / "c", rng=4).read_bytes()


@pytest.mark.parametrize("name", KEPT)
def test_a_figure_of_networks_is_drawn_of_the_runs_that_are_kept(name, tmp_path):
    """Without PyTorch, and whatever the seed."""
    figure = registry.FIGURES[name]
    assert (
        figure.save(tmp_path / "a", budget="full", rng=3).read_bytes()
        == figure.save(tmp_path / "b", budget="full", rng=4).read_bytes()
    )


def test_figures_of_networks_are_left_out_of_the_quick_ones():
    of_plans = [name for name, figure in registry.FIGURES.items() if figure.kept("quick")]
    assert {f.name for f in registry.select([])} == {*FRESH, *of_plans}
    assert [f.name for f in registry.select([], "full")] == list(registry.FIGURES)
    assert [f.name for f in registry.select(["zhu2019-fig3"])] == ["zhu2019-fig3"]


@pytest.mark.parametrize("name", registry.FIGURES)
def test_no_two_labels_overlap(name, small):
    with style():
        figure = registry.FIGURES[name].draw(budget="quick" if name in FRESH else "full", rng=1)
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        for ax in figure.axes:
            texts = [t for t in [*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels()] if t.get_text() and t.get_visible()]
            boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_rotation() == 0]
            for i, (first, box) in enumerate(boxes):
                for second, other in boxes[:i]:
                    assert not box.overlaps(other), f"{first!r} overlaps {second!r}"
        pyplot.close(figure)


@pytest.mark.parametrize("budget", ["quick", "full"])
def test_the_list_tells_how_much_is_simulated(budget):
    """Catches a scale that says something else than what is drawn."""
    counts = {
        "zhu2019-fig2": zhu2019_figure2.REPEATS,
        "wu2019-thm1": wu2019_theorem1.PATHS,
        "wu2019-thm2": wu2019_theorem2.PATHS,
        "wu2019-thm3": wu2019_theorem3.PATHS,
        "wu2020-thm1": wu2020_theorem1.REPLICATES,
    }
    for name, count in counts.items():
        assert registry.FIGURES[name].scale(budget).startswith(f"{count[budget]:,} ")
    assert f"{zhu2019_figure4.STEPS[budget][0]:,} steps" in registry.FIGURES["zhu2019-fig4"].scale(budget)
    for name, plan in ((name, registry.FIGURES[name].plan) for name in KEPT):
        if plan is not None and registry.FIGURES[name].kept(budget):
            finished = {(row["run"], row["seed"]) for row in paper_sweep(plan).runs.rows if row["status"] == "finished"}
            told, seeds = registry.FIGURES[name].scale(budget), len({seed for _, seed in finished})
            assert f", {seeds} seed" in told
            of_all = len(finished) == len(paper_sweep(plan).plan.runs)
            assert of_all or told.endswith(f", {len(finished)} of {len(paper_sweep(plan).plan.runs)} runs")
            continue
        of = {"zhu2019-fig7": "zhu2019-fig5", "zhu2019-fig8": "zhu2019-fig3" if budget == "full" else "zhu2019-fig8"}.get(
            name, name
        )
        protocol, seeds = PROTOCOLS[of][budget], networks.SEEDS.get(of)
        if budget == "full":
            stored = Comparison.load(networks._STORED / f"{of}.json")
            protocol, seeds = stored.protocol, stored.n_seeds
        steps = protocol.n_steps if name != "zhu2019-fig8" else networks._FIRST_STEPS
        assert f"{seeds} seeds, {steps:,} steps" in registry.FIGURES[name].scale(budget), name
