"""Labels: the kind that a net needs, one for each image or one for each pixel."""

from minidl.kernels.errors import MinidlError

LABELLED = {"shapes": ("images", "pixels"), "voc2012": ("pixels",)}  # what has labels; in other sets, images alone


def check_name(name: str, per_pixel: bool) -> None:
    """Raise MinidlError for a set that has no such labels, before it is read or downloaded."""
    if ("pixels" if per_pixel else "images") not in LABELLED.get(name, ("images",)):
        raise lacking(name, per_pixel)


def lacking(name: str, per_pixel: bool) -> MinidlError:
    """Return the error of a set that has no label for each pixel, or for each image."""
    if per_pixel:
        return MinidlError(f"{name} has no label for each pixel, which --model d needs; use shapes or voc2012")
    return MinidlError(f"{name} has a label for each pixel and none for an image; use --model d for it")
