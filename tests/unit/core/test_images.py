"""The decode contract: pixel values and error texts of files made here, by hand where Pillow cannot write them."""

import io
import pickle
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, ImageOps

from workflow_scripts.core import colour as colour_module
from workflow_scripts.core import images
from workflow_scripts.core.images import OUT_OF_MEMORY, DecodeError, announced_pixels, content_hash, decode, is_lasting, thumbnail

RED, GREEN, BLUE, YELLOW, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 255, 255)
JPEG_ERROR = 4  # levels that a JPEG of flat areas may be off
D50 = (0.9642, 1.0, 0.8249)
PRIMARIES = {"r": (0.43607, 0.22249, 0.01392), "g": (0.38515, 0.71687, 0.09708), "b": (0.14307, 0.06061, 0.7141)}


# ---- files ----


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def row(*colours: object, mode: str = "RGB") -> Image.Image:
    """Return an image one pixel high."""
    image = Image.new(mode, (len(colours), 1))
    for x, colour in enumerate(colours):
        image.putpixel((x, 0), colour)
    return image


def noise(width: int = 60, height: int = 40, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def corners() -> np.ndarray:
    """Return 32 rows by 48 columns: red and green above, blue and yellow below."""
    array = np.zeros((32, 48, 3), np.uint8)
    array[:16, :24], array[:16, 24:], array[16:, :24], array[16:, 24:] = RED, GREEN, BLUE, YELLOW
    return array


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(size: tuple[int, int], depth: int, colour: int, pixels: bytes, *extra: bytes) -> bytes:
    """Build a PNG; `pixels` is the rows one after the other, without filter bytes."""
    step = len(pixels) // size[1]
    rows = b"".join(b"\0" + pixels[i * step : (i + 1) * step] for i in range(size[1]))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + body + chunk(b"IEND", b"")


def tiff(order: str, size: tuple[int, int], bits: list[int], photo: int, pixels: bytes, *extra: tuple) -> bytes:
    """Build an uncompressed TIFF of one strip; `extra` is (tag, type, values) with types 3, 4, 7 or 9."""
    kinds = {3: "H", 4: "I", 7: "B", 9: "i"}
    tags = [(256, 3, [size[0]]), (257, 3, [size[1]]), (258, 3, bits), (259, 3, [1]), (262, 3, [photo])]
    tags += [(277, 3, [len(bits)]), (278, 3, [size[1]]), (279, 4, [len(pixels)]), *extra]
    start = 8 + 2 + 12 * (len(tags) + 1) + 4
    entries, tail = b"", b""
    for tag, kind, values in sorted([*tags, (273, 4, [start])]):
        body = struct.pack(f"{order}{len(values)}{kinds[kind]}", *values)
        if len(body) > 4:
            place, tail = struct.pack(order + "I", start + len(pixels) + len(tail)), tail + body
        else:
            place = body.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags) + 1)
    return head + entries + struct.pack(order + "I", 0) + pixels + tail


# ---- colour profiles ----


def icc(space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Build an ICC profile, version 2.4."""
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(value))
        body += value + b"\0" * (-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s12x4s", start + len(body), b"test", 0x02400000, b"mntr", space, pcs, b"acsp")
    return (head + b"\0" * 28 + fixed(*D50)).ljust(128, b"\0") + table + body


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def curve(*points: int) -> bytes:
    return struct.pack(f">4s4xI{len(points)}H", b"curv", len(points), *points)


def encode(linear: float) -> float:
    """Return the sRGB value, 0 to 1, of a linear intensity."""
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def rgb_profile(order: str, points: int) -> bytes:
    """Return an RGB profile that is sRGB with its channels in another order and its curve in so many points."""
    steps = [i / (points - 1) for i in range(points)]
    srgb = curve(*(round(65535 * (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4)) for v in steps))
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(*D50)}
    for channel, primary in zip("rgb", order, strict=True):
        tags[f"{channel}XYZ".encode()] = b"XYZ \0\0\0\0" + fixed(*PRIMARIES[primary])
        tags[f"{channel}TRC".encode()] = srgb
    return icc(b"RGB ", b"XYZ ", tags)


def gray_profile() -> bytes:
    """Return a gray profile of gamma 1.8, which is far from sRGB."""
    return icc(b"GRAY", b"XYZ ", {b"wtpt": b"XYZ \0\0\0\0" + fixed(*D50), b"kTRC": curve(round(1.8 * 256))})


def cmyk_profile() -> bytes:
    """Return a profile of gray inks: lightness is 100 (1 - k) (1 - (c + m + y) / 3)."""
    grid = b"".join(
        struct.pack(">3H", round(0xFF00 * (1 - k) * (1 - (c + m + y) / 3)), 0x8000, 0x8000) for c, m, y, k in product((0, 1), repeat=4)
    )
    head = struct.pack(">4s4x4B", b"mft2", 4, 3, 2, 0) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 2, 2)
    lut = head + struct.pack(">8H", *(0, 65535) * 4) + grid + struct.pack(">6H", *(0, 65535) * 3)
    return icc(b"CMYK", b"Lab ", {b"wtpt": b"XYZ \0\0\0\0" + fixed(*D50), b"A2B0": lut})


def lightness(level: float) -> int:
    """Return the 8-bit sRGB gray of a CIE lightness above 8."""
    return round(255 * encode(((level + 16) / 116) ** 3))


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED, GAMMA_18, GRAY_INKS = rgb_profile("grb", 1024), gray_profile(), cmyk_profile()


# ---- assertions ----


def pixels(data: bytes, **options: int) -> np.ndarray:
    """Decode, check what always holds, and return height x width x 3 as integers."""
    decoded = decode(data, **options)
    assert decoded.image.mode == "RGB"
    assert decoded.image.info == {}
    if "min_side" not in options:
        assert decoded.image.size == (decoded.width, decoded.height)
    return np.asarray(decoded.image).astype(int)


def first_row(data: bytes) -> list[tuple[int, ...]]:
    return [tuple(int(value) for value in pixel) for pixel in pixels(data)[0]]


def near(data: bytes, expected: list[tuple[int, ...]], within: int = 1) -> bool:
    return bool(np.abs(pixels(data)[0] - np.array(expected)).max() <= within)


def error(data: bytes, **options: int) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(data, **options)
    text = str(caught.value)
    assert text.startswith("decode: ")
    assert "\n" not in text
    assert "0x" not in text
    return text


# ---- formats and first frames ----

LOSSLESS = {
    "png": ("PNG", {}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {}),
    "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff-deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "tiff-packbits": ("TIFF", {"compression": "packbits"}),
}


def test_content_hash_is_sha256_in_hex() -> None:
    assert content_hash(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_keep_every_pixel(name: str) -> None:
    kind, options = LOSSLESS[name]
    assert (pixels(save(noise(), kind, **options)) == np.asarray(noise())).all()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_jpeg_is_what_pillow_decodes(options: dict[str, object]) -> None:
    data = save(noise(), "JPEG", **options)
    assert (pixels(data) == np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).all()


def test_gif_keeps_its_palette_colours() -> None:
    assert first_row(save(row(RED, GREEN, BLUE, (7, 8, 9)), "GIF")) == [RED, GREEN, BLUE, (7, 8, 9)]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_frame_counts(kind: str) -> None:
    first, second = Image.new("RGB", (16, 16), RED), Image.new("RGB", (16, 16), BLUE)
    data = save(first, kind, save_all=True, append_images=[second])
    assert np.abs(pixels(data) - RED).max() <= JPEG_ERROR


def test_an_animated_pngs_default_image_is_its_first_frame() -> None:
    default, others = Image.new("RGB", (4, 4), RED), [Image.new("RGB", (4, 4), c) for c in (GREEN, BLUE)]
    assert (pixels(save(default, "PNG", save_all=True, default_image=True, append_images=others)) == RED).all()


def test_a_broken_index_of_further_pictures_leaves_the_first() -> None:
    data = save(noise(), "MPO", save_all=True, append_images=[noise(seed=1)])
    broken = data.replace(b"MPF\0II*\0", b"MPF\0IIxx", 1)
    assert broken != data
    assert (pixels(broken) == pixels(data)).all()


# ---- modes ----


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (row(0, 255, mode="1"), {}, [(0, 0, 0), WHITE]),
        (row(0, 77, 255, mode="L"), {}, [(0, 0, 0), (77, 77, 77), WHITE]),
        (row(0, 77, mode="L"), {"transparency": 0}, [WHITE, (77, 77, 77)]),
        (row((0, 255), (0, 0), (100, 128), mode="LA"), {}, [(0, 0, 0), WHITE, (177, 177, 177)]),
        (row(RED, BLUE).quantize(2), {}, [RED, BLUE]),
        (row(RED, BLUE), {"transparency": RED}, [WHITE, BLUE]),
        (row((*RED, 255), (*RED, 0), (*RED, 51), mode="RGBA"), {}, [RED, WHITE, (255, 204, 204)]),
    ],
    ids=["1", "L", "L-key", "LA", "P", "RGB-key", "RGBA"],
)
def test_png_modes(image: Image.Image, options: dict[str, object], expected: list[tuple[int, ...]]) -> None:
    assert first_row(save(image, "PNG", **options)) == expected


@pytest.mark.parametrize(
    ("alphas", "expected"),
    [(b"\xff\x00\xff", [RED, WHITE, BLUE]), (b"\xff\x33", [RED, (204, 255, 204), BLUE]), (b"", [RED, GREEN, BLUE])],
    ids=["index", "bytes", "none"],
)
def test_palette_with_transparency(alphas: bytes, expected: list[tuple[int, ...]]) -> None:
    extra = [chunk(b"PLTE", bytes([*RED, *GREEN, *BLUE]))] + [chunk(b"tRNS", alphas)] * bool(alphas)
    assert first_row(png((3, 1), 8, 3, b"\0\1\2", *extra)) == expected


def test_transparency_beyond_the_palette_is_cut() -> None:
    extra = [chunk(b"PLTE", bytes([*RED, *GREEN])), chunk(b"tRNS", b"\xff\x33" + b"\xff" * 300)]
    assert first_row(png((2, 1), 8, 3, b"\0\1", *extra)) == [RED, (204, 255, 204)]
    extra[1] = chunk(b"tRNS", b"\xff" * 300 + b"\0")
    assert first_row(png((2, 1), 8, 3, b"\0\1", *extra)) == [RED, GREEN]


@pytest.mark.parametrize(("depth", "pixels_", "top"), [(2, b"\x1b", 85), (4, b"\x01\x23", 17)])
def test_transparent_gray_of_low_depth(depth: int, pixels_: bytes, top: int) -> None:
    data = png((4, 1), depth, 0, pixels_, chunk(b"tRNS", b"\0\1"))
    assert first_row(data) == [(0, 0, 0), WHITE, (2 * top,) * 3, (3 * top,) * 3]


def test_gif_transparency_is_white() -> None:
    assert first_row(save(row(RED, BLUE).quantize(2), "GIF", transparency=0)).count(WHITE) == 1


def test_webp_alpha_is_laid_over_white() -> None:
    assert first_row(save(row((*RED, 51), (*BLUE, 0), mode="RGBA"), "WEBP", lossless=True)) == [(255, 204, 204), WHITE]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("bits", "photo", "body", "extra", "expected"),
    [
        ([8, 8], 1, b"\x64\x80", [(338, 3, [2])], (177, 177, 177)),
        ([8, 8], 1, b"\x40\x80", [(338, 3, [1])], (191, 191, 191)),
        ([8, 8, 8, 8], 2, b"\x80\0\0\x80", [(338, 3, [1])], (255, 127, 127)),
        ([8, 8, 8, 8], 2, b"\xff\0\0\x33", [(338, 3, [2])], (255, 204, 204)),
        ([8, 8], 3, b"\1\x33", [(338, 3, [2]), (320, 3, [0, 65535] + [0] * 766)], (255, 204, 204)),
        ([8, 8, 8, 8], 5, b"\xff\0\0\0", [], (0, 255, 255)),
        ([8, 8, 8], 6, b"\x4c\x55\xff", [], (254, 0, 0)),
        ([8, 8, 8], 8, b"\xff\0\0", [], WHITE),
        ([8, 8, 8], 8, bytes([138, 30, 226]), [], (161, 111, 182)),  # CIE Lab 54, 30, -30
        ([8], 0, b"\x10", [], (239, 239, 239)),
    ],
    ids=["LA", "La", "RGBa", "RGBA", "PA", "CMYK", "YCbCr", "Lab-white", "Lab-violet", "white-is-zero"],
)
def test_tiff_modes(order: str, bits: list[int], photo: int, body: bytes, extra: list[tuple], expected: tuple[int, ...]) -> None:
    assert near(tiff(order, (1, 1), bits, photo, body, *extra), [expected], within=2)


# ---- 16 bits ----

DEEP = struct.pack(">6H", 0x0000, 0x12FF, 0x8000, 0xFF00, 0xFFFF, 0x00FF)
HIGH = [0x00, 0x12, 0x80, 0xFF, 0xFF, 0x00]


def test_16_bit_gray_png_keeps_the_high_byte() -> None:
    assert first_row(png((6, 1), 16, 0, DEEP)) == [(v, v, v) for v in HIGH]


def test_16_bit_transparent_gray_is_compared_in_16_bits() -> None:
    data = png((6, 1), 16, 0, DEEP, chunk(b"tRNS", b"\x00\xff"))
    assert first_row(data) == [(v, v, v) for v in HIGH[:5]] + [WHITE]


def test_16_bit_gray_with_alpha() -> None:
    assert first_row(png((3, 1), 16, 4, DEEP)) == [(255 - 0x12,) * 3, (0x80,) * 3, WHITE]


def test_16_bit_colour_png() -> None:
    assert first_row(png((2, 1), 16, 2, DEEP)) == [(0x00, 0x12, 0x80), (0xFF, 0xFF, 0x00)]
    assert first_row(png((1, 1), 16, 6, DEEP[:6] + b"\xff\xff")) == [(0x00, 0x12, 0x80)]
    assert first_row(png((1, 1), 16, 6, DEEP[:6] + b"\0\0")) == [WHITE]


def test_16_bit_transparent_colour() -> None:
    assert first_row(png((2, 1), 16, 2, DEEP, chunk(b"tRNS", DEEP[:6]))) == [WHITE, (0xFF, 0xFF, 0x00)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff(order: str) -> None:
    deep = struct.pack(order + "6H", *struct.unpack(">6H", DEEP))
    assert first_row(tiff(order, (6, 1), [16], 1, deep)) == [(v, v, v) for v in HIGH]
    assert first_row(tiff(order, (2, 1), [16] * 3, 2, deep)) == [(0x00, 0x12, 0x80), (0xFF, 0xFF, 0x00)]


def test_16_bit_tiff_compressed() -> None:
    image = Image.fromarray(np.array([[0, 0x12FF, 0x8000, 0xFFFF]], np.uint16))
    assert first_row(save(image, "TIFF", compression="tiff_lzw")) == [(v, v, v) for v in (0, 0x12, 0x80, 0xFF)]


def test_16_bit_tiff_where_white_is_zero() -> None:
    assert first_row(tiff("<", (1, 1), [16], 0, b"\0\x10")) == [(239, 239, 239)]


def test_12_bit_tiff() -> None:
    assert first_row(tiff("<", (2, 1), [12], 1, b"\xff\xf8\x00")) == [WHITE, (128, 128, 128)]


@pytest.mark.parametrize(
    ("bits", "sample", "text"),
    [
        (32, 3, "decode: floating-point pixels have no defined white"),
        (32, 2, "decode: 32-bit or signed integer pixels have no defined white"),
        (16, 2, "decode: 32-bit or signed integer pixels have no defined white"),
    ],
)
def test_pixels_without_a_white_are_errors(bits: int, sample: int, text: str) -> None:
    assert error(tiff("<", (1, 1), [bits], 1, b"\0\0\0\0"[: bits // 8], (339, 3, [sample]))) == text


# ---- CMYK and profiles ----


def test_cmyk_jpeg_without_a_profile() -> None:
    for ink, expected in (((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 255), (0, 0, 0)), ((0, 0, 0, 0), WHITE)):
        data = save(Image.new("CMYK", (16, 16), ink), "JPEG", quality=95)
        assert b"Adobe" in data  # so the values are stored inverted
        assert near(data, [expected] * 16, JPEG_ERROR)


def test_ycck_jpeg() -> None:
    stored = Image.new("CMYK", (16, 16), (55, 127, 127, 0))  # inverted in the file: Y 200, Cb and Cr 128, K 255
    data = save(stored, "JPEG", quality=95, subsampling=0)
    marker = data.index(b"Adobe") + 11
    assert data[marker] == 0
    assert near(data[:marker] + b"\2" + data[marker + 1 :], [(55, 55, 55)] * 16, JPEG_ERROR)


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_profile_is_applied(kind: str) -> None:
    inks = {(0, 0, 0, 0): 100, (255, 0, 0, 0): 200 / 3, (255, 255, 0, 0): 100 / 3, (0, 0, 0, 128): 100 * 127 / 255}
    for ink, level in inks.items():
        data = save(Image.new("CMYK", (16, 16), ink), kind, icc_profile=GRAY_INKS)
        assert near(data, [(lightness(level),) * 3] * 16, JPEG_ERROR)


COLOURS = [(255, 0, 0), (0, 255, 0), (10, 200, 90), (128, 128, 128), (250, 251, 3)]
SWAPPED_COLOURS = [(g, r, b) for r, g, b in COLOURS]


@pytest.mark.parametrize(("kind", "options"), [LOSSLESS[name] for name in ("png", "webp", "tiff", "tiff-lzw")])
def test_rgb_profile_is_applied(kind: str, options: dict[str, object]) -> None:
    data = save(row(*COLOURS), kind, icc_profile=SWAPPED, **options)
    assert near(data, SWAPPED_COLOURS)
    assert near(save(row(*COLOURS).quantize(8), "PNG", icc_profile=SWAPPED), SWAPPED_COLOURS)


@pytest.mark.parametrize("options", [{}, {"min_side": 8}], ids=["full", "scaled"])
def test_profile_of_a_jpeg_is_applied(options: dict[str, int]) -> None:
    data = save(Image.new("RGB", (32, 32), (10, 200, 90)), "JPEG", icc_profile=SWAPPED)
    assert np.abs(pixels(data, **options) - (200, 10, 90)).max() <= JPEG_ERROR


def test_alpha_survives_the_profile() -> None:
    image = row((10, 200, 90, 255), (10, 200, 90, 0), (0, 255, 0, 51), mode="RGBA")
    for data in (save(image, "PNG", icc_profile=SWAPPED), save(image, "WEBP", lossless=True, icc_profile=SWAPPED)):
        assert near(data, [(200, 10, 90), WHITE, (255, 204, 204)])


def test_gray_profile_is_applied() -> None:
    levels = [0, 20, 50, 128, 255]
    expected = [(round(255 * encode((level / 255) ** 1.8)),) * 3 for level in levels]
    assert near(save(row(*levels, mode="L"), "PNG", icc_profile=GAMMA_18), expected)
    with_alpha = row(*((level, 255) for level in levels), mode="LA")
    assert near(save(with_alpha, "PNG", icc_profile=GAMMA_18), expected)
    profile = chunk(b"iCCP", b"gray\0\0" + zlib.compress(GAMMA_18))
    deep = b"".join(bytes([level, 0]) for level in levels)
    assert near(png((5, 1), 16, 0, deep, profile), expected)
    deep_alpha = b"".join(bytes([level, 0, 255, 255]) for level in levels)
    assert near(png((5, 1), 16, 4, deep_alpha, profile), expected)


def test_gray_pixels_with_an_rgb_profile_stay_gray() -> None:
    assert near(save(row(0, 90, 255, mode="L"), "PNG", icc_profile=SWAPPED), [(v, v, v) for v in (0, 90, 255)])


@pytest.mark.parametrize(
    "profile",
    [
        SRGB,
        rgb_profile("rgb", 200),
        GRAY_INKS,
        GAMMA_18,
        b"x",
        b"\0" * 200,
        SWAPPED[:150],
        SWAPPED[:128] + b"\xff" * 300,
        SWAPPED.replace(b"acsp", b"nope"),
    ],
    ids=["srgb", "nearly-srgb", "cmyk", "gray", "short", "zeros", "cut", "garbage", "no-magic"],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_srgb_unfitting_and_broken_profiles_change_nothing(kind: str, profile: bytes) -> None:
    assert (pixels(save(noise(), kind, icc_profile=profile)) == pixels(save(noise(), kind))).all()


def test_a_profile_for_other_pixels_leaves_cmyk_alone() -> None:
    image = noise().convert("CMYK")
    assert (pixels(save(image, "TIFF", icc_profile=SWAPPED)) == pixels(save(image, "TIFF"))).all()


def test_a_damaged_profile_or_exif_chunk_does_not_cost_a_png() -> None:
    plain = png((2, 1), 8, 2, bytes([*RED, *BLUE]))
    for name in (b"iCCP", b"eXIf"):
        damaged = chunk(name, b"name\0\0" + zlib.compress(SWAPPED))[:-4] + b"\0\0\0\0"
        assert first_row(plain[:33] + damaged + plain[33:]) == [RED, BLUE]
    bomb = chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(2_000_000)))
    assert first_row(plain[:33] + bomb + plain[33:]) == [RED, BLUE]


# ---- orientation ----


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Return the pixels as EXIF says they lie in a file: where its first row and column are in the upright picture."""
    turned = upright.swapaxes(0, 1)
    return {
        1: upright,  # top, left
        2: upright[:, ::-1],  # top, right
        3: upright[::-1, ::-1],  # bottom, right
        4: upright[::-1],  # bottom, left
        5: turned,  # left, top
        6: turned[::-1],  # right, top
        7: turned[::-1, ::-1],  # right, bottom
        8: turned[:, ::-1],  # left, bottom
    }[orientation]


def turned_file(kind: str, orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored(corners(), orientation)))
    return save(image, kind, exif=exif, **options)


ORIENTED = {
    "JPEG": {"subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {},
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ORIENTED)
def test_orientation_is_applied_once(kind: str, orientation: int) -> None:
    data = turned_file(kind, orientation, **ORIENTED[kind])
    decoded = decode(data)
    assert (decoded.width, decoded.height) == decoded.image.size == (48, 32)
    assert np.abs(pixels(data) - corners()).max() <= (JPEG_ERROR if kind == "JPEG" else 0)
    assert ImageOps.exif_transpose(decoded.image).tobytes() == decoded.image.tobytes()


def test_orientation_in_a_compressed_tiff() -> None:
    assert (pixels(turned_file("TIFF", 6, compression="tiff_lzw")) == corners()).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_scaled_jpeg(orientation: int) -> None:
    decoded = decode(turned_file("JPEG", orientation, subsampling=0), min_side=16)
    assert decoded.image.size == (24, 16)
    assert (decoded.width, decoded.height) == (48, 32)
    for corner, colour in (((0, 0), RED), ((23, 0), GREEN), ((0, 15), BLUE), ((23, 15), YELLOW)):
        assert np.abs(np.array(decoded.image.getpixel(corner)) - colour).max() <= JPEG_ERROR


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_senseless_orientations_are_upright(value: int) -> None:
    exif = Image.Exif()
    exif[274] = value
    assert (pixels(save(noise(), "PNG", exif=exif)) == np.asarray(noise())).all()


@pytest.mark.parametrize("body", [b"", b"II*\0", b"rubbish", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff\x12\x01"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_is_upright(kind: str, body: bytes) -> None:
    assert (pixels(save(noise(), kind, exif=b"Exif\0\0" + body)) == pixels(save(noise(), kind))).all()


@pytest.mark.parametrize("extra", [(34665, 9, [-5]), (34853, 9, [-1]), (34665, 4, [2**32 - 1]), (700, 4, [1, 2, 3])])
def test_broken_metadata_does_not_cost_a_tiff(extra: tuple) -> None:
    data = tiff("<", (2, 1), [8], 1, b"\x10\xf0", (274, 3, [6]), extra)
    assert pixels(data).tolist() == [[[0x10] * 3], [[0xF0] * 3]]


# ---- scaled decoding ----


@pytest.mark.parametrize(
    ("size", "min_side", "expected"),
    [
        ((100, 60), 60, (100, 60)),
        ((100, 60), 30, (50, 30)),
        ((100, 60), 31, (100, 60)),
        ((101, 61), 30, (51, 31)),
        ((400, 240), 1, (50, 30)),
        ((20, 20), 224, (20, 20)),
    ],
)
def test_scaled_sides_stay_above_the_minimum(size: tuple[int, int], min_side: int, expected: tuple[int, int]) -> None:
    decoded = decode(save(noise(*size), "JPEG"), min_side=min_side)
    assert decoded.image.size == expected
    assert (decoded.width, decoded.height) == size


def test_scaled_decoding_averages_the_pixels() -> None:
    data = save(Image.fromarray(corners()), "JPEG", subsampling=0)
    halved = np.asarray(decode(data).image).reshape(16, 2, 24, 2, 3).mean((1, 3))
    assert np.abs(pixels(data, min_side=16) - halved).max() <= JPEG_ERROR


@pytest.mark.parametrize("name", LOSSLESS)
def test_other_formats_are_always_decoded_in_full(name: str) -> None:
    kind, options = LOSSLESS[name]
    assert (pixels(save(noise(), kind, **options), min_side=4) == np.asarray(noise())).all()


def test_a_minimum_below_one_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="min_side must be at least 1, not 0"):
        decode(save(noise(), "JPEG"), min_side=0)


# ---- errors ----

FILES = {
    **{name: save(noise(), kind, **options) for name, (kind, options) in LOSSLESS.items()},
    "jpeg": save(noise(), "JPEG"),
    "jpeg-progressive": save(noise(), "JPEG", progressive=True),
    "jpeg-cmyk": save(noise().convert("CMYK"), "JPEG"),
    "mpo": save(noise(), "MPO", save_all=True, append_images=[noise(seed=1)]),
    "png-palette": save(noise().quantize(16), "PNG", transparency=b"\x80" * 16),
    "png-16": png((20, 20), 16, 0, np.random.default_rng(1).bytes(800)),
    "apng": save(noise(), "PNG", save_all=True, append_images=[noise(seed=1)]),
    "webp-lossy": save(noise(), "WEBP"),
    "webp-animated": save(noise(), "WEBP", save_all=True, append_images=[noise(seed=1)]),
    "bmp-palette": save(noise().quantize(16), "BMP"),
    "gif": save(noise(), "GIF", save_all=True, append_images=[noise(seed=1)]),
    "tiff-jpeg": save(noise(), "TIFF", compression="jpeg"),
    "tiff-fax": save(noise().convert("1"), "TIFF", compression="group4"),
    "swapped": save(noise(), "PNG", icc_profile=SWAPPED),
    "cmyk-profile": save(noise().convert("CMYK"), "TIFF", icc_profile=GRAY_INKS),
    "turned": turned_file("JPEG", 6),
}


@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_an_error_or_has_every_pixel(name: str) -> None:
    data = FILES[name]
    whole = decode(data).image.tobytes()
    cuts = sorted({*range(1, len(data), max(1, len(data) // 60)), *range(len(data) - 24, len(data))})
    errors = 0
    for cut in cuts:
        try:
            assert decode(data[:cut]).image.tobytes() == whole
        except DecodeError:
            errors += 1
    assert errors >= len(cuts) // 3  # further frames and closing marks may be missing, most of the first may not


@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "jpeg-cmyk", "png", "png-16", "webp", "webp-lossy", "bmp"])
def test_half_a_file_is_truncated(name: str) -> None:
    assert error(FILES[name][: len(FILES[name]) // 2]) == "decode: truncated"


def test_half_a_gif_or_tiff_is_truncated() -> None:
    for data in (save(noise(), "GIF"), tiff("<", (60, 40), [8], 1, noise().convert("L").tobytes())):
        assert error(data[: len(data) // 2]) == "decode: truncated"


def test_half_a_scaled_jpeg_is_truncated_too() -> None:
    assert error(FILES["jpeg"][: len(FILES["jpeg"]) // 2], min_side=8) == "decode: truncated"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "decode: empty file"),
        (b"hello", "decode: not an image"),
        (b"\0" * 1000, "decode: not an image"),
        (b"%PDF-1.7\n", "decode: not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "decode: not an image"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "decode: not an image"),
        (b"\xff\xd8\xff\xd9", "decode: broken JPEG: not identified by this driver"),
        (b"BM" + b"\0" * 60, "decode: broken BMP: Unsupported BMP header type (0)"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "decode: broken TIFF: Missing dimensions"),
        (tiff("<", (1, 1), [8], 3, b"\0"), "decode: broken TIFF: KeyError 320"),
        (png((1, 1), 8, 3, b"\0"), "decode: broken PNG: no palette"),
        (png((1, 1), 7, 2, b"\0\0\0"), "decode: broken PNG: not identified by this driver"),
    ],
    ids=["empty", "text", "zeros", "pdf", "eps", "wave", "jpeg", "bmp", "tiff", "tiff-palette", "palette", "depth"],
)
def test_error_texts(data: bytes, text: str) -> None:
    assert error(data) == text


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt"])
def test_a_text_bomb_is_an_error(name: bytes) -> None:
    packed = zlib.compress(bytes(5_000_000))
    body = b"k\0\0" + packed if name == b"zTXt" else b"k\0\1\0\0\0" + packed
    assert "Decompressed data too large" in error(png((1, 1), 8, 2, b"\0\0\0", chunk(name, body)))


@pytest.mark.parametrize("key", [b"transparency", b"icc_profile", b"exif", b"xmp", b"XML:com.adobe.xmp"])
def test_texts_named_like_metadata_are_only_texts(key: bytes) -> None:
    assert first_row(png((1, 1), 8, 2, b"\1\2\3", chunk(b"tEXt", key + b"\0boo"))) == [(1, 2, 3)]


def huge_files() -> dict[str, bytes]:
    """Return small files whose headers announce at least 16,000 x 16,000 pixels."""
    side = 16_000
    jpeg, gif, bmp = (bytearray(save(noise(), kind)) for kind in ("JPEG", "GIF", "BMP"))
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = struct.pack(">HH", side, side)
    gif[6:10] = struct.pack("<HH", side, side)
    bmp[18:26] = struct.pack("<ii", side, side)
    canvas = (side - 1).to_bytes(3, "little") * 2
    riff = {
        "webp-extended": b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + canvas,
        "webp-lossless": b"VP8L" + struct.pack("<IBI", 10, 0x2F, side - 1 | side - 1 << 14) + b"\0" * 5,
        "webp-lossy": b"VP8 " + struct.pack("<I", 10) + b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", side, side),
    }
    return {
        "png": png((100_000, 100_000), 8, 2, b""),
        "jpeg": bytes(jpeg),
        "gif": bytes(gif),
        "bmp": bytes(bmp),
        "tiff": tiff("<", (side, side), [8] * 3, 2, b"\0"),
        **{name: b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body for name, body in riff.items()},
    }


@pytest.mark.parametrize("name", huge_files())
def test_announced_sizes_are_checked_before_memory_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("pixels were about to be read")

    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    assert error(huge_files()[name]) == "decode: too large"
    assert error(huge_files()[name], min_side=64) == "decode: too large"


@pytest.mark.parametrize("name", FILES)
def test_the_limit_is_inclusive(name: str) -> None:
    decoded = decode(FILES[name])
    pixel_count = decoded.width * decoded.height
    assert decode(FILES[name], max_pixels=pixel_count).width == decoded.width
    assert error(FILES[name], max_pixels=pixel_count - 1) == "decode: too large"


def test_out_of_memory_is_an_error_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def starve(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", starve)
    assert error(FILES["jpeg"]) == "decode: out of memory"


@pytest.mark.parametrize(("kind", "text"), [(OSError, "cannot read data"), (RuntimeError, "RuntimeError cannot read data")])
def test_addresses_and_lines_stay_out_of_texts(kind: type[Exception], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        msg = f"cannot read\n{io.BytesIO()!r}"
        raise kind(msg)

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    assert error(FILES["jpeg"]) == f"decode: broken JPEG: {text}"


def test_our_own_mistakes_are_not_taken_for_broken_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def blunder(*_: object) -> None:
        msg = "a bug"
        raise TypeError(msg)

    monkeypatch.setattr(images, "to_srgb", blunder)
    with pytest.raises(TypeError, match="a bug"):
        decode(FILES["jpeg"])


def test_errors_survive_the_way_between_processes() -> None:
    assert str(pickle.loads(pickle.dumps(DecodeError("not an image")))) == "decode: not an image"


# ---- Pillow's process-wide state ----


def test_switches_that_others_set_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert error(FILES["jpeg"][:-200]) == "decode: truncated"
    for data in FILES.values():
        assert pixels(data).size > 10


def test_pillow_is_quiet_even_where_warnings_are_errors() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"
    odd = [
        save(noise(), "JPEG", exif=exif),
        save(noise(), "WEBP", exif=exif),
        png((1, 1), 8, 2, b"\1\2\3", chunk(b"acTL", bytes(8))),
        *FILES.values(),
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for data in odd:
            decode(data)
    assert caught == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in odd:
            decode(data)


def test_threads_get_the_same_pixels() -> None:
    alone = {name: content_hash(decode(data).image.tobytes()) for name, data in FILES.items()}
    colour_module._transform.cache_clear()  # so that threads meet while they build the transforms
    names = list(FILES) * 12
    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda name: content_hash(decode(FILES[name]).image.tobytes()), names)
        assert list(together) == [alone[name] for name in names]


# ---- thumbnails ----


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [((60, 40), 30, (30, 20)), ((40, 60), 30, (20, 30)), ((60, 40), 100, (60, 40)), ((900, 2), 90, (90, 1))],
)
def test_thumbnail_sizes(size: tuple[int, int], side: int, expected: tuple[int, int]) -> None:
    small = Image.open(io.BytesIO(thumbnail(noise(*size), side)))
    assert (small.format, small.size) == ("JPEG", expected)


def test_thumbnails_show_the_image_and_repeat_to_the_byte() -> None:
    image = decode(turned_file("JPEG", 6)).image
    image.info["icc_profile"] = SRGB
    data = thumbnail(image, 24)
    assert data == thumbnail(image.copy(), 24)
    small = Image.open(io.BytesIO(data))
    assert not {"exif", "icc_profile", "xmp"} & set(small.info)
    for corner, colour in (((2, 2), RED), ((21, 2), GREEN), ((2, 13), BLUE), ((21, 13), YELLOW)):
        assert np.abs(np.array(small.convert("RGB").getpixel(corner)) - colour).max() < 60
    assert len(thumbnail(noise(), 60, quality=10)) < len(thumbnail(noise(), 60, quality=95))


def test_thumbnails_average_what_they_shrink() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    small = np.array(Image.open(io.BytesIO(thumbnail(Image.fromarray(stripes), 100))).convert("RGB")).astype(int)
    assert np.abs(small - 127).max() < 12


def test_a_small_image_keeps_its_pixels_in_the_thumbnail() -> None:
    image = Image.fromarray(corners())
    small = np.array(Image.open(io.BytesIO(thumbnail(image))).convert("RGB")).astype(int)
    assert small.shape == (32, 48, 3)
    assert np.abs(small[4:12, 4:20] - RED).max() <= 2 * JPEG_ERROR


def test_thumbnails_are_160_pixels_and_small_files() -> None:
    data = thumbnail(noise(1000, 400))
    assert Image.open(io.BytesIO(data)).size == (160, 64)
    assert len(data) < 16_000
    assert len(data) == len(thumbnail(noise(1000, 400), 160, quality=85))


def test_a_thumbnail_can_be_decoded_again() -> None:
    found = decode(thumbnail(noise(300, 200), 90))
    assert (found.width, found.height) == (90, 60)


@pytest.mark.parametrize(("max_pixels", "size"), [(1, (64 << 20) + 16), (200_000_000, 3_200_000_000 + (64 << 20))])
def test_the_largest_file_of_so_many_pixels(max_pixels: int, size: int) -> None:
    assert images.largest_file(max_pixels) == size


def test_no_image_within_the_limit_is_larger_than_the_largest_file() -> None:
    # 16 bits in four channels are 8 bytes a pixel, without any compression.
    data = tiff("<", (50, 40), [16] * 4, 2, bytes(50 * 40 * 8), (338, 3, [2]))
    assert decode(data, max_pixels=2000).width == 50
    assert len(data) < 16 * 2000 < images.largest_file(2000)


def test_a_thumbnail_has_at_least_one_pixel() -> None:
    with pytest.raises(ValueError, match="side must be at least 1, not 0"):
        thumbnail(noise(), 0)


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (str(DecodeError("truncated")), True),
        (str(DecodeError(OUT_OF_MEMORY)), False),
        ("download: gone since listing", False),
        (None, False),
    ],
)
def test_what_only_this_process_or_this_read_met_says_nothing_of_the_file(error, lasting):
    assert is_lasting(error) is lasting


def test_a_header_announces_how_much_memory_decoding_takes():
    whole = io.BytesIO()
    Image.new("RGB", (40, 30)).save(whole, "PNG")
    assert announced_pixels(whole.getvalue()) == 1200
    assert announced_pixels(whole.getvalue()[:60]) == 1200, "a truncated file announces what it should hold"
    assert [announced_pixels(data) for data in (b"", b"text", b"\x89PNG\r\n\x1a\n")] == [0, 0, 0]
    assert announced_pixels(whole.getvalue(), max_pixels=1199) == 0
