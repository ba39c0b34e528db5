"""`sfseg compare`: what it measures, what it may look at, and how it resumes."""

import dataclasses
import json
import pkgutil
import re
import shutil
import signal
import statistics
import threading
from pathlib import Path

import pytest
import tifffile
from typer.testing import CliRunner

from sfseg import models
from sfseg.cli import app
from sfseg.cli.compare import default_folder, pick_recipe
from sfseg.comparison import compare as verb
from sfseg.comparison import plot
from sfseg.comparison.compare import compare
from sfseg.comparison.costs import Cost, cost_of
from sfseg.comparison.markdown import to_markdown
from sfseg.comparison.protocol import make_splits
from sfseg.comparison.results import RunScore
from sfseg.comparison.runs import Stage
from sfseg.comparison.table import as_dict, make_table
from sfseg.config import CompareConfig, PredictConfig
from sfseg.datasets import registry
from sfseg.datasets.fetch import dataset_folder, fetch
from sfseg.datasets.registry import DataFile, LabelledStack
from sfseg.datasets.synthetic import make_tissue
from sfseg.errors import (
    CheckpointError,
    FetchError,
    NonFiniteError,
    OptionError,
    OutputExistsError,
    ResumeError,
    UnknownNameError,
)
from sfseg.io import write_stack
from sfseg.models.blocks import Conv, Deconv, Output
from sfseg.models.encoder_decoder import EncoderDecoder, concatenate
from sfseg.models.safetensors_file import read_tensors
from sfseg.models.weights import load_weights
from sfseg.prediction.predict import predict_file
from sfseg.recipes import DEFAULT, FINETUNE, RECIPES, STUDENT, THESIS, THESIS_PIRIFORM
from sfseg.scoring import thesis
from sfseg.scoring.score_files import score_files
from sfseg.system import torchrun
from sfseg.training import curves
from sfseg.training.progress import StepRecord
from sfseg.training.run_folder import STATE
from tests.processes import refusal_without_torch

QUICK = dataclasses.replace(
    DEFAULT, name="quick", patch_px=32, visits=1, batch_size=2, epochs=2, ema_decay=0.0
)


def network(width):
    """Build as deep a network as the real ones, but of few channels."""
    return EncoderDecoder(
        down=[Conv(1, width), *(Conv(width, width) for _ in range(3))],
        bridge=Conv(width, width),
        deconv=[Deconv(width, width) for _ in range(4)],
        up=[Conv(2 * width, width) for _ in range(4)],
        output=Output(width),
        join=concatenate,
    )


SMALL = dataclasses.replace(
    registry.TISSUE,
    name="small",
    arguments=None,
    files=tuple(DataFile(name, 30_000, (6, 64, 64)) for name in ("volume.tif", "labels.tif")),
    sources=(),
    train=(LabelledStack("volume.tif", "labels.tif", "1-4"),),
    test=(LabelledStack("volume.tif", "labels.tif", "5-6"),),
)
SMALL_ARCHS = {"narrow": lambda: network(3), "wide": lambda: network(5)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache with six sections of 64x64."""
    folder = tmp_path_factory.mktemp("cache")
    source = folder / "source"
    for name, pixels in zip(("volume", "labels"), make_tissue((6, 64, 64), seed=1), strict=True):
        write_stack(source / f"{name}.tif", pixels)
    fetch(SMALL, source=source, to=folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _small_world(cache):
    """Know the small dataset and the small architectures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "DATASETS", {**registry.DATASETS, "small": SMALL})
        patch.setattr(models, "ARCHITECTURES", {**models.ARCHITECTURES, **SMALL_ARCHS})
        patch.setattr(curves, "write_curves", lambda *_: None)  # slow, and tested elsewhere
        patch.setenv("SFSEG_CACHE", str(cache))
        yield


@pytest.fixture(autouse=True)
def _own_copy(cache, tmp_path):
    shutil.copytree(cache, tmp_path / "cache")


def make_config(out):
    return CompareConfig(
        out=out,
        archs=("narrow", "wide"),
        recipe=QUICK,
        dataset="small",
        seeds=2,
        device="cpu",
        precision="float32",
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A comparison, uninterrupted; not to be changed."""
    return compare(make_config(tmp_path_factory.mktemp("whole")))


@pytest.fixture
def _without_pictures(monkeypatch):
    monkeypatch.setattr(plot, "write_picture", lambda *_: None)  # slow; `whole` has one


@pytest.fixture
def config(_without_pictures, tmp_path):
    return make_config(tmp_path / "out")


def resumed(config, **changes):
    return dataclasses.replace(config, resume=True, **changes)


class StopAt:
    """Stop a comparison at a step of a run, both from 1, and remember what was begun."""

    def __init__(self, run=None, step=None):
        self.stop, self.run, self.step = threading.Event(), run, step
        self.trained, self.steps = [], 0

    def __call__(self, record):
        if isinstance(record, Stage) and record.doing == "train":
            self.trained.append(record.run)
        if isinstance(record, StepRecord):
            self.steps += 1
            if (len(self.trained), record.step) == (self.run, self.step):
                self.stop.set()

    def compare(self, config):
        return compare(config, report=self, stop=self.stop)


def scores(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/score.json")}


# --- what comes out


def test_the_table_has_mean_and_deviation_over_the_seeds_of_every_architecture(whole):
    assert whole.finished
    found = scores(whole.folder)
    assert found.keys() == {"narrow-seed0", "wide-seed0", "narrow-seed1", "wide-seed1"}
    for row in whole.table.rows:
        values = [found[f"{row.arch}-seed{seed}"]["scores"]["v_rand"] for seed in (0, 1)]
        assert row.figures["v_rand"].values == tuple(values)
        assert row.figures["v_rand"].mean == pytest.approx(statistics.mean(values))
        assert row.figures["v_rand"].sd == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert [row.arch for row in whole.table.rows] == ["narrow", "wide"]


def test_the_table_is_written_as_markdown_json_and_picture_and_no_state_is_left(whole):
    text = (whole.folder / "table.md").read_text()
    assert "| narrow" in text
    assert "sections 5-6" in text
    assert json.loads((whole.folder / "table.json").read_text())["finished_runs"] == 4
    assert (whole.folder / "table.png").read_bytes().startswith(b"\x89PNG")
    assert list(whole.folder.rglob("*.part")) == []
    assert list(whole.folder.rglob(STATE)) == []


def test_the_page_has_the_table_every_run_and_a_link_to_its_page(whole):
    page = (whole.folder / "report.html").read_text(encoding="utf-8")
    assert 'data-outcome="finished"' in page
    for row in to_markdown(whole.table).splitlines():
        for cell in row.strip("| ").split("|") if row.startswith("| ") else []:
            assert f">{cell.strip().strip('*-:')}</t" in page
    for run, found in scores(whole.folder).items():
        assert f'<a href="{run}/report.html">{run}</a>' in page
        assert (whole.folder / run / "report.html").is_file()
        assert f"<td>{found['scores']['v_rand']:.4f}</td>" in page
    assert page.count("<title>one run: ") == 4 * 2  # runs, and V_Rand and Dice
    assert page.count("Training loss of") == 2 * 2  # title and label of a chart


def test_a_stopped_comparison_says_so_on_its_page_and_how_to_go_on(config):
    StopAt(run=2, step=1).compare(config)
    page = (config.out / "report.html").read_text(encoding="utf-8")
    assert 'data-outcome="stopped"' in page
    assert "1 of 4 runs are done." in page
    assert "compare --resume --out" in page
    assert re.findall(r"<td>(finished|stopped|not done)</td>", page) == [
        "finished",
        "stopped",
        "not done",
        "not done",
    ]


def test_a_page_that_cannot_be_written_does_not_end_a_comparison(config):
    (config.out / "report.html" / "in the way").mkdir(parents=True)
    said = []
    assert compare(dataclasses.replace(config, archs=("narrow",)), say=said.append).finished
    assert len([line for line in said if "the page is not up to date" in line]) == 1


def test_the_scores_are_those_of_predict_and_score_on_the_test_sections(whole, tmp_path):
    folder, out = dataset_folder(SMALL), tmp_path / "whole.tif"
    weights = str(whole.folder / "narrow-seed0")
    predict_file(folder / "volume.tif", out, PredictConfig(model=weights, precision="float32"))
    report = score_files(out, folder / "labels.tif", sections="5-6")
    found = scores(whole.folder)["narrow-seed0"]["scores"]
    for name in ("v_rand", "v_info", "dice", "jaccard", "membrane_dice"):
        assert found[name] == getattr(report.scores, name), name
    assert [row["section"] for row in found["per_section"]] == [5, 6]


def test_all_training_sections_train_and_nothing_is_chosen_by_looking(whole):
    _, header = load_weights(str(whole.folder / "narrow-seed0"))
    assert "sections 1-4" in header.data
    assert "validation" not in header.data
    assert header.scores == {}
    assert header.training["epoch"] == QUICK.epochs
    assert scores(whole.folder)["narrow-seed0"]["tested_on"] == [5, 6]


def test_a_budget_shortens_the_schedule_and_the_table_says_so(config):
    recipe = dataclasses.replace(QUICK, epochs=8)
    changed = dataclasses.replace(config, recipe=recipe, budget=0.3, archs=("narrow",), seeds=1)
    compare(changed)
    history = (config.out / "narrow-seed0" / "history.csv").read_text().splitlines()
    assert len(history) - 1 == 2
    assert "Budget 0.3: 2 of 8 epochs." in (config.out / "table.md").read_text()
    told = json.loads((config.out / "table.json").read_text())["budget"]
    assert told == {"asked": 0.3, "epochs": 2, "of": 8}
    _, header = load_weights(str(config.out / "narrow-seed0"))
    assert header.recipe == "quick, changed: epochs"


def test_a_tiny_budget_trains_one_epoch():
    assert CompareConfig(out=Path("x"), budget=1e-6).epochs == 1


# --- the honest protocol


def test_folds_are_blocks_of_neighbours_inside_the_training_part():
    splits = make_splits(SMALL, dataset_folder(SMALL), 2)
    assert [(split.training, split.test[0].sections) for split in splits] == [
        ("3-4", "1-2"),
        ("1-2", "3-4"),
    ]


def test_folds_of_the_challenge_leave_its_test_sections_alone(tmp_path):
    write_stack(tmp_path / "train-volume.tif", make_tissue((30, 32, 32))[0])
    for folds in (2, 4, 5, 24):
        blocks = []
        for split in make_splits(registry.ISBI2012, tmp_path, folds):
            tested = numbers(split.test[0].sections)
            assert tested == list(range(tested[0], tested[-1] + 1))
            assert set(tested).isdisjoint(numbers(split.training))
            assert sorted(tested + numbers(split.training)) == list(range(1, 25))
            blocks += tested
        assert blocks == list(range(1, 25))


def numbers(text):
    ranges = [[int(end) for end in part.split("-")] for part in text.split(",")]
    return [number for ends in ranges for number in range(ends[0], ends[-1] + 1)]


def test_with_folds_every_block_is_tested_by_networks_that_never_saw_it(config):
    config = dataclasses.replace(config, archs=("narrow",), seeds=1, folds=2)
    result = compare(config)
    found = scores(config.out)
    trained = {name: load_weights(str(config.out / name))[1].data for name in found}
    assert "sections 3-4" in trained["narrow-seed0-fold1"]
    assert found["narrow-seed0-fold1"]["tested_on"] == [1, 2]
    assert "sections 1-2" in trained["narrow-seed0-fold2"]
    assert found["narrow-seed0-fold2"]["tested_on"] == [3, 4]
    assert result.table.rows[0].runs == 2
    assert "Sections 5-6, the test, had no part in it." in (config.out / "table.md").read_text()
    told = json.loads((config.out / "table.json").read_text())["runs"]
    assert [run["fold"] for run in told] == [1, 2]


def test_with_folds_the_pixels_of_the_test_sections_change_nothing(config, tmp_path):
    config = dataclasses.replace(config, archs=("narrow",), seeds=1, folds=2)
    other = dataclasses.replace(config, out=tmp_path / "other")
    compare(config)
    folder = dataset_folder(SMALL)
    for name in ("volume.tif", "labels.tif"):
        pixels = tifffile.imread(folder / name)
        pixels[4:] = 255 - pixels[4:]
        write_stack(folder / name, pixels, overwrite=True)
    compare(other)
    for name, found in scores(config.out).items():
        assert scores(other.out)[name]["scores"]["v_rand"] == found["scores"]["v_rand"]
        ours, theirs = (load_weights(str(c.out / name))[0].state_dict() for c in (config, other))
        assert all(tensor.equal(theirs[key]) for key, tensor in ours.items())


def test_more_folds_than_sections_are_refused(config):
    with pytest.raises(OptionError, match="at most 4, the number of sections, not 5"):
        compare(dataclasses.replace(config, folds=5))


def test_folds_of_a_dataset_of_several_stacks_are_refused(tmp_path):
    with pytest.raises(OptionError, match="one training stack"):
        make_splits(registry.PIRIFORM, tmp_path, 4)


# --- it continues where it was


@pytest.mark.parametrize(("run", "step"), [(1, 1), (2, 3), (4, 4)])
def test_a_stopped_comparison_ends_like_an_uninterrupted_one(config, whole, run, step):
    assert not StopAt(run, step).compare(config).finished
    rest = StopAt()
    assert rest.compare(resumed(config)).finished
    assert len(rest.trained) == 4 - (run - 1)
    assert rest.steps == 4 * 4 - 4 * (run - 1) - step
    theirs = scores(config.out)
    for name, found in scores(whole.folder).items():
        assert theirs[name]["scores"]["v_rand"] == found["scores"]["v_rand"]
        folders = (whole.folder, config.out)
        ours, other = (read_tensors(f / name / "weights.safetensors") for f in folders)
        assert all(tensor.equal(other[0][key]) for key, tensor in ours[0].items())


def test_after_each_run_the_table_so_far_is_written_one_seed_after_the_other(config):
    stopped = StopAt(3, 1)
    table = stopped.compare(config).table
    assert stopped.trained == ["narrow-seed0", "wide-seed0", "narrow-seed1"]
    assert [(row.arch, row.runs) for row in table.rows] == [("narrow", 1), ("wide", 1)]
    assert table.rows[0].figures["dice"].sd is None
    assert "So far: 2 of 4 runs." in (config.out / "table.md").read_text()


def test_a_run_interrupted_while_it_was_scored_is_not_trained_again(config, monkeypatch):
    config = dataclasses.replace(config, seeds=1)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(verb, "score_files", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compare(config)
    rest = StopAt()
    assert rest.compare(resumed(config)).finished
    assert rest.trained[0] == "narrow-seed0"
    assert rest.steps == 1 * 4


def test_a_run_that_diverges_does_not_keep_the_others_from_being_done(config, monkeypatch):
    real = verb.train

    def train(options, **given):
        if options.out.name == "wide-seed0":
            raise NonFiniteError("step 3: expected a finite loss, found nan")
        return real(options, **given)

    monkeypatch.setattr(verb, "train", train)
    said = []
    with pytest.raises(NonFiniteError, match="step 3"):
        compare(config, say=said.append)
    assert "warning: wide-seed0: step 3: expected a finite loss, found nan" in said
    table = json.loads((config.out / "table.json").read_text())
    assert table["finished_runs"] == table["planned_runs"] - 1


def test_a_run_that_left_no_state_starts_from_the_beginning(config):
    config = dataclasses.replace(config, seeds=1)
    StopAt(1, 2).compare(config)
    (config.out / "narrow-seed0" / STATE).unlink()
    rest = StopAt()
    assert rest.compare(resumed(config)).finished
    assert rest.steps == 2 * 4


def test_a_finished_comparison_prints_its_table_again_without_any_work(whole):
    again = StopAt()
    second = again.compare(resumed(whole.table.config))
    assert again.trained == []
    assert second.table.rows == whole.table.rows


def test_seeds_and_architectures_can_be_added(config):
    compare(dataclasses.replace(config, archs=("narrow",), seeds=1))
    more = StopAt()
    table = more.compare(resumed(config)).table
    assert more.trained == ["wide-seed0", "narrow-seed1", "wide-seed1"]
    assert [row.runs for row in table.rows] == [2, 2]


def test_a_folder_with_a_comparison_is_not_overwritten(config):
    StopAt(1, 1).compare(config)
    with pytest.raises(OutputExistsError, match="--resume"):
        compare(config)


def test_a_taken_folder_is_refused_without_torch(config):
    config.out.mkdir(parents=True)
    (config.out / "compare.json").touch()
    found = refusal_without_torch("comparison", "CompareConfig", config.out)
    assert found == f"{config.out}: holds a comparison already (compare.json) False\n"


def test_trainings_of_others_in_the_folder_are_left_alone(config):
    theirs = config.out / "narrow-seed0" / "weights.safetensors"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    with pytest.raises(OutputExistsError, match="narrow-seed0"):
        compare(config)
    assert theirs.read_bytes() == b"theirs"


def test_resuming_with_other_options_says_which(config):
    StopAt(1, 1).compare(config)
    recipe = dataclasses.replace(QUICK, learning_rate=0.5)
    with pytest.raises(ResumeError, match=r"recipe\.learning_rate: 0\.002 -> 0\.5"):
        compare(resumed(config, recipe=recipe))
    with pytest.raises(ResumeError, match=r"budget: 1\.0 -> 0\.5"):
        compare(resumed(config, budget=0.5))
    with pytest.raises(ResumeError, match="close_gaps: false -> true"):
        compare(resumed(config, close_gaps=True))


def test_gaps_are_closed_in_what_is_scored_and_the_table_says_so(config):
    few = dataclasses.replace(config, archs=("narrow",), seeds=1, close_gaps=True)
    text = to_markdown(compare(few).table)
    assert "--close-gaps" in text
    record = json.loads((few.out / "narrow-seed0" / "map.tif.json").read_text())
    assert record["identity"]["options"]["close_gaps"] is True


def test_there_is_nothing_to_resume_in_an_empty_folder(config):
    with pytest.raises(CheckpointError, match="no compare"):
        compare(resumed(config))


@pytest.mark.parametrize("name", ["compare.json", "narrow-seed0/score.json"])
@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000])
def test_a_damaged_record_is_refused(config, name, text):
    StopAt(2, 1).compare(config)
    (config.out / name).write_text(text)
    with pytest.raises(CheckpointError, match=name):
        compare(resumed(config))


# --- what is refused before any work


def test_data_that_are_not_there_are_an_error_that_says_how_to_get_them(config, monkeypatch):
    absent = dataclasses.replace(SMALL, name="absent")
    monkeypatch.setitem(registry.DATASETS, "absent", absent)
    with pytest.raises(FetchError, match="sfseg fetch absent --from"):
        compare(dataclasses.replace(config, dataset="absent"))


def test_a_folder_in_which_a_comparison_is_at_work_is_left_alone(config):
    def begin_another(record):
        if isinstance(record, Stage):
            with pytest.raises(OutputExistsError, match="another comparison is running"):
                compare(resumed(config))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(config, report=begin_another)


def test_several_processes_are_refused(config, monkeypatch):
    monkeypatch.setattr(torchrun, "processes", lambda: 2)
    with pytest.raises(OptionError, match="one process"):
        compare(config)


@pytest.mark.parametrize(
    "recipe", [FINETUNE, dataclasses.replace(STUDENT, name="student, changed")]
)
def test_recipes_that_need_other_weights_are_refused(config, recipe):
    with pytest.raises(OptionError, match="needs trained weights"):
        compare(dataclasses.replace(config, recipe=recipe))


def test_an_unknown_architecture_or_dataset_is_refused(config):
    with pytest.raises(UnknownNameError, match="widest"):
        compare(dataclasses.replace(config, archs=("wide", "widest")))
    with pytest.raises(UnknownNameError, match="smal"):
        compare(dataclasses.replace(config, dataset="smal"))
    assert not config.out.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("seeds", 0), ("budget", 0.0), ("budget", float("nan")), ("folds", 1), ("archs", ())],
)
def test_invalid_numbers_are_refused_by_name(name, value):
    with pytest.raises(OptionError, match=name):
        CompareConfig(out=Path("x"), **{name: value})


# --- the thesis beside it


def made_table(config):
    """Make a table of invented scores."""
    found = dict.fromkeys(("v_rand", "v_info", "dice", "jaccard", "membrane_dice"), 0.5)
    run = RunScore("sfnet", 0, None, "", (25,), "1", 1, 60.0, 0.1, "cpu", "cpu", found)
    run = dataclasses.replace(run, scores={**found, "dice_best": 0.8})
    return make_table(config, "", {"sfnet": Cost(1_612_385, 10**11, (512, 512))}, [run])


def test_the_figures_of_the_thesis_stand_below_ours():
    lines = to_markdown(made_table(CompareConfig(out=Path("x")))).splitlines()
    (place,) = [i for i, line in enumerate(lines) if "*sfnet, thesis*" in line]
    assert "0.9840" in lines[place]
    assert "0.9451" in lines[place]
    assert "1.6 M" in lines[place]
    assert "1.61 M" in lines[place - 1]
    assert any("copying slip" in line for line in lines)


@pytest.mark.parametrize("changes", [{"folds": 4}, {"dataset": "vnc"}])
def test_the_thesis_stands_beside_its_own_test_sections_only(changes):
    assert "thesis*" not in to_markdown(made_table(CompareConfig(out=Path("x"), **changes)))


def test_the_figures_of_the_thesis_are_those_printed():
    found = {name: [(p.v_rand, p.dice) for p in t.values()] for name, t in thesis.TABLES.items()}
    assert found == {
        "isbi2012": [
            (0.97045542, 0.92196040),
            (0.97591085, 0.94366761),
            (0.98396507, 0.94507939),
        ],
        "piriform": [
            (0.83092332, 0.92196040),
            (0.85103673, 0.91900055),
            (0.88387962, 0.92910124),
        ],
    }


def test_the_best_jaccard_is_that_of_the_best_dice():
    row = as_dict(made_table(CompareConfig(out=Path("x"))))["rows"][0]
    assert row["figures"]["jaccard_best"]["mean"] == pytest.approx(0.8 / 1.2)


def test_the_cost_is_that_of_a_section_as_the_network_sees_it():
    thesis_s = cost_of("sfnet", THESIS, (6, 512, 512))
    assert thesis_s.side_px == (640, 640)
    ours = cost_of("sfnet", DEFAULT, (6, 500, 512))
    assert ours.side_px == (512, 512)
    assert thesis_s.flop / ours.flop == pytest.approx((640 / 512) ** 2)
    assert f"{thesis_s.parameters / 1e6:.1f}" == "1.6"


def test_the_recipe_of_the_thesis_for_piriform_is_its_own():
    assert pick_recipe("thesis", "piriform") is THESIS_PIRIFORM
    assert pick_recipe("thesis", "isbi2012") is THESIS


def test_folders_are_named_by_what_their_runs_have_in_common():
    assert default_folder(THESIS, "isbi2012", 0.1, 4, close_gaps=False) == Path(
        "runs/compare-thesis-isbi2012-budget0.1-folds4"
    )
    name = "runs/compare-default-vnc"
    assert default_folder(DEFAULT, "vnc", 1.0, None, close_gaps=False) == Path(name)
    assert default_folder(DEFAULT, "vnc", 1.0, None, close_gaps=True) == Path(f"{name}-closed")


# --- the command


@pytest.fixture
def command(_without_pictures, monkeypatch, tmp_path):
    """Run the command with the quick recipe on the small data."""
    monkeypatch.setattr("sfseg.recipes.RECIPES", {**RECIPES, "quick": QUICK})

    def run(*arguments):
        given = ["compare", "--dataset", "small", "--recipe", "quick", "--precision", "float32"]
        given += ["--archs", "narrow, wide", "--out", tmp_path / "out", *arguments]
        return CliRunner().invoke(app, [str(argument) for argument in given])

    return run


def test_the_command_prints_the_table_and_nothing_else_on_stdout(command, tmp_path):
    result = command("--seeds", 1, "--budget", 0.5, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout == (tmp_path / "out" / "table.md").read_text()
    assert "2 training runs of 1 of 2 epochs" in result.stderr
    assert "2/2 wide-seed0: V_Rand 0." in result.stderr
    assert result.stderr.count("licence:") == 1


def test_the_command_prints_json_and_resumes(command):
    assert command("--seeds", 1, "--folds", 2).exit_code == 0
    result = command("--seeds", 2, "--folds", 2, "--resume", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["finished_runs"] == 8
    refused = command("--seeds", 2, "--folds", 2)
    assert refused.exit_code == 1
    assert "--resume" in refused.stderr


@pytest.mark.parametrize(
    "place", ["sfseg.training.trainer.Trainer.take_step", "sfseg.comparison.compare.score_files"]
)
def test_a_signal_ends_training_and_test_alike_and_says_how_to_go_on(command, monkeypatch, place):
    def interrupted(*given, **named):
        interrupted.times += 1
        if interrupted.times == 2:
            signal.raise_signal(signal.SIGTERM)
        return real(*given, **named)

    interrupted.times = 0
    module, name = place.rsplit(".", 1)
    with monkeypatch.context() as patched:
        real = pkgutil.resolve_name(place)
        patched.setattr(pkgutil.resolve_name(module), name, interrupted)
        result = command("--seeds", 1)
    assert result.exit_code == 143, result.output
    assert result.stdout == ""
    assert re.search("stopped; to continue: .* compare --resume --out .*\n", result.stderr)
    assert command("--seeds", 1, "--resume").exit_code == 0
