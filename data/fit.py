"""Fit: how a picture of any size becomes one of the size that a net takes."""

from PIL import Image, ImageOps

from minidl.words import check_known

FITS = ("stretch", "crop", "pad")
BLACK = 0


def fitted(image: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    """Return an image of ``size`` (x, y), resampled by Lanczos's filter.

    fit: "stretch" changes its aspect ratio, "crop" keeps the largest part of its middle that has the ratio of
    ``size``, "pad" keeps all of it and adds black borders. Raises MinidlError for another word.
    """
    check_fit(fit)
    if fit == "crop":
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    if fit == "pad":
        scale = min(size[0] / image.width, size[1] / image.height)
        inner = tuple(max(1, round(scale * n)) for n in image.size)  # a line of pixels stays one
        out = Image.new(image.mode, size, BLACK)
        corner = tuple((n - m) // 2 for n, m in zip(size, inner, strict=True))
        out.paste(image.resize((inner[0], inner[1]), Image.Resampling.LANCZOS), (corner[0], corner[1]))
        return out
    return image.resize(size, Image.Resampling.LANCZOS)


def check_fit(fit: str) -> None:
    """Raise MinidlError for a fit that is not known."""
    check_known("fit", fit, FITS)
