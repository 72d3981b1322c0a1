"""Write the files of this folder again, by programs that hemabridge does not read files with.

`pip install scikit-image pyvips pyvips-binary wsidicomizer openslide-bin` in an environment of its own, and run it. The
TIFF files are libvips's, the DICOM slide is wsidicomizer's.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyvips
from skimage.draw import disk
from wsidicomizer import WsiDicomizer

FOLDER = Path(__file__).parent
OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0"
DimensionOrder="XYCZT" Type="uint8" SizeX="400" SizeY="300" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="0.1"
PhysicalSizeXUnit="&#181;m" PhysicalSizeY="0.1" PhysicalSizeYUnit="&#181;m">
<Channel ID="Channel:0:0" SamplesPerPixel="3"/></Pixels></Image></OME>"""


def main() -> None:
    """Draw red cells 7.5 um and a nucleus 8 um wide at 0.1 um per pixel, and write them in five formats."""
    image = np.full((300, 400, 3), (230, 225, 220), np.uint8)
    for row, column in [(60, 60), (60, 200), (60, 330), (240, 60), (240, 330)]:
        image[disk((row, column), 37.5, shape=image.shape[:2])] = (190, 140, 140)
    image[disk((180, 200), 40)] = (90, 40, 130)
    picture = pyvips.Image.new_from_array(image).copy(interpretation="srgb", xres=10_000, yres=10_000)  # per mm
    tiles = {"tile": True, "tile_width": 128, "tile_height": 128}
    packed = tiles | {"compression": "deflate", "predictor": "horizontal"}
    picture.tiffsave(str(FOLDER / "tiled-bigtiff.tif"), bigtiff=True, **packed)
    deep = (picture.cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")
    deep.tiffsave(str(FOLDER / "16-bit.tif"), **packed)
    fine = picture.copy(xres=40_000, yres=40_000)  # 0.025 um per pixel
    fine.tiffsave(str(FOLDER / "pyramid.tif"), pyramid=True, region_shrink="nearest", resunit="cm", **packed)
    named = picture.copy(xres=1, yres=1)
    named.set_type(pyvips.GValue.gstr_type, "image-description", OME)
    named.tiffsave(str(FOLDER / "named.ome.tif"), pyramid=True, subifd=True, **packed)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "slide.svs"
        picture.tiffsave(str(source), compression="jpeg", Q=95, **tiles)
        options = {"tile_size": 128, "include_label": False, "include_overview": False}
        (slide,) = WsiDicomizer.convert(str(source), output_path=str(Path(name) / "dicom"), **options)
        shutil.copyfile(slide, FOLDER / "slide.dcm")


if __name__ == "__main__":
    main()
