"""The one decode contract: bytes to an upright 8-bit sRGB image, the same for every pipeline.

The content decides the format, never the name. Of animations and multi-page files the first frame counts, decoded to
its end. EXIF orientation is applied once, CMYK, Lab and ICC profiles become sRGB, 16 bits become 8 (the high byte, as
Pillow does for 16-bit colour), alpha is laid over white. Integer pixels of 32 bits, signed ones and floats have no
defined white and are errors. A broken profile counts as sRGB, broken EXIF as upright.
"""

import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import IFD, Base
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import PREFIXES as TIFF_MAGIC
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from workflow_scripts.core.colour import to_srgb

DECODE_VERSION = 1  # bumped by hand when pixels change
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tiff", ".tif")
DEFAULT_MAX_PIXELS = 200_000_000
THUMBNAIL_SIDE = 160  # pixels of the longest side
OUT_OF_MEMORY = "out of memory"  # of this process at that moment: another one may well read the file
_TEXT_LIMIT = 200  # characters of a plug-in's message that an error keeps
# Pillow's classes are called directly: Image.open would try loaders that start programs, puts memory addresses into its
# messages and reads the further pictures' index of an MPO, which can be broken where the first picture is not.
_READERS: tuple[tuple[tuple[bytes, ...], type[ImageFile.ImageFile]], ...] = (
    ((b"\xff\xd8\xff",), JpegImageFile),
    ((b"\x89PNG\r\n\x1a\n",), PngImageFile),
    ((b"RIFF",), WebPImageFile),
    (tuple(TIFF_MAGIC), TiffImageFile),
    ((b"GIF87a", b"GIF89a"), GifImageFile),
    ((b"BM",), BmpImageFile),
)
_QUIET = ("ignore", None, Warning, re.compile(r"PIL\."), 0)  # what filterwarnings stores
_CUT_OFF = ("truncated", "requires a buffer")  # how Pillow and struct say that bytes are missing
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = 5  # from this EXIF orientation on, width and height change places
_NO_WHITE = {"I": "32-bit or signed integer pixels", "F": "floating-point pixels"}


class DecodeError(Exception):
    """An image cannot be decoded; the text is `decode: <reason>`, one line, the same for the same bytes."""

    def __str__(self) -> str:
        """Put the stage first; not stored that way, since pickling builds the error again from its arguments."""
        return f"decode: {self.args[0]}"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image.

    Attributes:
        image: RGB, 8 bit, sRGB, upright, without metadata; smaller than the original where `min_side` allowed it.
        width: pixels across the full upright image.
        height: pixels down the full upright image.
    """

    image: Image.Image
    width: int
    height: int


def is_lasting(error: str | None) -> bool:
    """Whether an error's text says something of the file that holds for every reader, so that nobody need read it again."""
    return str(error).startswith("decode: ") and error != str(DecodeError(OUT_OF_MEMORY))


def content_hash(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits: the identity of an image."""
    return hashlib.sha256(data).hexdigest()


def extension(name: str) -> str:
    """The extension of a file name or key, lower-cased, with its dot; empty when it has none, as a folder's marker in a bucket."""
    stem, _, suffix = name.rsplit("/", 1)[-1].rpartition(".")
    return f".{suffix.lower()}" if stem and suffix else ""


def largest_file(max_pixels: int) -> int:
    """The bytes above which a file cannot hold an image of so many pixels, and need not be read: 16 a pixel, 64 MiB of metadata."""
    return 16 * max_pixels + (64 << 20)


def decode(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, min_side: int | None = None) -> Decoded:
    """Decode a file's bytes by the contract of this module. Safe to call from many threads.

    Args:
        data: the whole file.
        max_pixels: width x height above which an image is refused, before memory is taken for it.
        min_side: decode a JPEG at 1/2, 1/4 or 1/8 of its size as long as both sides stay at least this many pixels:
            faster, and slightly different pixels. None decodes in full; other formats always do.

    Raises:
        DecodeError: not an image that is read here, broken, truncated or too large.
        ValueError: `min_side` is below 1.
    """
    if min_side is not None and min_side < 1:
        msg = f"min_side must be at least 1, not {min_side}"
        raise ValueError(msg)
    _pin_pillow()
    try:
        image = _opened(data, max_pixels)
        width, height = image.size
        if min_side is not None:
            image.draft("RGB", (min_side, min_side))
        with _plugin(image.format):
            image.load()
        rgb = to_srgb(image, data)
        orientation = _orientation(image)  # none is left in a TIFF, which Pillow turns itself
        if orientation in _TURNS:
            rgb = rgb.transpose(_TURNS[orientation])
    except MemoryError as error:
        raise DecodeError(OUT_OF_MEMORY) from error
    if orientation >= _SIDEWAYS:
        width, height = height, width
    rgb.info.clear()  # or a later save would write the old profile beside the new colours
    return Decoded(rgb, width, height)


def announced_pixels(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> int:
    """Pixels that a file's header announces, without decoding it: what decoding takes memory for. 0 for what `decode` refuses at once."""
    _pin_pillow()
    try:
        width, height = _opened(data, max_pixels).size
    except (DecodeError, MemoryError):
        return 0
    return width * height


def thumbnail(image: Image.Image, side: int = THUMBNAIL_SIDE, *, quality: int = 85) -> bytes:
    """Shrink an image for a page; the same image gives the same bytes.

    Args:
        image: RGB, as `decode` gives it.
        side: pixels of the longest side at most; a smaller image keeps its size.
        quality: of JPEG, 0 to 100.

    Returns:
        A JPEG file without metadata.

    Raises:
        ValueError: `side` is below 1.
    """
    if side < 1:
        msg = f"side must be at least 1, not {side}"
        raise ValueError(msg)
    scale = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # Averaged down to less than twice the size first: three times faster than Lanczos, at no difference that matters here.
    small = image if size == image.size else image.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality, icc_profile=b"", exif=b"")
    return buffer.getvalue()


def _pin_pillow() -> None:
    """State Pillow's process-wide switches on every call, since any library may set them; our threads all agree."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = None  # the limit is per call and checked here
    if warnings.filters[:1] != [_QUIET]:  # a line per odd file, in Pillow's words, helps nobody among millions
        warnings.filterwarnings("ignore", module=r"PIL\.")


@contextmanager
def _plugin(kind: str | None) -> Iterator[None]:
    """Turn whatever a plug-in raises into a DecodeError; on hostile bytes that can be nearly any type."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        text = re.sub(r"<[^<>]* at 0x[0-9A-Fa-f]+>", "data", " ".join(str(error).split()))[:_TEXT_LIMIT]
        if any(sign in text.lower() for sign in _CUT_OFF):
            raise DecodeError("truncated") from error
        if not text or text.isdigit() or not isinstance(error, (OSError, SyntaxError, ValueError, EOFError)):
            text = f"{type(error.__cause__ or error).__name__} {text}".rstrip()  # `KeyError 320`, not `320`
        raise DecodeError(f"broken {kind}: {text}") from error


def _opened(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Read the header and check what it announces."""
    if not data:
        raise DecodeError("empty file")
    reader = next((reader for magic, reader in _READERS if data.startswith(magic)), None)
    if reader is None or (reader is WebPImageFile and data[8:12] != b"WEBP"):
        raise DecodeError("not an image")
    if reader is WebPImageFile:
        _check_webp(data, max_pixels)  # this reader takes the canvas's memory on opening
    try:
        with _plugin(reader.format):
            image = reader(io.BytesIO(data))
    except DecodeError:
        bare = _without_metadata(data) if reader is PngImageFile else data
        if bare == data:
            raise
        with _plugin(reader.format):
            image = reader(io.BytesIO(bare))
    _check_size(image.size, max_pixels)
    if image.mode in _NO_WHITE:
        raise DecodeError(f"{_NO_WHITE[image.mode]} have no defined white")
    if image.mode == "P" and image.palette is None:
        raise DecodeError(f"broken {image.format}: no palette")
    if isinstance(image, TiffImageFile):
        _drop_extras(image)
    return image


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise DecodeError("too large")


def _check_webp(data: bytes, max_pixels: int) -> None:
    """Check a WebP file's length and canvas by its header; what Pillow would not read passes and fails there."""
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise DecodeError("truncated")
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X":
        size = int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        size = int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    _check_size(size, max_pixels)


def _without_metadata(data: bytes) -> bytes:
    """Return a PNG without its profile and EXIF: Pillow refuses the file when these chunks are damaged."""
    kept, start = [data[:8]], 8
    while start < len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")  # length, name and checksum take 12 bytes
        if data[start + 4 : start + 8] not in {b"iCCP", b"eXIf"}:
            kept.append(data[start:end])
        start = end
    return b"".join(kept)


def _drop_extras(image: TiffImageFile) -> None:
    """Keep Pillow from reading more of a TIFF's metadata when it loads: what is broken there would cost the image."""
    if not isinstance(image.info.get("xmp"), bytes):
        image.info.pop("xmp", None)
    _orientation(image)  # whatever the first directory raises comes here, and only once
    exif = image.getexif()
    for tag in (IFD.Exif, IFD.GPSInfo):
        exif.pop(tag, None)


def _orientation(image: ImageFile.ImageFile) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        with _plugin(image.format):
            value = image.getexif().get(Base.Orientation)
    except DecodeError:  # broken metadata must not cost the image
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1
