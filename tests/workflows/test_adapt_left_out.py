"""What `hemabridge adapt` leaves out of one's own images, and how it says so."""

import shutil
import sys
from pathlib import Path

import pytest

from hemabridge.cli import main
from hemabridge.imaging.files import read_image, write_image
from hemabridge.progress import silent
from hemabridge.training.run_context import start_fabric
from hemabridge.workflows.adapt.adapt import adapt
from hemabridge.workflows.adapt.apply import run
from hemabridge.workflows.adapt.config import AdaptConfig
from hemabridge.workflows.differential.opened import open_for_count


def test_a_class_of_too_few_cells_and_unusable_images_of_ours_are_told(
    adapt_config: AdaptConfig, hospitals: Path, unlabeled: Path, tmp_path: Path
) -> None:
    ignored = shutil.ignore_patterns("manifest.csv")
    ours = Path(shutil.copytree(hospitals / "clinic-like", tmp_path / "ours", ignore=ignored))
    for number in range(3):
        write_image(ours / "monocyte" / f"{number}.png", read_image(sorted(unlabeled.glob("*-*.png"))[number]) // 2)
    (ours / "neutrophil" / "damaged.png").write_bytes(b"no image")
    said: list[str] = []
    adapted, _ = adapt(
        ours,
        unlabeled,
        tmp_path / "run",
        config=adapt_config,
        fabric=start_fabric("cpu"),
        progress=lambda label, done, total: None if total else said.append(label),
    )
    assert f"left out of {ours}: monocyte, of which there are 3 cells; a class needs 8" in said
    assert any(line.startswith(f"left out of {ours}: neutrophil/damaged.png: expected a whole JPEG, ") for line in said)
    assert adapted.too_few == {"monocyte": 3}
    assert any("too few cells to learn from: monocyte (3 cells)" in line for line in adapted.lines())
    again = run(tmp_path / "run", unlabeled, tmp_path / "day")
    assert any("monocyte (3 cells)" in line for line in again.cautions)
    assert any("monocyte (3 cells)" in line for line in open_for_count(tmp_path / "run", None, None, silent).cautions)


@pytest.mark.parametrize(("given", "meant"), [("downlod", True), ("Download", True), ("mobilenet.bin", False)])
def test_a_mistyped_download_is_noticed(
    given: str, meant: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["adapt", str(tmp_path), str(tmp_path), "--out", str(tmp_path / "run"), "--weights", given]
    monkeypatch.setattr(sys, "argv", ["hemabridge", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    told = capsys.readouterr().err
    assert f"got {given}, no such file" in told
    assert ("did you mean --weights download?" in told) is meant
