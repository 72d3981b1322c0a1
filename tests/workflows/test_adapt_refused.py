"""What `hemabridge adapt` and `run` refuse before they train or write."""

import json
import re
import shutil
from pathlib import Path

import pytest

from hemabridge.errors import InputError, ManifestError, ModelError
from hemabridge.models import open_model
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.adapt.adapt import adapt
from hemabridge.workflows.adapt.adapted import ADAPTED_FILE, Adapted
from hemabridge.workflows.adapt.apply import run
from hemabridge.workflows.adapt.config import AdaptConfig
from hemabridge.workflows.evaluate.evaluate import evaluate
from hemabridge.workflows.verify import verify


def test_too_few_images_are_refused_before_anything_is_trained(
    hospitals: Path, unlabeled: Path, adapt_config: AdaptConfig, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(unlabeled.glob("*.png"))[:19]:
        shutil.copy(path, few)
    with pytest.raises(InputError, match=r"expected at least 20 images of the other hospital, .* got 19"):
        adapt(hospitals / "clinic-like", few, tmp_path / "run", config=adapt_config, fabric=start_fabric("cpu"))
    assert not (tmp_path / "run").exists()


def test_the_run_folder_of_a_study_is_not_written_into(
    hospitals: Path, unlabeled: Path, adapt_config: AdaptConfig, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text('kind = "study"\n')
    with pytest.raises(InputError, match="which holds a run of kind 'study'"):
        adapt(hospitals / "clinic-like", unlabeled, tmp_path, config=adapt_config, fabric=start_fabric("cpu"))
    assert (tmp_path / "recipe.toml").read_text() == 'kind = "study"\n'


@pytest.mark.parametrize(
    ("key", "value"),
    [("classes", []), ("classes", ["a", "a"]), ("crop_px", 0), ("crop_px", -5), ("crop_px", 10**9), ("classes", None)],
)
def test_a_damaged_result_is_refused(
    adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path, key: str, value: object
) -> None:
    out, adapted = adapted_run
    whole = (out / ADAPTED_FILE).read_text()
    changed = list(adapted.classes[::-1]) if value is None else value
    try:
        (out / ADAPTED_FILE).write_text(json.dumps(json.loads(whole) | {key: changed}))
        with pytest.raises(InputError, match="run `hemabridge adapt OURS NEW --out RUN` again"):
            run(out, unlabeled, tmp_path / "out")
    finally:
        (out / ADAPTED_FILE).write_text(whole)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["classes", "restained"])
def test_nothing_is_written_through_a_link_in_the_output(
    adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path, name: str
) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    out.mkdir()
    (out / name).symlink_to(elsewhere)
    with pytest.raises(InputError, match="expected a folder of ours, got a link"):
        run(adapted_run[0], unlabeled, out)
    assert not any(elsewhere.iterdir())


def test_arguments_in_another_order_are_noticed_before_anything_is_written(
    adapted_run: tuple[Path, Adapted], unlabeled: Path, bundle: Path, small_study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for model in (adapted_run[0], bundle):
        with pytest.raises(InputError, match="the other way round; run: hemabridge run") as swapped:
            run(unlabeled, model, out)
        assert str(swapped.value).endswith(f"run {model} {unlabeled} {out}")
    with pytest.raises(InputError, match="expected a folder of images, got a run of `hemabridge adapt`: "):
        run(adapted_run[0], adapted_run[0], out)
    for missing, what in ((tmp_path / "no", "nothing"), (bundle, "a file")):
        with pytest.raises(InputError, match=f"expected a folder of images, got {what}: "):
            run(adapted_run[0], missing, out)
    (tmp_path / "study").mkdir()
    shutil.copy(small_study, tmp_path / "study" / "recipe.toml")
    with pytest.raises(InputError, match=r"a study classifies by `hemabridge evaluate .*study IMAGES OUT`"):
        run(tmp_path / "study", unlabeled, out)
    for given, what in (
        (adapted_run[0], f"run it by `hemabridge run {adapted_run[0]} FOLDER OUT`"),
        (unlabeled, "name"),
    ):
        with pytest.raises(ModelError, match=re.escape(what)):
            open_model(given)
    with pytest.raises(ModelError, match=r"got a folder: .*make one: `hemabridge export .* BUNDLE`"):
        verify(adapted_run[0])
    assert not out.exists()


def test_a_finished_run_is_not_replaced_by_another(
    adapt_config: AdaptConfig, adapted_run: tuple[Path, Adapted], hospitals: Path, unlabeled: Path, tmp_path: Path
) -> None:
    out, adapted = adapted_run
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    other = Path(shutil.copytree(unlabeled, tmp_path / "another-hospital"))
    own, longer = hospitals / "clinic-like", adapt_config.model_copy(update={"cell_px": adapt_config.cell_px + 1})
    for new, config, seed, said in (
        (other, adapt_config, 0, f"finished run for {adapted.source} that learned from clinic-like; name"),
        (unlabeled, adapt_config, 1, "with other settings"),
        (unlabeled, longer, 0, "with other settings"),
    ):
        with pytest.raises(InputError, match=said):
            adapt(own, new, out, config=config, seed=seed, fabric=start_fabric("cpu"))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_results_of_other_images_are_not_replaced(
    adapted_run: tuple[Path, Adapted], unlabeled: Path, tmp_path: Path
) -> None:
    first, second = (Path(shutil.copytree(unlabeled, tmp_path / day)) for day in ("monday", "tuesday"))
    run(adapted_run[0], first, tmp_path / "out")
    written = (tmp_path / "out" / "predictions.csv").read_bytes()
    for path in [path for path in second.rglob("*") if path.is_file()]:
        path.rename(path.with_stem(f"{path.stem}-tuesday"))
    with pytest.raises(InputError, match="with those of other images; name another one"):
        run(adapted_run[0], second, tmp_path / "out")
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == written
    sorted(first.rglob("*.png"))[0].unlink()
    run(adapted_run[0], first, tmp_path / "out")
    assert (tmp_path / "out" / "predictions.csv").read_bytes() != written


def test_swapped_folders_and_shared_images_are_refused(
    adapt_config: AdaptConfig, hospitals: Path, unlabeled: Path, tmp_path: Path
) -> None:
    whole = Path(shutil.copytree(unlabeled, tmp_path / "whole", ignore=shutil.ignore_patterns("damaged*")))
    with pytest.raises(ManifestError, match=r"8 or more cells in .*, got without a class 24; give your own labeled"):
        adapt(whole, hospitals / "clinic-like", tmp_path / "a", config=adapt_config)
    names = r"that are in both, such as lymphocyte/\S+\.png \(there lymphocyte/\S+\.png\), .*, \.\.\.; take them"
    with pytest.raises(ManifestError, match=names):
        adapt(hospitals / "clinic-like", hospitals / "clinic-like", tmp_path / "b", config=adapt_config)


def test_hospitals_of_one_name_and_labeled_images_of_the_new_one_are_refused(
    adapt_config: AdaptConfig, hospitals: Path, unlabeled: Path, tmp_path: Path
) -> None:
    ours = hospitals / "clinic-like"
    with pytest.raises(InputError, match="expected hospitals whose names differ, got clinic-like, clinic-like"):
        adapt(ours, unlabeled, tmp_path / "a", config=adapt_config, also=(ours,))
    labeled = hospitals / "yellow-field"
    with pytest.raises(ManifestError, match="than among the labeled cells of yellow-field, got 24 that are in both"):
        adapt(ours, labeled, tmp_path / "b", config=adapt_config, also=(labeled,))


def test_evaluate_names_the_command_that_takes_a_run(adapted_run: tuple[Path, Adapted], tmp_path: Path) -> None:
    run_folder, out = adapted_run[0], tmp_path / "out"
    with pytest.raises(InputError, match=re.escape(f"run `hemabridge run {run_folder} IMAGES OUT`")):
        evaluate(run_folder, run_folder / "results", out)
    assert not out.exists()
