import numpy as np
import pytest
from skimage.color import rgb2lab

from hemabridge.data.simulate import CLASSES, HOSPITALS, TARGET, Cell, render, simulate_cells
from hemabridge.data.simulate.canvas import FIELD_UM, Canvas
from hemabridge.data.simulate.stain import Structure
from hemabridge.errors import InputError


def test_classes_are_those_of_the_paper_and_the_five_normal_types():
    assert set(CLASSES) == {
        "neutrophil",
        "eosinophil",
        "basophil",
        "monocyte",
        "lymphocyte",
        "reactive_lymphocyte",
        "abnormal_lymphocyte",
        "blast",
    }


@pytest.mark.parametrize("class_name", CLASSES)
@pytest.mark.parametrize("hospital", HOSPITALS.values(), ids=list(HOSPITALS))
def test_every_class_renders_under_every_hospital_and_is_repeatable(class_name, hospital):
    cell = Cell(class_name, 3, 0)
    image = render(cell, hospital, 32)
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    assert image.std() > 8
    np.testing.assert_array_equal(image, render(cell, hospital, 32))


@pytest.mark.parametrize("class_name", CLASSES)
def test_thickness_is_finite_never_negative_and_has_a_nucleus_in_the_middle(class_name):
    for index in range(8):
        maps = Cell(class_name, 11, index).thickness(Canvas(90))
        assert np.all(np.isfinite(maps))
        assert maps.min() >= 0.0
        inner = maps[Structure.CHROMATIN, 15:75, 15:75].sum()
        assert inner > 0.8 * maps[Structure.CHROMATIN].sum() > 0.0


def test_a_cell_is_the_same_at_another_size():
    for class_name in CLASSES:
        small = render(Cell(class_name, 1, 2), HOSPITALS[TARGET], 48, noise=False).astype(float)
        large = render(Cell(class_name, 1, 2), HOSPITALS[TARGET], 192, noise=False).astype(float)
        averaged = large.reshape(48, 4, 48, 4, 3).mean(axis=(1, 3))
        assert np.corrcoef(small.ravel(), averaged.ravel())[0, 1] > 0.97


def test_hospitals_move_no_nucleus():
    dark = {}
    for name in ("clinic-like", "yellow-field", "blue-shifted", "overstained"):
        images = np.stack([render(Cell("lymphocyte", 2, i), HOSPITALS[name], 64, noise=False) for i in range(6)])
        gray = images.astype(float).mean(axis=-1)
        dark[name] = gray < np.quantile(gray, 0.15, axis=(1, 2), keepdims=True)
    target = dark.pop("clinic-like")
    for other in dark.values():
        overlap = 2 * (target & other).sum() / (target.sum() + other.sum())
        assert overlap > 0.9


def test_near_is_nearer_to_the_target_than_every_other_hospital():
    def mean_lab(name):
        images, _ = simulate_cells(CLASSES, 2, HOSPITALS[name], 0, 32, noise=False)
        return rgb2lab(images).mean(axis=(0, 1, 2))

    target = mean_lab(TARGET)
    distance = {name: np.linalg.norm(mean_lab(name) - target) for name in HOSPITALS if name != TARGET}
    assert min(distance, key=distance.get) == "near"
    assert min(value for name, value in distance.items() if name != "near") > 2 * distance["near"]


def test_granules_have_the_colors_of_their_names():
    def lab_of(class_name, structure):
        cell = Cell(class_name, 0, 1)
        where = cell.thickness(Canvas(96))[structure] > 0.6
        return rgb2lab(render(cell, HOSPITALS[TARGET], 96, noise=False))[where].mean(axis=0)

    eosinophil, basophil = lab_of("eosinophil", Structure.EOSINOPHIL), lab_of("basophil", Structure.BASOPHIL)
    assert eosinophil[0] > basophil[0] + 15
    assert eosinophil[2] > basophil[2] + 15


def test_sizes_are_ordered_as_in_blood():
    def area_um2(class_name):
        covered = []
        for index in range(12):
            maps = Cell(class_name, 0, index).thickness(Canvas(64))
            leukocyte = maps.sum(axis=0) - maps[Structure.RED_CELL]
            covered.append((leukocyte > 0.08).mean() * FIELD_UM**2)
        return np.mean(covered)

    assert area_um2("lymphocyte") < area_um2("abnormal_lymphocyte") < area_um2("reactive_lymphocyte")
    assert area_um2("lymphocyte") < area_um2("blast") < area_um2("monocyte")


def test_simulate_cells_gives_labels_in_the_order_of_the_classes():
    images, labels = simulate_cells(("blast", "monocyte"), 3, HOSPITALS["pale"], 4, 24)
    np.testing.assert_array_equal(labels, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(images[4], render(Cell("monocyte", 4, 1), HOSPITALS["pale"], 24))


def test_another_seed_makes_other_cells():
    first, second = (simulate_cells(("blast",), 1, HOSPITALS["pale"], seed, 24)[0] for seed in (1, 2))
    assert np.any(first != second)


def test_noise_is_the_cameras_and_can_be_switched_off():
    cell, hospital = Cell("blast", 0, 0), HOSPITALS["yellow-field"]
    clean, noisy = render(cell, hospital, 64, noise=False), render(cell, hospital, 64)
    difference = noisy.astype(float) - clean
    assert 1.0 < difference.std() < 8.0
    assert abs(difference.mean()) < 1.0


@pytest.mark.parametrize(
    ("classes", "n", "seed", "size", "message"),
    [
        (("blast", "platypus"), 1, 0, 32, "platypus"),
        ((), 1, 0, 32, "different classes"),
        (("blast", "blast"), 1, 0, 32, "different classes"),
        (("blast",), 0, 0, 32, "n_per_class"),
        (("blast",), 1, -1, 32, "seed"),
        (("blast",), 1, 0, 8, "16 to 1024"),
    ],
)
def test_wrong_requests_are_refused(classes, n, seed, size, message):
    with pytest.raises(InputError, match=message):
        simulate_cells(classes, n, HOSPITALS[TARGET], seed, size)
