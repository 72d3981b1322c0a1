"""What a row has to say of how a photograph was re-stained."""

from hemabridge.guard.guarded import GuardedStandardizer
from hemabridge.imaging.standardizer import Standardizer, UInt8Image
from hemabridge.normalizers.square import Remarking


def remark_of(standardizer: Standardizer, image: UInt8Image, *, replaced: bool = False) -> str:
    """Return what has to be said of how a photograph, uint8[H, W, 3], was re-stained; mostly nothing.

    Args:
        standardizer: that re-stained it.
        image: the original.
        replaced: whether it was the fallback of a guarded standardizer.
    """
    if isinstance(standardizer, GuardedStandardizer):
        used = standardizer.fallback if replaced else standardizer.inner
        return "" if used is None else remark_of(used, image)
    return standardizer.remark(image) if isinstance(standardizer, Remarking) else ""
