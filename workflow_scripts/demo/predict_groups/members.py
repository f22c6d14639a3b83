"""The files of the demo's projects: groups of drawn images, some of them odd on purpose, and what else lies in such projects."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from PIL import Image

from workflow_scripts.demo.drawing import rng_for
from workflow_scripts.demo.people_data import encode
from workflow_scripts.demo.predict_groups.pictures import DEFECTS, Box, Series, draw_figure, draw_series
from workflow_scripts.predict.stages import STAGES

# Folders of a project, which its groups take by turns; empty for its root.
DIRECTORIES = {
    "spring": ("", 'it\'s "quoted" & <b>', "100% #1 {wildcard}", "Ünïcödé 写真 🙂"),
    "autumn": ("-rf", "a/b c", "line\nbreak"),
    "studio": ("day 1", "day 2/take #2"),
}
FOLDER = "studio"  # the project that is no zip; all images of one of its groups have one timestamp, by which it is grouped
COPY_OF, COPYING = "spring", "autumn"  # every eighth group of the first is in the second too
FIRST = datetime(2025, 3, 14, 10, 15)  # noqa: DTZ001 - names give no zone
BETWEEN_GROUPS, BETWEEN_STAGES = timedelta(minutes=30), timedelta(seconds=40)
SUFFIXES = {1: "png", 5: "JPEG", 7: "webp"}  # by the group's number, of twelve; the others are JPEG
SIDEWAYS = 2  # of twelve: stored turned, with an orientation that turns the image upright
ORIENTATION, TURN = 6, Image.Transpose.ROTATE_90
STAGE_TEXTS = {stage: text for text, stage in STAGES}
UNGROUPED = ("cover.jpg", "scans/contact sheet.webp", "singles/20250401_120000_stage2_upscaled_1.jpg")
SKIPPED = {
    "notes.txt": b"Not an image by its name.\n",
    ".DS_Store": b"\0\0\0\1Bud1",
    "__MACOSX/._cover.jpg": b"\0\5\26\7" + b"\0" * 60,
}
BOMB = 1_000_000  # bytes of zeros, which expand a thousand times


@dataclass(frozen=True)
class Member:
    """A file of a project.

    Attributes:
        project: its id.
        path: below the project, or as a zip names it.
        data: its bytes.
        kind: `image`, `copy` (the same bytes are in another project), `unreadable`, `ungrouped`, `skipped` (no image by its name) or
            `refused` (never read).
        group: path of the first image of its group; empty for none.
        stage: of the image; None outside of groups.
        defect: of the image; empty for none.
        is_best: whether it is the best readable image of its group.
        box: of the figure; None outside of groups.
        is_link: whether a zip holds it as a symbolic link.
    """

    project: str
    path: str
    data: bytes
    kind: str
    group: str = ""
    stage: float | None = None
    defect: str = ""
    is_best: bool = False
    box: Box | None = None
    is_link: bool = False


def project_members(project: str, groups: int, seed: int) -> Iterator[Member]:
    """All files of a project.

    Args:
        project: a key of `DIRECTORIES`.
        groups: how many ordinary groups.
        seed: of the demo.
    """
    for number in range(groups):
        yield from ordinary_group(project, number, seed)
    yield from odd_groups(project, groups, seed)
    for path in UNGROUPED:
        image = draw_figure(rng_for(seed, "predict", project, path)).image
        yield Member(project, path, encode(image, PurePosixPath(path).suffix[1:]), "ungrouped")
    for path, data in SKIPPED.items():
        yield Member(project, path, data, "skipped")
    if project != FOLDER:
        yield Member(project, "../escape.png", encode(image, "png"), "refused")
        yield Member(project, "latest.jpg", b"cover.jpg", "refused", is_link=True)
        yield Member(project, "zeros.png", bytes(BOMB), "refused")


def ordinary_group(project: str, number: int, seed: int) -> list[Member]:
    """A group whose images can all be read; every fifth has a defect on its last image."""
    is_copy = project == COPYING and number % 8 == 3
    defect = DEFECTS[number // 5 % len(DEFECTS)] if number % 5 == 4 else ""
    series = draw_series(rng_for(seed, "predict", COPY_OF if is_copy else project, str(number)), defect)
    return group_members(project, number, series, kind="copy" if is_copy else "image")


def odd_groups(project: str, number: int, seed: int) -> Iterator[Member]:
    """A group whose first image is cut off, one without any readable image and, in a zip, one without dates; numbers count on."""
    cut, lost, undated = (draw_series(rng_for(seed, "predict", project, name), "") for name in ("cut", "lost", "undated"))
    yield from group_members(project, number, cut, unreadable={0})
    yield from group_members(project, number + 1, lost, unreadable=range(len(lost.stages)))
    if project != FOLDER:
        yield from group_members(project, number + 2, undated, directory="undated", dated=False)


def group_members(
    project: str,
    number: int,
    series: Series,
    *,
    kind: str = "image",
    unreadable: Collection[int] = (),
    directory: str | None = None,
    dated: bool = True,
) -> list[Member]:
    """The files of a group.

    Args:
        project: its id.
        number: of the group, which decides its directory, time and format.
        series: what it shows.
        kind: of its readable images.
        unreadable: places of the images whose files no decoder can read.
        directory: another than its number's.
        dated: whether the names begin with a timestamp.
    """
    places = DIRECTORIES[project]
    folder = places[number % len(places)] if directory is None else directory
    paths = [f"{folder}/{name}".removeprefix("/") for name in file_names(project, number, series.stages, dated=dated)]
    readable = [place for place in range(len(paths)) if place not in unreadable]
    best = max(readable, key=lambda place: series.qualities[place], default=None)
    members = []
    for place, (path, image, stage) in enumerate(zip(paths, series.images, series.stages, strict=True)):
        data = stored(image, number)
        is_last = place == len(paths) - 1
        members.append(
            Member(
                project,
                path,
                data=data if place in readable else spoilt(data, place),
                kind=kind if place in readable else "unreadable",
                group=paths[0],
                stage=stage,
                defect=series.defect if is_last else "",
                is_best=place == best,
                box=series.box,
            )
        )
    return members


def spoilt(data: bytes, place: int) -> bytes:
    """A file that no decoder can read whole: cut off, empty or no image, by its place in the group."""
    return (data[: len(data) // 2], b"", b"This is no image.\n")[place % 3]


def file_names(project: str, number: int, stages: tuple[float, ...], *, dated: bool) -> list[str]:
    """Names such as `20250314_101500_stage1_generated_7.jpg`, in the group's order."""
    suffix = SUFFIXES.get(number % 12, "jpg")
    step = timedelta(0) if project == FOLDER else BETWEEN_STAGES
    times = (FIRST + number * BETWEEN_GROUPS + place * step for place in range(len(stages)))
    stamps = [f"{time:%Y%m%d_%H%M%S}_" if dated else "" for time in times]
    return [f"{stamp}{STAGE_TEXTS[stage]}_{number}.{suffix}" for stamp, stage in zip(stamps, stages, strict=True)]


def stored(image: Image.Image, number: int) -> bytes:
    """The bytes of an image file in the format of the group's number."""
    kind = SUFFIXES.get(number % 12, "jpg")
    if number % 12 == SIDEWAYS:
        exif = Image.Exif()
        exif[0x0112] = ORIENTATION
        return encode(image.transpose(TURN), "jpg", exif=exif.tobytes())
    return encode(image, "jpg" if kind == "JPEG" else kind)
