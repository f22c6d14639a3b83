"""The kinds of things: shape, usual size, place and group of each; painters register here."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from workflow_scripts.demo.drawing.canvas import Pen, Points, shaded, smooth
from workflow_scripts.demo.drawing.patterns import ornament
from workflow_scripts.demo.drawing.specs import ThingSpec


class ThingPen(Pen):
    """A pen for one thing: the shape stands on y = 1, is 1 high and as wide as its kind's aspect."""

    def __init__(self, spec: ThingSpec, aspect: float, height: float) -> None:
        super().__init__((-0.03, -0.03, aspect + 0.03, 1.03), height)
        self.spec = spec

    def body(self, points: Points, curved: bool = True) -> None:
        """Fill the main shape in the main colour and lay the thing's pattern over it."""
        outline = smooth(points) if curved else points
        self.polygon(outline, self.spec.rgb)
        marks = ornament(self.spec, outline)
        if marks:
            self.stamp(outline, marks, self.spec.accent)


Painter = Callable[[ThingPen, ThingSpec], None]


@dataclass(frozen=True)
class Kind:
    """How one kind of thing is drawn.

    Attributes:
        paint: painter in unit coordinates.
        aspect: width over height.
        size: usual height in a scene, as a fraction of a standing person's.
        group: "building", "food", "nature", "animal", "vehicle" or "object".
    """

    paint: Painter
    aspect: float
    size: float
    group: str


KINDS: dict[str, Kind] = {}


def kind(name: str, aspect: float, size: float, group: str) -> Callable[[Painter], Painter]:
    """Register a painter under the name of its kind."""

    def register(paint: Painter) -> Painter:
        KINDS[name] = Kind(paint, aspect, size, group)
        return paint

    return register


def thing_sprite(spec: ThingSpec, height: float) -> Image.Image:
    """Return one thing as a shaded RGBA sprite, ``height`` final pixels high, with a narrow empty margin."""
    how = KINDS[spec.kind]
    pen = ThingPen(spec, how.aspect, height)
    how.paint(pen, spec)
    return shaded(pen.finish())
