import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemabridge.data.manifest import read_manifest
from hemabridge.data.simulate import CLASSES, HOSPITALS, TARGET, Cell, FieldSpec, render
from hemabridge.errors import InputError
from hemabridge.imaging.files import read_image
from hemabridge.storage.files import sha256_of
from hemabridge.workflows.simulate.simulate import simulate, simulate_sheet
from hemabridge.workflows.simulate.whole_fields import read_prevalence, simulate_fields

DOCUMENTED_SHEET = Path(__file__).resolve().parents[2] / "docs" / "simulated-cells.png"


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulated") / "new"
    calls = []
    result = simulate(
        out,
        n_per_class=2,
        hospitals=("clinic-like", "pale"),
        classes=("blast", "monocyte"),
        seed=5,
        size_px=32,
        progress=lambda done, total: calls.append((done, total)),
    )
    return out, result, calls


def test_each_hospital_has_the_same_cells_under_the_same_names(simulation):
    out, result, _ = simulation
    assert set(result.manifests) == {"clinic-like", "pale", "truth"}
    names = {site: read_manifest(path).column("path") for site, path in result.manifests.items()}
    assert names["clinic-like"] == names["pale"] == names["truth"]
    assert sorted(file.name for file in out.iterdir()) == [
        "clinic-like",
        "pale",
        "sheet.png",
        "simulation.json",
        "truth",
    ]


def test_manifest_states_what_the_files_are(simulation):
    _, result, _ = simulation
    manifest = read_manifest(result.manifests["pale"])
    assert len(manifest) == result.n_cells == 4
    assert manifest.column("class") == ["blast", "blast", "monocyte", "monocyte"]
    assert set(manifest.column("site")) == {"pale"}
    assert manifest.column("sha256") == [sha256_of(path) for path in manifest.paths()]
    assert set(manifest.column("crop_px")) == set(manifest.column("width")) == {32}


def test_truth_is_the_target_without_noise(simulation):
    _, result, _ = simulation
    image = read_image(read_manifest(result.manifests["truth"]).paths()[3])
    np.testing.assert_array_equal(image, render(Cell("monocyte", 5, 1), HOSPITALS[TARGET], 32, noise=False))


def test_progress_counts_every_picture(simulation):
    _, _, calls = simulation
    assert calls == [(done, 12) for done in range(1, 13)]


@pytest.mark.parametrize("pictures", [0, 1, 3])
def test_the_same_call_goes_on_after_a_stop(tmp_path, pictures):
    wanted = {"n_per_class": 1, "hospitals": ("pale",), "classes": ("blast", "monocyte"), "size_px": 32}

    def stop(done, total):
        if done > pictures:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path / "cut", progress=stop, **wanted)
    with pytest.raises(InputError, match="expected the same hospitals"):
        simulate(tmp_path / "cut", **(wanted | {"n_per_class": 2}))
    simulate(tmp_path / "cut", **wanted)
    simulate(tmp_path / "uncut", **wanted)
    cut, uncut = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("cut", "uncut")
    )
    assert cut == uncut
    assert len(uncut) == 8


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="new or empty folder"):
        simulate(tmp_path, n_per_class=1)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("names", [(), ("pale", "pale"), ("pale", "atlantis")])
def test_wrong_hospitals_are_refused_before_anything_is_written(tmp_path, names):
    with pytest.raises(InputError, match="expected different hospitals"):
        simulate(tmp_path / "out", n_per_class=1, hospitals=names)
    assert not (tmp_path / "out").exists()


def test_sheet_puts_real_cells_to_the_left(tmp_path):
    (tmp_path / "real" / "blast").mkdir(parents=True)
    real = np.full((200, 200, 3), (10, 200, 30), dtype=np.uint8)
    Image.fromarray(real).save(tmp_path / "real" / "blast" / "a.png")
    sheet = tmp_path / "sheet.png"
    simulate_sheet(sheet, classes=("blast", "monocyte"), hospitals=("pale",), size_px=32, beside=tmp_path / "real")
    plain = tmp_path / "plain.png"
    simulate_sheet(plain, classes=("blast", "monocyte"), hospitals=("pale",), size_px=32)
    with_real = read_image(sheet)
    assert with_real.shape[1] == read_image(plain).shape[1] + 3 * 34
    assert np.count_nonzero((with_real == (10, 200, 30)).all(axis=-1)) == 32 * 32


def test_sheet_needs_a_real_class(tmp_path):
    with pytest.raises(InputError, match="expected folders of real cells named blast"):
        simulate_sheet(tmp_path / "sheet.png", classes=("blast",), beside=tmp_path)


@pytest.mark.slow
def test_a_classifier_fails_on_a_foreign_hospital_and_works_on_ground_truth_restained(tmp_path):
    torch = pytest.importorskip("torch")
    from hemabridge.data.simulate import simulate_cells

    def tensors(images):
        return torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 127.5 - 1.0

    def cells(hospital, n, seed, noise=True):
        images, labels = simulate_cells(CLASSES, n, HOSPITALS[hospital], seed, 48, noise=noise)
        return tensors(images), torch.from_numpy(labels)

    torch.manual_seed(0)
    widths = (3, 24, 48, 64)
    blocks = [
        layer
        for before, after in pairwise(widths)
        for layer in (
            torch.nn.Conv2d(before, after, 3, padding=1),
            torch.nn.BatchNorm2d(after),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
        )
    ]
    net = torch.nn.Sequential(
        *blocks, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(widths[-1], len(CLASSES))
    )
    images, labels = cells(TARGET, 80, seed=1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
    order = torch.Generator().manual_seed(0)
    for _ in range(12):
        for batch in torch.randperm(len(images), generator=order).split(32):
            flipped = images[batch].flip(-1 if torch.rand(1, generator=order) < 0.5 else -2)
            loss = torch.nn.functional.cross_entropy(net(flipped), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    net.eval()

    def accuracy(hospital, noise=True):
        held_out, truth = cells(hospital, 15, seed=2, noise=noise)
        with torch.no_grad():
            return float((net(held_out).argmax(dim=1) == truth).float().mean())

    same, foreign, restained = accuracy(TARGET), accuracy("yellow-field"), accuracy(TARGET, noise=False)
    assert same > 0.85
    assert foreign < same - 0.3
    assert restained > 0.85


def test_the_sheet_in_the_documentation_is_what_the_command_writes(tmp_path):
    simulate_sheet(tmp_path / "sheet.png", size_px=72)
    documented, written = (read_image(path).astype(float) for path in (DOCUMENTED_SHEET, tmp_path / "sheet.png"))
    assert documented.shape == written.shape
    assert np.abs(documented - written).mean() < 1.0  # JPEG coders and fonts differ a little between versions
    assert DOCUMENTED_SHEET.stat().st_size < 600_000


def test_fields_come_with_the_place_of_each_cell_and_go_on(tmp_path):
    spec = FieldSpec(seed=2, width_px=240, height_px=200, um_per_px=0.25)
    done = simulate_fields(tmp_path / "f", 2, spec, hospitals=("pale",))
    assert set(done.truths) == {"pale", "truth"}
    folder = tmp_path / "f" / "pale"
    with done.truths["pale"].open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert list(cells[0]) == ["field", "x", "y", "diameter_um", "class", "border", "cluster", "visible"]
    assert {cell["field"] for cell in cells} <= {path.name for path in folder.glob("*.png")}
    assert sum(cell["class"] in CLASSES for cell in cells) == done.n_leukocytes
    with (folder / "fields.csv").open(newline="") as file:
        fields = list(csv.DictReader(file))
    assert [float(field["um_per_px"]) for field in fields] == [0.25, 0.25]
    assert sum(int(field["red_cells"]) for field in fields) == sum(cell["class"] == "red_cell" for cell in cells)
    first = folder / fields[0]["field"]
    before = first.read_bytes()
    first.unlink()
    simulate_fields(tmp_path / "f", 2, spec, hospitals=("pale",))
    assert first.read_bytes() == before
    with pytest.raises(InputError, match="the same hospitals"):
        simulate_fields(tmp_path / "f", 3, spec, hospitals=("pale",))


def test_a_mix_is_read_and_a_wrong_one_refused():
    assert read_prevalence("neutrophil=60, blast=1.5") == {"neutrophil": 60.0, "blast": 1.5}
    for wrong in ("neutrophil", "neutrophil=", "neutrophil=many", ""):
        with pytest.raises(InputError, match="expected shares"):
            read_prevalence(wrong)
