"""Fields of discs, whose sizes and positions are known."""

import numpy as np
from skimage.draw import disk

from hemabridge.fields.red_cells import RED_CELL_UM

GLASS, RED, CYTOPLASM, NUCLEUS, PLATELET = (
    (230, 225, 220), (190, 140, 140), (205, 190, 215), (90, 40, 130), (150, 110, 170),
)  # fmt: skip
UM = 0.1


def draw(image, x, y, diameter_um, color):
    image[disk((y, x), diameter_um / UM / 2, shape=image.shape[:2])] = color


def drawn(size, leukocytes, *, seed=0, reds=24):
    """Draw a field of (height, width) with leukocytes at (x, y, um) and red cells and platelets where room is left."""
    image, rng = np.full((*size, 3), GLASS, np.uint8), np.random.default_rng(seed)
    taken = [(x, y, 13.0) for x, y, _ in leukocytes]
    for number in range(reds + reds // 4):
        wide, color = (RED_CELL_UM, RED) if number < reds else (2.5, PLATELET)
        for _ in range(200):
            x, y = rng.uniform(0, size[1]), rng.uniform(0, size[0])
            if all(np.hypot(x - a, y - b) * UM > (wide + other) / 2 + 0.5 for a, b, other in taken):
                taken.append((x, y, wide))
                draw(image, x, y, wide, color)
                break
    for x, y, _ in leukocytes:
        draw(image, x, y, 12.0, CYTOPLASM)
    for x, y, wide in leukocytes:
        draw(image, x, y, wide, NUCLEUS)
    noise = rng.normal(0, 3, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)
