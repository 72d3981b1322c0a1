"""Makes those files beside it that today's hemabridge writes: `python tests/models/formats/make.py`.

Files of earlier formats stay as they are; `test_formats.py` says where they come from. No run with an early
`selection.json` was at hand: `selection-before-renaming.json` is today's with the keys and the number of the format at
commit 4372f65. The guard before the renaming is of a run of that commit, without the profiles of its fallback.
`selection-1.json`, `selection-2.json`, `label-1.json`, `study-1-early.json` and `reading-1.json` were written, with
made-up numbers, by the code of the commits 89de2d5, fe5fc30, 21ac079, c62add6 and 2fa40f8.

Everything is text. A color table is left out (`test_formats.py` fills in gray), and ONNX file and bundle are in base64.
"""

import base64
import json
from pathlib import Path

from onnx import TensorProto, helper

from hemabridge.data.simulate import HOSPITALS, simulate_cells
from hemabridge.deployment.bundle import (
    BILL_OF_MATERIALS,
    CARD,
    EXPECTED,
    RESTAINER_GUARD,
    RESTAINER_JSON,
    Bundle,
    Manifest,
    RestainerPart,
    listed,
)
from hemabridge.ensemble.saved import SavedMembers
from hemabridge.ensemble.site_statistics import SiteStatisticsHeader
from hemabridge.evaluation.differential_results import CountedCell, CountedField, DifferentialResults
from hemabridge.evaluation.label_results import ClassifierSummary, LabeledCell, LabelResults, NextCell, SiteSummary
from hemabridge.evaluation.reading import Reading
from hemabridge.evaluation.results import Row, StudyResults
from hemabridge.guard.thresholds import learn_normalizer_thresholds
from hemabridge.models.guard_file import Guard
from hemabridge.models.selection_file import Selection, SnapshotRow
from hemabridge.normalizers.by_subdomain import BySubdomain
from hemabridge.normalizers.catalog import NORMALIZERS, fit_on_cells
from hemabridge.normalizers.sliced_transport import SlicedTransport
from hemabridge.normalizers.table_normalizer import LearnedLut
from hemabridge.review.key import write_key
from hemabridge.review.records import Item, Question
from hemabridge.synthesis.learning_curve import LearningCurve, LearningCurveRow, Score
from hemabridge.synthesis.pair_results import PairResults, SynthesisResults
from hemabridge.workflows.adapt.adapted import Adapted
from hemabridge.workflows.adapt.config import AdaptConfig, members
from hemabridge.workflows.adapt.learned_from import LabeledImages, LearnedFrom
from hemabridge.workflows.watch.batch import Batch, Cell
from hemabridge.workflows.watch.gate import Appearance

HERE = Path(__file__).parent
CLASSES = ("neutrophil", "lymphocyte")


def main() -> None:
    """Write one file of each format."""
    theirs = simulate_cells(CLASSES, 3, HOSPITALS["yellow-field"], 1, 48)[0]
    ours = simulate_cells(CLASSES, 20, HOSPITALS["clinic-like"], 2, 48)[0]
    fitted = {name: fit_on_cells(name, theirs, ours[:6]) for name in NORMALIZERS}
    sliced = fitted["sliced-ot"]
    assert isinstance(sliced, SlicedTransport)
    table = sliced.model_dump(include=set(LearnedLut.model_fields) - {"method", "learned_for"})
    fitted["learned-lut"] = LearnedLut(**table, learned_for="0" * 64)
    fitted["by-subdomain"] = BySubdomain.of([(theirs, fitted["linear-ot"])], ours[:6])
    for name, normalizer in fitted.items():
        text = normalizer.to_json()
        said = json.loads(text)
        if "table" in said:
            text = json.dumps(said | {"table": []})
        _write(f"{name}-1.json", text)
    guard = Guard(model="0" * 64, thresholds=learn_normalizer_thresholds("white-point", ours))
    guard.write(HERE / "thresholds-3.guard.json")
    _write_bundle(fitted["white-point"].to_json(), guard)
    _write("selection-4.json", _selection().to_json())
    _write("members-2.json", SavedMembers(("a.safetensors",), (), ()).to_json())
    _write("adapted-1.json", _adapted().to_json())
    _write("learned-from-1.json", _learned_from().model_dump_json(indent=2))
    _write("study-1.json", _study().to_json())
    _write("label-2.json", _labels().to_json())
    _write("reading-2.json", _reading().to_json())
    _write("differential-1.json", _differential().to_json())
    _write("batch-1.json", _batch().to_json())
    _write("learning-curve-1.json", _learning_curve().to_json())
    _write("synthesis-1.json", _synthesis().to_json())
    write_key(
        HERE / "key-1.json", [Item("item-one", Question.STAIN, "screen-1", ("original",), "0" * 64, "blast", "a")]
    )
    _write("site-statistics-1.header.json", SiteStatisticsHeader(weight=0.5).model_dump_json())
    _write_external()


def _write_bundle(normalizer: str, guard: Guard) -> None:
    """Write a bundle without test cells."""
    part = RestainerPart(kind="normalizer", sha256=guard.model, guarded=True, crop_px=48)
    entries = {CARD: b"# Card", BILL_OF_MATERIALS: b"{}", EXPECTED: b"{}", RESTAINER_JSON: normalizer.encode()}
    entries[RESTAINER_GUARD] = guard.model_dump_json().encode()
    bundle = Bundle(Manifest(written_by="0", name="white-point", restainer=part, entries=listed(entries)), entries)
    text = base64.b64encode(bundle.to_bytes()).decode("ascii")
    (HERE / "bundle-1.hemabridge.base64").write_text(text + "\n", encoding="ascii")


def _learned_from() -> LearnedFrom:
    own = LabeledImages(site="ours", root=Path("ours"))
    return LearnedFrom(config=AdaptConfig.of_members(members(None)), seed=0, own=own, further=(), fitted_to="0" * 64)


def _adapted() -> Adapted:
    return Adapted(
        classes=CLASSES,
        target="ours",
        source="theirs",
        target_cells=40,
        source_cells=6,
        crop_px=48,
        classifier="model/classifier/snapshots/epoch-0001.safetensors",
        normalizer="model/white-point.json",
        home_accuracy=0.75,
        home_scored=8,
        same_class=1.0,
        agreement=0.5,
        home_agreement=0.5,
        prevalence={"neutrophil": 0.5, "lymphocyte": 0.5},
        left_out={},
        unknown_below=None,
        certainties=(0.5, 1.0),
        guarded=True,
        pretrained=False,
        home_confusion=((3, 1), (1, 3)),
    )


def _selection() -> Selection:
    row = SnapshotRow(
        "original",
        "",
        0,
        1.0,
        (1.0, 1.0),
        None,
        {},
        {},
        0.0,
        (0.0, 0.0),
        0.5,
        0.0,
        (0.0, 0.0),
        1.0,
        (1.0, 1.0),
        True,
        0.0,
    )
    return Selection("run", None, (), "none can be used", row, (), (0.0, (0.0, 0.0)))


def _study() -> StudyResults:
    recall: dict[str, float | None] = {"neutrophil": 0.5, "lymphocyte": 1.0}
    row = Row("theirs", "test", "net", "original", None, 0, 4, 0.75, 0.75, recall, (0.3, 0.95), "none", 0)
    return StudyResults("small", CLASSES, (row,))


def _labels() -> LabelResults:
    site = SiteSummary(confidence=0.75, counts={"neutrophil": 3, "lymphocyte": 1})
    cell = LabeledCell("a.png", "neutrophil", True, "lymphocyte", "neutrophil", "neutrophil")
    return LabelResults(
        run="run",
        folder="theirs",
        classes=CLASSES,
        cells=(cell,),
        used=True,
        classifier=ClassifierSummary("test", 8, 0.75, 0.75, 1.0, is_kept=True),
        agreement=0.5,
        before=site,
        after=site,
        changed=1,
        following=(NextCell("b.png", "neutrophil", 0.5),),
    )


def _reading() -> Reading:
    names = ("agreement", "repeats", "scores", "discrimination", "preferred", "stretches", "trends", "disputes")
    arms = ("original", "target")
    return Reading("lab", ("Ana",), (), (), None, (), arms, arms, **dict.fromkeys((*names, "acceptance"), ()))


def _differential() -> DifferentialResults:
    paths = "cells/f/0.png", "restained/f/0.png", "f.png"
    cell = CountedCell(*paths, 60.0, 60.0, 12.0, 0.1, False, False, 0.9, "", "neutrophil", (0.75, 0.25), "pass")
    field = CountedField("f.png", "searched", "", 1, 3, 0, 40, 0.1, 240, 120, "overlays/f.png")
    home = ((3, 1), (1, 3))
    return DifferentialResults(
        "smear", "run", "0" * 64, "linear-ot", CLASSES, (cell,), (field,), home, "home", "", "", 0
    )


def _batch() -> Batch:
    cell = Cell("a.png", "0" * 64, "neutrophil", 0.75, "pass", "model", "1" * 64, "")
    return Batch("batch", "0" * 64, "0", "passed", (), Appearance(None, None), (cell,))


def _learning_curve() -> LearningCurve:
    score = Score(0.5, (0.25, 0.75))
    row = LearningCurveRow(10, "real", 0, score, score, None, None, None, ((0.5, 0.5),))
    return LearningCurve(
        "neutrophil", "lymphocyte", CLASSES, {"lymphocyte": 9}, {"lymphocyte": 9}, 100, 50, (0,), (row,)
    )


def _synthesis() -> SynthesisResults:
    cells = {name: {"train": 20, "validation": 10, "test": 20} for name in CLASSES}
    return SynthesisResults("small", "clinic", (PairResults("pair", *CLASSES, cells, ()),))


def _write_external() -> None:
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["image", "axes"], ["scores"], keepdims=0)],
        "means",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])],
    )
    # Two classes from three channels: the first two are taken.
    graph.node[0].output[0] = "means"
    graph.initializer.append(helper.make_tensor("first", TensorProto.INT64, [2], [0, 1]))
    graph.node.append(helper.make_node("Gather", ["means", "first"], ["scores"], axis=1))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    text = base64.encodebytes(model.SerializeToString()).decode("ascii")
    (HERE / "theirs.onnx.base64").write_text(text, encoding="utf-8")
    text = 'file = "theirs.onnx"\nclasses = ["neutrophil", "lymphocyte"]\n\n[preprocessing]\nsize_px = 16\n'
    (HERE / "theirs.toml").write_text(text, encoding="utf-8")


def _write(name: str, text: str) -> None:
    (HERE / name).write_text(json.dumps(json.loads(text), separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
