"""The samples of a shard as decoded pictures, ahead of who takes them and within bounds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from PIL import Image

from workflow_scripts.autotag.segmenters.base import Found
from workflow_scripts.autotag.segments import Segment
from workflow_scripts.autotag.shards import Sample
from workflow_scripts.core import images
from workflow_scripts.core.embeddings import Vectors
from workflow_scripts.core.prefetch import ahead
from workflow_scripts.core.preprocess import Pixels
from workflow_scripts.core.step import StepError

_AHEAD = 48  # pictures that may wait, beside those that are decoded at the moment


@dataclass(slots=True)
class Picture:
    """A sample on its way, and in the end what became of it.

    Attributes:
        sample: of the shard; its data are gone when it is decoded.
        words: what to look for: words, everything if there are none, nothing if this is None.
        sha256: of the content; None where it could not be read.
        width: upright, in pixels; None where it could not be decoded.
        height: likewise.
        counts: `tables.COUNTED`; empty with an error.
        segments: those that have a vector.
        crop_ids: their names.
        vectors: of each of them [d] float16, L2-normalised.
        error: `stage: text`; then there are no segments.
        note: what is to be said although there is no error.
        image: on its way, decoded; as is what follows.
        found: by the segmenter.
        crops: of the segments, as the encoder takes them, each [1, size, size, 3].
    """

    sample: Sample
    words: Sequence[str] | None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    segments: list[Segment] = field(default_factory=list)
    crop_ids: list[str] = field(default_factory=list)
    vectors: list[Vectors] = field(default_factory=list)
    error: str | None = None
    note: str | None = None
    image: Image.Image | None = None
    found: list[Found] = field(default_factory=list)
    crops: list[Pixels] = field(default_factory=list)

    @property
    def weight(self) -> int:
        """Bytes of the decoded image."""
        return 3 * self.image.width * self.image.height if self.image else 0


Words = Callable[[str], Sequence[str] | None]


def decoded(samples: Iterable[Sample], words: Words, *, threads: int, max_pixels: int) -> Iterator[Picture]:
    """A picture of each sample, in order, with its image or its error.

    Args:
        samples: of a shard.
        words: gives those of a key.
        threads: that decode.
        max_pixels: above which an image is an error.

    Raises:
        StepError: there is no memory for an image of the allowed size.
    """
    return ahead(
        lambda picture: _decode(picture, max_pixels),
        (Picture(sample, words(sample.key), error=sample.error) for sample in samples),
        threads=threads,
        depth=_AHEAD + threads,
        # By what its header says: a small file may hold a picture of any size.
        weight=lambda picture: 3 * images.announced_pixels(picture.sample.data, max_pixels) if picture.sample.data else 0,
    )


def _decode(picture: Picture, max_pixels: int) -> Picture:
    """Runs in a thread."""
    data = picture.sample.data
    if data is None:
        return picture
    picture.sample = replace(picture.sample, data=None)
    picture.sha256 = images.content_hash(data)
    try:
        found = images.decode(data, max_pixels=max_pixels)
    except images.DecodeError as error:
        if not images.is_lasting(str(error)):
            raise StepError(f"{picture.sample.member}: {error}: give the job more memory, or lower images.max_pixels") from error
        picture.error = str(error)
    else:
        picture.image, picture.width, picture.height = found.image, found.width, found.height
    return picture
