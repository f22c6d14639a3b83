"""Pictures to what a segmenter finds in them, in batches; an image that it fails at costs nothing but itself."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from PIL import Image

from workflow_scripts.autotag.pictures import Picture
from workflow_scripts.autotag.segmenters.base import Found, Segmenter
from workflow_scripts.core.step import StepError, log

_MOST_BYTES = 1 << 29  # of images that wait for their batch to fill
_NO_MEMORY = ("out of memory", "allocate memory")  # how the allocators of GPU and CPU put it
_PROBE_SIDE = 64  # pixels


def searched(pictures: Iterable[Picture], load: Callable[[], Segmenter]) -> Iterator[Picture]:
    """The pictures in their order, each with what was found in it.

    What is given to the segmenter together depends on the pictures alone. Those with an error or without words are not given to it.

    Args:
        pictures: of one shard.
        load: gives the segmenter; called when a picture needs it.

    Raises:
        StepError: the segmenter fails whatever it is given, or its memory does not suffice.
    """
    waiting: list[Picture] = []
    wanted = weight = 0
    for picture in pictures:
        waiting.append(picture)
        wanted += _is_wanted(picture)
        weight += picture.weight
        if wanted and (wanted >= load().batch or weight >= _MOST_BYTES):
            yield from _search(waiting, load())
            waiting, wanted, weight = [], 0, 0
        elif not wanted:
            yield from waiting
            waiting, weight = [], 0
    yield from _search(waiting, load()) if wanted else waiting


def _is_wanted(picture: Picture) -> bool:
    return picture.image is not None and picture.words is not None


def _search(waiting: list[Picture], segmenter: Segmenter) -> list[Picture]:
    wanted = [picture for picture in waiting if _is_wanted(picture)]
    found = segmented([picture.image for picture in wanted if picture.image], [picture.words or () for picture in wanted], segmenter)
    for picture, segments in zip(wanted, found, strict=True):
        if isinstance(segments, str):
            picture.error, picture.image = segments, None
            log.warning("%s: the segmenter fails at this image: %s", picture.sample.member, segments.removeprefix("segment: "))
        else:
            picture.found = segments
    return waiting


def segmented(images: Sequence[Image.Image], words: Sequence[Sequence[str]], segmenter: Segmenter) -> list[list[Found] | str]:
    """What is found in each image, or `segment: text` where the segmenter fails at it and at no other.

    Raises:
        StepError: its memory does not suffice.
        Exception: of the segmenter, where it fails whatever it is given.
    """
    try:
        return list(segmenter.segment(images, words))
    except Exception as error:  # noqa: BLE001 - at an odd image a library may raise anything
        _refuse_no_memory(error)
        return [_alone(image, its, segmenter) for image, its in zip(images, words, strict=True)]


def _alone(image: Image.Image, words: Sequence[str], segmenter: Segmenter) -> list[Found] | str:
    try:
        return segmenter.segment([image], [words])[0]
    except Exception as error:  # noqa: BLE001 - at an odd image a library may raise anything
        _refuse_no_memory(error)
        # Is it the image, or has the model or its device broken? Then a grey square fails as well, and the job has to.
        segmenter.segment([Image.new("RGB", (_PROBE_SIDE, _PROBE_SIDE), (128, 128, 128))], [["thing"] if segmenter.takes_words else []])
        return f"segment: {' '.join(str(error).split())[:200] or type(error).__name__}"


def _refuse_no_memory(error: Exception) -> None:
    """Memory is no fault of an image: the job fails, and may be tried again with more of it."""
    if isinstance(error, StepError):
        raise error
    if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _NO_MEMORY):
        raise StepError("the segmenter ran out of memory: lower autotag.segmenter.batch_images or imgsz, or give the job more") from error
