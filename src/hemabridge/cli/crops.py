"""The square around a cell in pixels or in micrometers, an option of commands that take images of single cells."""

import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from hemabridge.errors import InputError

CropUm: TypeAlias = Annotated[
    float | None,
    typer.Option(min=5, max=200, help="The same in micrometers, by the scale that the files or their red cells state."),
]


def in_pixels(crop_px: int | None, crop_um: float | None, images: Path, root: Path | None = None) -> int | None:
    """Return the square in pixels of these images, and print it where micrometers are stated; None if neither is.

    Args:
        crop_px: its side in pixels.
        crop_um: its side in micrometers.
        images: folder of images, or a manifest.
        root: folder to which the manifest's paths are relative.

    Raises:
        InputError: both are stated, or nothing states the scale of the images.
        ManifestError: the file is no manifest.
    """
    if crop_um is None:
        return crop_px
    if crop_px is not None:
        raise InputError(f"expected a crop in pixels or in micrometers, got both ({crop_px} and {crop_um:g})")
    from hemabridge.data.new_cells import list_new_cells
    from hemabridge.fields.site_scale import scale_of_images

    scale = scale_of_images(list_new_cells(images, root, "images").manifest.paths())
    if scale is None:
        raise InputError(
            f"expected images in {images} whose files or red cells state micrometers per pixel, got none; state the "
            "crop in pixels"
        )
    side = max(8, round(crop_um / scale.um_per_px))
    print(
        f"{images}: {scale.um_per_px:.4g} um per pixel ({scale.source}), so that {crop_um:g} um are {side} pixels",
        file=sys.stderr,
    )
    return side
