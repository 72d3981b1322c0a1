"""Scale and leukocytes of drawn fields, whose sizes and positions are known."""

import numpy as np
import pytest
from drawn_fields import GLASS, NUCLEUS, PLATELET, RED, UM, draw, drawn
from PIL import Image
from skimage.draw import disk

from hemabridge.errors import ImageError
from hemabridge.fields.detect import find_leukocytes
from hemabridge.fields.field_scale import estimate_scale, stated_scale
from hemabridge.fields.find_cells import find_cells
from hemabridge.fields.red_cells import RED_CELL_UM


def resized(image, factor):
    height, width = image.shape[:2]
    size = round(width * factor), round(height * factor)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def placed(cells):
    return sorted((cell.x, cell.y) for cell in cells.leukocytes)


PLACES = [(150, 120, 8.0), (430, 330, 7.0), (500, 100, 10.0)]


class Counted:
    """An image that counts the windows that are read of it."""

    def __init__(self, image):
        self.image, self.shape, self.windows = image, image.shape, 0

    def __getitem__(self, window):
        self.windows += 1
        return self.image[window]


@pytest.mark.parametrize(("nucleus_um", "is_quick", "windows"), [(12.0, True, 1), (12.0, False, 5), (3.0, True, 5)])
def test_a_quick_estimate_looks_for_small_red_cells_unless_a_nucleus_is_too_wide(nucleus_um, is_quick, windows):
    image = Counted(drawn((400, 400), [(200, 200, nucleus_um)], reds=0))
    scale = estimate_scale(image, is_quick=is_quick)
    assert scale is None or scale.source == "nuclei"
    assert image.windows == windows


def test_scale_of_a_drawn_field_is_that_of_its_red_cells():
    scale = estimate_scale(drawn((480, 640), PLACES))
    assert scale is not None
    assert scale.source == "red cells"
    assert scale.um_per_px == pytest.approx(UM, rel=0.03)
    assert scale.low < scale.um_per_px < scale.high


@pytest.mark.parametrize("factor", [0.4, 0.7, 1.6, 2.5])
def test_scale_follows_the_size_of_a_copy(factor):
    field = drawn((480, 640), PLACES)
    scale, copy = estimate_scale(field), estimate_scale(resized(field, factor))
    assert scale is not None
    assert copy is not None
    assert copy.um_per_px * factor == pytest.approx(scale.um_per_px, rel=0.05)


def test_scale_of_a_field_without_red_cells_comes_from_its_nuclei():
    scale = estimate_scale(drawn((300, 300), [(150, 150, 8.8)], reds=0))
    assert scale is not None
    assert scale.source == "nuclei"
    assert scale.um_per_px == pytest.approx(UM, rel=0.15)


def test_an_empty_field_has_no_scale_and_no_leukocyte():
    empty = np.full((200, 300, 3), GLASS, np.uint8)
    assert estimate_scale(empty) is None
    assert find_leukocytes(empty, stated_scale(UM)).leukocytes == ()


def test_a_field_of_red_cells_has_no_leukocyte():
    assert find_leukocytes(drawn((480, 640), []), stated_scale(UM)).leukocytes == ()


def test_red_cells_that_lie_on_each_other_are_no_leukocyte():
    light, rng = np.full((480, 640, 3), GLASS, float), np.random.default_rng(0)
    places = [(60 + 110 * column, 60 + 110 * row) for column in range(5) for row in range(4)]
    for x, y in [*places, (265, 260), (300, 290), (270, 300), (280, 280)]:
        light[disk((y, x), RED_CELL_UM / UM / 2, shape=light.shape[:2])] *= np.array(RED) / GLASS
    for x, y in [(560, 60), (560, 200), (560, 420)]:
        light[disk((y, x), 12, shape=light.shape[:2])] = PLATELET
    field = np.clip(light + rng.normal(0, 3, light.shape), 0, 255).astype(np.uint8)
    assert find_leukocytes(field, stated_scale(UM)).leukocytes == ()


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_leukocytes_are_found_where_they_were_drawn_and_platelets_are_not(factor):
    field = resized(drawn((480, 640), PLACES), factor)
    scale = estimate_scale(field)
    assert scale is not None
    found = find_leukocytes(field, scale)
    assert np.array(placed(found)) / factor == pytest.approx(np.array(sorted(p[:2] for p in PLACES)), abs=6)
    sizes = [cell.diameter_um for cell in sorted(found.leukocytes, key=lambda cell: cell.x)]
    assert sizes == pytest.approx([8.0, 7.0, 10.0], rel=0.12)
    assert not any(cell.border or cell.cluster for cell in found.leukocytes)


def test_lobes_are_one_leukocyte_and_touching_leukocytes_are_two():
    field = drawn((480, 640), [(200, 240, 0.1), (430, 200, 7.0), (530, 200, 7.0)])
    for x, y in [(175, 225), (225, 225), (200, 270)]:
        draw(field, x, y, 3.5, NUCLEUS)
    draw(field, 480, 200, 5.0, NUCLEUS)  # a bridge between the two
    found = find_leukocytes(field, stated_scale(UM)).leukocytes
    assert len(found) == 3
    assert [cell.cluster for cell in sorted(found, key=lambda cell: cell.x)] == [False, True, True]


def lobed(field, x, y):
    """Draw the nucleus of a neutrophil: four lobes 3.5 um wide, none of which could be a cell of its own."""
    for across, down in [(-28, 0), (28, 0), (0, -28), (0, 28)]:
        draw(field, x + across, y + down, 3.5, NUCLEUS)


@pytest.mark.parametrize("count", [2, 3])
def test_touching_leukocytes_without_a_thick_part_are_parted_by_their_distance(count):
    places = [(180 + 115 * place, 240 + 10 * (place % 2)) for place in range(count)]
    field = drawn((480, 640), [(x, y, 0.1) for x, y in places])
    for x, y in places:
        lobed(field, x, y)
    found = find_leukocytes(field, stated_scale(UM))
    assert [(cell.x, cell.y) for cell in sorted(found.leukocytes, key=lambda cell: cell.x)] == [
        pytest.approx(place, abs=6) for place in places
    ]
    assert all(cell.cluster for cell in found.leukocytes)
    assert "clump" not in found.others
    tiled = find_leukocytes(np.tile(field, (2, 2, 1)), stated_scale(UM), tile_px=256)
    assert len(tiled.leukocytes) == 4 * count


def test_grains_of_stain_between_a_nucleus_and_the_border_do_not_belong_to_it():
    field = drawn((480, 640), [(300, 270, 9.0)])
    for y in (355, 389, 423, 457, 472):  # each as near to the next one as lobes are
        draw(field, 300, y, 2.0, NUCLEUS)
    (cell,) = find_leukocytes(field, stated_scale(UM)).leukocytes
    assert (cell.x, cell.y) == pytest.approx((300, 270), abs=6)
    assert not cell.border
    assert not cell.cluster


def test_a_round_nucleus_is_parted_from_lobes_that_touch_it():
    field = drawn((480, 640), [(280, 220, 8.0), (375, 282, 0.1)])
    lobed(field, 375, 282)
    found = sorted(find_leukocytes(field, stated_scale(UM)).leukocytes, key=lambda cell: cell.x)
    assert [(cell.x, cell.y) for cell in found] == [pytest.approx(place, abs=6) for place in [(280, 220), (375, 282)]]
    assert all(cell.cluster for cell in found)


def test_one_wide_nucleus_is_not_parted():
    found = find_leukocytes(drawn((480, 640), [(320, 240, 20.0)], reds=16), stated_scale(UM)).leukocytes
    assert [cell.cluster for cell in found] == [False]


def test_a_cell_at_the_border_is_flagged():
    found = find_leukocytes(drawn((480, 640), [(12, 240, 8.0), (400, 240, 8.0)]), stated_scale(UM)).leukocytes
    assert [cell.border for cell in sorted(found, key=lambda cell: cell.x)] == [True, False]


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.5])
def test_the_size_of_a_whole_cell_is_that_with_its_cytoplasm(factor):
    places = [(12, 240, 8.0), (200, 240, 8.0), (440, 240, 9.0), (592, 240, 7.0)]
    cut, *whole, touched = sorted(
        find_cells(resized(drawn((480, 640), places), factor), UM / factor).leukocytes, key=lambda cell: cell.x
    )
    assert (cut.border, cut.cell_um) == (True, None)
    assert (touched.border, touched.cell_um) == (False, None)  # its cytoplasm goes on behind the border
    assert [cell.cell_um for cell in whole] == pytest.approx([12.0, 12.0], rel=0.06)


def test_in_tiles_the_same_is_found_as_in_the_whole():
    rng = np.random.default_rng(1)
    places = [(float(x), float(y), 8.0) for x in range(150, 2000, 310) for y in range(150, 1400, 290)]
    places = [(x + rng.uniform(-40, 40), y + rng.uniform(-40, 40), wide) for x, y, wide in places]
    field = drawn((1500, 2000), places, reds=100)
    scale = stated_scale(UM)
    whole, tiled = (find_leukocytes(field, scale, tile_px=side) for side in (1024, 256))
    assert len(whole.leukocytes) == len(places)
    assert np.array(placed(tiled)) == pytest.approx(np.array(placed(whole)), abs=1e-6)
    assert tiled.others == whole.others


def test_wrong_scales_and_tiles_are_refused():
    with pytest.raises(ImageError, match="um_per_px above 0"):
        stated_scale(0)
    with pytest.raises(ImageError, match="tile_px of at least 256"):
        find_leukocytes(drawn((100, 100), [], reds=0), stated_scale(UM), tile_px=100)


@pytest.mark.parametrize("noise", [0, 1])
def test_a_gray_field_is_refused_and_one_with_few_red_cells_is_not(noise):
    field = drawn((480, 640), PLACES)
    assert find_cells(field).leukocytes
    gray = np.repeat(np.asarray(Image.fromarray(field).convert("L"))[..., None], 3, axis=2).astype(int)
    gray += np.random.default_rng(0).integers(-noise, noise + 1, gray.shape)
    with pytest.raises(ImageError, match="expected a field in color, got a gray picture"):
        find_cells(gray.clip(0, 255).astype(np.uint8), um_per_px=UM)
    sparse = np.full((480, 640, 3), GLASS, np.uint8)
    sparse[disk((100, 100), 3.75 / UM)] = RED
    assert find_cells(sparse, um_per_px=UM).leukocytes == ()
