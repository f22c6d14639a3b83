"""Pixels of any kind to 8-bit sRGB: profiles, 16 bits, transparency. The second half of the decode contract in `images`."""

import io
from functools import lru_cache
from itertools import product

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageFile, ImageOps
from PIL.ExifTags import Base
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

_PROFILE_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}  # colour space in an ICC header → Pillow's mode
_SAME = 2  # levels; profiles that move no colour further are sRGB under another name


def to_srgb(image: ImageFile.ImageFile, data: bytes) -> Image.Image:
    """Convert a loaded image to RGB in sRGB; the image itself where it is that already.

    Args:
        image: as a plug-in of Pillow gave it, loaded.
        data: the bytes it came from; PNG headers tell what Pillow does not.
    """
    _fix_transparency(image, data)
    colour, alpha = _split_alpha(image)
    rgb = _srgb(colour, image.info.get("icc_profile"))
    if alpha is None or alpha.getextrema() == (255, 255):
        return rgb
    white = Image.new("RGB", rgb.size, "white")
    white.paste(rgb, mask=alpha)
    return white


def _fix_transparency(image: ImageFile.ImageFile, data: bytes) -> None:
    """Bring a PNG's transparent colour to the 8 bits of its pixels, which Pillow leaves undone."""
    key = image.info.pop("transparency", None)
    depth = data[24] if isinstance(image, PngImageFile) and data[12:16] == b"IHDR" else 8
    if image.mode == "RGB" and isinstance(key, tuple):
        key = tuple(value >> depth - 8 & 255 for value in key)
    elif image.mode == "L" and isinstance(key, int):
        key = (key & (1 << depth) - 1) * 255 // ((1 << depth) - 1)
    elif image.mode == "P" and isinstance(key, bytes):
        key = key[:256]
    elif not (isinstance(key, int) and (image.mode in {"1", "I;16"} or (image.mode == "P" and key < 256))):
        return  # none, one beyond the palette, or a text chunk that happens to have this name
    image.info["transparency"] = key


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Return the colours in an 8-bit mode without alpha, and the alpha as L if there is any."""
    if image.mode.startswith("I;16"):
        return _high_bytes(image)
    if not image.has_transparency_data:
        return image, None
    both = image.convert("LA" if image.mode in {"1", "L", "LA", "La"} else "RGBA")
    return both.convert(both.mode[:-1]), both.getchannel("A")


def _high_bytes(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Bring 16-bit gray to 8 bits, which Pillow would clip instead of scale, and its transparent value to alpha."""
    values = np.asarray(image)
    tags = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    shift = 4 if tags.get(Base.BitsPerSample) == (12,) else 8
    gray = Image.fromarray((values >> shift).astype(np.uint8))
    if tags.get(Base.PhotometricInterpretation, 1) == 0:
        gray = ImageOps.invert(gray)  # white is zero: Pillow turns that round for 8 bits, not for 16
    if "transparency" not in image.info:
        return gray, None
    return gray, Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))


def _srgb(colour: Image.Image, profile: object) -> Image.Image:
    """Convert colours to RGB by the profile, if it is one for this kind of pixels, else by Pillow's own rules."""
    mode = _PROFILE_MODES.get(profile[16:20]) if isinstance(profile, bytes) else None
    if isinstance(profile, bytes) and mode is not None:
        transform = _transform(profile, mode)
        fitting = None if transform is None else _fitting(colour, mode)
        if transform is not None and fitting is not None:
            return transform.apply(fitting)
    return colour if colour.mode == "RGB" else colour.convert("RGB")


def _fitting(colour: Image.Image, mode: str) -> Image.Image | None:
    """Return the image in the mode of its profile, None where the two don't belong together."""
    if colour.mode == mode:
        return colour
    if colour.mode in {"CMYK", "LAB"} or mode == "CMYK":
        return None
    if mode == "RGB" or colour.mode in {"1", "L"}:
        return colour.convert(mode)
    gray = colour.convert("L")  # 16-bit gray with alpha arrives as RGB
    return gray if gray.convert("RGB") == colour else None


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile to sRGB, None where the profile is broken or sRGB by another name."""
    try:
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        # Without the one-pixel cache a transform has no state, so that threads can share it.
        transform = ImageCms.buildTransform(source, target, mode, "RGB", flags=ImageCms.Flags.NOCACHE)
    except ImageCms.PyCMSError:
        return None
    if mode == "CMYK":
        return transform
    cube = bytes(value for colour in product(range(0, 256, 15), repeat=3) for value in colour)
    probe = Image.frombytes("RGB", (18, 18 * 18), cube).convert(mode)
    moved = np.asarray(ImageChops.difference(transform.apply(probe), probe.convert("RGB")))
    return transform if moved.max() > _SAME else None
