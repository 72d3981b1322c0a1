"""`open_model` is the only way from a path to a model: nothing else goes by file names, or reads snapshots."""

import ast
from collections.abc import Callable

import pytest
from source_trees import MODULES, PACKAGE, nodes_of, tree_of

READERS = {
    "training/snapshots.py": "is below models: lists the snapshots of a run",
}
"""What opens a snapshot by itself, and why."""

OTHER_WAYS = {
    "classifiers/external.py": "defines `load_external`",
    "workflows/evaluate/finished_study.py": "a recipe describes another program's classifier in a table, not a file",
    "workflows/export/export.py": "a bundle that is not written yet",
    "workflows/selection/run.py": "as an evaluation",
    "workflows/study/classifier_stage.py": "as an evaluation",
    "workflows/verify.py": "a bundle whose signature is checked before anything else in it is read",
}
"""What opens a model, but not a snapshot, by itself, and why."""

SUFFIXES = {
    "classifiers/config.py": "checks a recipe before its files need be there; what is opened depends on `architecture`",
    "data/layouts.py": "tells a mask from an image",
    "data/listing.py": "tells images from other files",
    "deployment/bundle.py": "limits the size of JSON within a bundle",
    "fields/open_field.py": "tells the format of a field",
    "imaging/files.py": "the format in which an image is written",
    "imaging/provenance.py": "the format in which an image is written",
    "imaging/reader.py": "which files in memory are of one camera",
    "storage/files.py": "the length of a suffix, for a temporary name",
    "storage/stages.py": "which results of a stage have their sizes kept",
    "workflows/evaluate/evaluate.py": "knows the files that it writes",
    "workflows/find/find.py": "tells images of fields from other files",
    "workflows/fit.py": "the name of the file that it writes",
    "workflows/simulate/simulate.py": "tells images from other files",
    "workflows/standardize/one_image.py": "tells images from other files",
}
"""What compares the suffix of a name that is not that of a model to be opened, and why."""


def reads_snapshot(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name == "read_header"


def opens_otherwise(node: ast.AST) -> bool:
    """Return whether a call opens a bundle or another program's classifier, or parses what it reads as a normalizer."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    parses = name == "normalizer_from_json" and "read_text" in ast.unparse(node)
    return parses or name in ("open_bundle", "load_external", "_load_external")


def compares_suffix(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        return any(isinstance(each, ast.Attribute) and each.attr == "suffix" for each in ast.walk(node))
    called = node.func if isinstance(node, ast.Call) else None
    if not isinstance(called, ast.Attribute) or called.attr != "endswith":
        return False
    written = ast.unparse(node)
    return any(ending in written for ending in (".safetensors", ".json", ".onnx", ".toml", ".hemabridge"))


def files_with(found: Callable[[ast.AST], bool]) -> set[str]:
    modules = {path.relative_to(PACKAGE).as_posix(): path for path in MODULES}
    return {
        name
        for name, path in modules.items()
        if not name.startswith("models/") and any(found(node) for node in nodes_of(tree_of(path)))
    }


def test_nothing_else_opens_a_snapshot() -> None:
    assert files_with(reads_snapshot) == set(READERS)


def test_nothing_else_opens_a_model_of_another_format() -> None:
    assert files_with(opens_otherwise) | {"classifiers/external.py"} == set(OTHER_WAYS)


def test_nothing_else_tells_a_model_by_its_suffix() -> None:
    assert files_with(compares_suffix) == set(SUFFIXES)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("read_header(path)['seen']", reads_snapshot),
        ("open_bundle(ModelFile.read(path))", opens_otherwise),
        ("normalizer_from_json(path.read_text())", opens_otherwise),
        ("load_external(spec.external)", opens_otherwise),
        ("path.suffix == '.json'", compares_suffix),
        ("path.suffix.lower() in ('.onnx',)", compares_suffix),
        ("name.endswith('.safetensors')", compares_suffix),
        ("name.endswith(('.json', '.onnx'))", compares_suffix),
    ],
)
def test_such_code_is_found(text: str, found: Callable[[ast.AST], bool]) -> None:
    assert any(found(node) for node in ast.walk(ast.parse(text)))
