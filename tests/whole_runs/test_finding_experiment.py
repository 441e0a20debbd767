"""The experiment about the finder."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.image import imread

from experiments import finding as experiment

pytestmark = pytest.mark.usefixtures("few_starts")


@pytest.mark.whole_run
def test_the_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment.main(small=True, out=tmp_path) == 0
    table = pd.read_csv(tmp_path / "games.csv")
    assert table[experiment.KEYS].to_numpy().tolist() == [[2, 2, 2, 2, 1]]
    wanted = {"status", "seconds", "certified", "source", "gain", "above", "global_gap", "global"}
    wanted |= {"ceiling", "global_ceiling"}
    wanted |= {"pareto_dominates_fr", "block_status", "pipeline_certified", "random_certified"}
    assert wanted <= set(table)
    assert table["certified"].all()
    files = {path.name: path.read_text() for path in tmp_path.glob("*.csv")}
    printed = capsys.readouterr().out
    assert experiment.main(small=True, out=tmp_path) == 0
    assert imread(tmp_path / "finding.png").std() > 0
    for name in ("games.csv", "summary.csv"):
        assert (tmp_path / name).read_text() == files[name]
    assert capsys.readouterr().out == printed


def row(instance: int, **values: Any) -> dict[str, Any]:
    return {
        "n_senders": 2,
        "n_signals": 3,
        "n_states": 4,
        "n_actions": 5,
        "instance": instance,
        "status": "complete",
        "seconds": 2.0,
        "ceiling": 0.5,
        "global_ceiling": 0.0,
        "certified": True,
        "source": "blocks",
        "gain": 0.3,
        "above": True,
        "pareto_dominates_fr": True,
        "global_gap": 0.1,
        "global": True,
        "global_above": False,
        "global_gain": -0.1,
        "block_gain": 0.1,
        "pipeline_certified": 0.5,
        "pipeline_gain": 0.2,
        "random_certified": 0.25,
    } | values


def test_the_shares_of_two_games_by_hand() -> None:
    worse = row(
        1,
        seconds=4.0,
        ceiling=0.0,
        gain=-0.1,
        above=False,
        pareto_dominates_fr=False,
        global_gap=0.3,
        global_gain=-0.2,
        block_gain=-0.1,
        pipeline_certified=0.0,
        pipeline_gain=-0.2,
        random_certified=0.75,
    )
    summary = experiment.summarise(pd.DataFrame([row(0), worse]))
    assert summary.to_dict("records") == [
        {
            "N": 2,
            "(M,S,A)": "(3,4,5)",
            "games": 2,
            "certified": 1.0,
            "can be above": 0.5,
            "above": 0.5,
            "above, of shown": 1.0,  # only in the first does any way get above
            "Pareto over FR": 0.5,
            "global": 1.0,
            "global can be above": 0.0,
            "global above": 0.0,
            "median gain": pytest.approx(0.1),
            "of ceiling": pytest.approx(0.6),  # of the first, where the ceiling is above
            "median global gap": pytest.approx(0.2),
            "at least enumeration": 1.0,
            "better than it": 0.5,
            "pipeline certified": 0.25,
            "pipeline above": 0.5,
            "random certified": 0.5,
            "random above": 0.0,
            "seconds": 3.0,
        }
    ]


def test_games_without_an_equilibrium_count_in_the_shares() -> None:
    nothing = {name: row(1)[name] for name in experiment.KEYS} | {
        "status": "nothing",
        "seconds": 2.0,
        "ceiling": 0.0,
        "global_ceiling": 0.0,
        "certified": False,
        "pipeline_certified": 0.0,
        "random_certified": 0.0,
    }
    (line,) = experiment.summarise(pd.DataFrame([row(0), nothing])).to_dict("records")
    assert (line["certified"], line["above"], line["global"]) == (0.5, 0.5, 0.5)
    assert line["at least enumeration"] == 1.0  # of the games that were enumerated
    (line,) = experiment.summarise(pd.DataFrame([nothing])).to_dict("records")
    assert (line["certified"], line["above"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"instances": 0}, "instances must be an integer of at least 1, got 0"),
        ({"first": -1}, "first must be an integer of at least 0, got -1"),
        ({"time_limit": 0.0}, "time_limit must be finite and above 0, got 0.0"),
        ({"starts": 0}, "starts must be an integer of at least 1, got 0"),
        ({"workers": 0}, "workers must be an integer of at least 1, got 0"),
        ({"senders": (3,)}, "senders must be one of '2', '4', got '3'"),
    ],
    ids=str,
)
def test_malformed_options_are_refused(wrong: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        experiment.main(out=tmp_path / "out", small=True, **wrong)
    assert not (tmp_path / "out").exists()
