"""What every segmenter is: images and words in, what it found in each of them out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True, slots=True)
class Found:
    """One detection, as the library gives it.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the image, x2 and y2 where it ends; not rounded, and perhaps not inside the image.
        confidence: from 0 to about 1.
        class_id: that the detection gave; 0 where the segmenter knows no classes.
        label: the word of that class, None where the segmenter has no words.
        mask_area: pixels of the image that the mask covers, None without a mask.
    """

    box: tuple[float, float, float, float]
    confidence: float
    class_id: int
    label: str | None
    mask_area: int | None


class Segmenter(ABC):
    """A model on its device.

    Attributes:
        batch: images that are worth giving at once; any other number works too.
        takes_words: it finds what words name; else it finds everything and looks at no words.
        fingerprint: of all that its results depend on beside the image and the words, 16 hex digits.
    """

    batch: int
    takes_words: bool
    fingerprint: str

    @abstractmethod
    def segment(self, images: Sequence[Image.Image], words: Sequence[Sequence[str]]) -> list[list[Found]]:
        """What is found in each image.

        Args:
            images: RGB, upright, of any sizes.
            words: what to look for in each of them; as many lists as images.

        Raises:
            StepError: memory does not suffice for a single image.
        """
