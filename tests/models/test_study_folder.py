import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_trees import MODULES, PACKAGE, nodes_of, tree_of

from hemabridge.models.study_folder import (
    StudyFolder,
    guard_stage,
    limits_stage,
    restained_stage,
    source_fine_tuning_stage,
    split_stage,
)
from hemabridge.storage.stages import DONE, Stages

FOLDERS = {
    *("audit", "classifiers", "ensemble", "guard", "restained", "seeds", "selection", "source-fine-tuning", "split"),
    *("tables", "translator", "translators"),
}
FILES = {
    *("audit.json", "figure-4.png", "guard.json", "limits.json", "manifest.csv", "normalizer.json", "predictions.csv"),
    *("report.html", "results.json", "selection.json", "selection.png", "verdicts.json"),
}
OTHERS = {
    "data/listing.py": "tells tables that any command wrote from other files in a folder",
    "data/manifest.py": "names the manifest of a folder of images in a hint",
    "models/selection_file.py": "names its own file, which lies in every run folder",
    "models/guard_file.py": "names its own file, which lies beside every model",
    "recipes/two_sites.py": "writes a manifest of the user's images, into no study",
    "synthesis/pair_results.py": "names the results of a synthesis",
    "workflows/adapt": "writes a folder of its own",
    "workflows/classify/classify.py": "writes into a folder of its own",
    "workflows/demo.py": "reads the manifests of simulated sites",
    "workflows/differential": "writes a folder of its own",
    "workflows/find": "writes the manifest of the crops, into a folder of its own",
    "workflows/index.py": "writes the manifest of a folder of images",
    "workflows/label": "writes a folder of its own",
    "workflows/restyle.py": "writes into a folder of its own",
    "workflows/simulate/simulate.py": "writes the manifest of a simulated site",
    "workflows/synthesis": "writes the folder of a synthesis",
}
"""Where a name is that of a file in another folder than a study's, and why."""


def parts_of_paths(tree: ast.AST) -> Iterator[str]:
    """Yield what is joined to a path or given to `Stages` as text, and every text that is a file's name in a study."""
    for node in nodes_of(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            yield from texts(node.right)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("run", "key"):
            yield from (text for argument in node.args[:1] for text in texts(argument))
        elif isinstance(node, ast.JoinedStr):
            yield from (text for text in texts(node) if "/" in text)
        elif isinstance(node, ast.Constant) and node.value in FILES:
            yield str(node.value)


def texts(node: ast.expr) -> Iterator[str]:
    first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        yield first.value


def is_of_a_study(text: str) -> bool:
    return text in FILES or text.split("/")[0] in FOLDERS


def named_in(tree: ast.AST) -> set[str]:
    return {text for text in parts_of_paths(tree) if is_of_a_study(text)}


def test_no_other_module_knows_the_names_in_a_study_folder() -> None:
    found = {}
    for path in MODULES:
        name = path.relative_to(PACKAGE).as_posix()
        if name != "models/study_folder.py" and not any(name == own or name.startswith(f"{own}/") for own in OTHERS):
            found[name] = named_in(tree_of(path))
    assert {name: texts for name, texts in found.items() if texts} == {}


@pytest.mark.parametrize(
    "source",
    [
        'list_snapshots(folder / "translator")',
        'folder / "seeds" / str(seed)',
        'folder / f"classifiers/{name}"',
        'stages.run("audit", inputs, work)',
        'stages.key(f"restained/{name}")',
        'first = f"classifiers/{name}"',
        'PREDICTIONS = "predictions.csv"',
    ],
)
def test_such_a_name_is_found(source: str) -> None:
    assert named_in(ast.parse(source)) != set()


def test_each_exception_is_one() -> None:
    unused = []
    for own in OTHERS:
        files = [PACKAGE / own] if own.endswith(".py") else sorted((PACKAGE / own).rglob("*.py"))
        if not any(named_in(tree_of(file)) for file in files):
            unused.append(own)
    assert unused == []


def test_the_layout_is_the_documented_one() -> None:
    study = StudyFolder(Path("study"))
    paths = {
        study.recipe: "recipe.toml",
        study.results: "results.json",
        study.predictions: "predictions.csv",
        study.report: "report.html",
        study.tables: "tables",
        study.figure_4: "figure-4.png",
        study.translator: "translator",
        study.translator_events: "translator/events.jsonl",
        study.compared("cut"): "translators/cut",
        study.classifier("ResNet-18 (paper)"): "classifiers/resnet-18-paper",
        study.ensemble(): "ensemble",
        study.ensemble(40): "ensemble/labels-40",
        study.manifest("Site A"): "split/site-a/manifest.csv",
        study.normalizer("macenko"): "restained/macenko/normalizer.json",
        study.pictures("epoch-0015"): "restained/epoch-0015/to_target",
        study.pictures("epoch-0015", "to_source"): "restained/epoch-0015/to_source",
        study.of_seed(3).translator: "seeds/3/translator",
    }
    assert {path.as_posix(): f"study/{name}" for path, name in paths.items() if path != Path("study") / name} == {}


def test_stages_have_their_names() -> None:
    assert split_stage("Site A") == "split/site-a"
    assert restained_stage("macenko") == "restained/macenko"
    assert restained_stage("macenko", 96) == "restained-96px/macenko"
    assert guard_stage("macenko") == "guard/macenko"
    assert limits_stage("epoch-0015") == "selection/epoch-0015/limits"
    assert source_fine_tuning_stage("My net", "original") == "source-fine-tuning/my-net/original"
    assert source_fine_tuning_stage("My net", "epoch-0015", 8) == "source-fine-tuning/my-net/labels-8/epoch-0015"


def test_only_finished_restainings_are_listed(tmp_path: Path) -> None:
    def stop(folder: Path) -> None:
        raise RuntimeError("stopped")

    stages = Stages(tmp_path)
    done = stages.run(restained_stage("macenko"), {}, lambda folder: None)
    with pytest.raises(RuntimeError, match="stopped"):
        stages.run(restained_stage("reinhard"), {}, stop)
    stages.run(restained_stage("linear-ot", 96), {}, lambda folder: None)
    assert (done / DONE).is_file()
    assert StudyFolder(tmp_path).restainings == {"macenko": done}
