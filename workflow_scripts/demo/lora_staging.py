"""How the people of the lora demo stand before the camera, and what the pipeline should say of what it then sees."""

from collections.abc import Sequence

from workflow_scripts.demo.drawing import PersonSpec, PersonTruth, Placement
from workflow_scripts.demo.drawing.skeleton import KEYPOINTS, measures_of
from workflow_scripts.lora.tables import FACE_AND_HAIR, FULL_BODY, NO_FACE, NO_PERSON, UNCATEGORIZED, UPPER_BODY

FACE, UPPER, FULL = CUTS = ("face", "upper", "full")  # down to the chest, to the thighs, to the ground
UPRIGHT = ("stand", "relaxed", "hips", "point", "crossed")  # poses that fit into any cut
SEEN = 2  # visibility of a keypoint that nothing hides


def stage(spec: PersonSpec, cut: str, share: float, *, top: float, x: float) -> Placement:
    """Where a person has to stand so that the frame ends between two parts of the body.

    Args:
        spec: who it is.
        cut: one of `CUTS`: the frame ends between shoulders and hips, between hips and ankles, or below the feet.
        share: where between them, 0 to 1.
        top: crown of the head, as a fraction of the frame's height.
        x: centre, as a fraction of the frame's width.
    """
    m = measures_of(spec)
    # From the crown down, in units of standing height, as `skeleton.joints` builds a figure.
    shoulder = 2.1 * m.head + 0.065
    hip = shoulder - 0.035 + m.trunk
    ankle = hip + 2 * m.leg
    ground = ankle + 0.6 * m.limb
    low, high = {FACE: (shoulder, hip), UPPER: (hip, ankle), FULL: (ground, 1.2 * ground)}[cut]
    height = (1 - top) / (low + share * (high - low))
    return Placement(x, top + ground * height, height)


def largest(people: Sequence[PersonTruth]) -> PersonTruth | None:
    """The person with the largest box; None where nobody is."""
    return max(people, key=lambda person: (person.box[2] - person.box[0]) * (person.box[3] - person.box[1]), default=None)


def true_category(people: Sequence[PersonTruth]) -> str:
    """What the pipeline should sort a frame under, by what can be seen of the largest person."""
    person = largest(people)
    if person is None:
        return NO_PERSON
    seen = {name for name, (_, _, shown) in zip(KEYPOINTS, person.keypoints, strict=True) if shown == SEEN}
    face = "nose" in seen and bool(seen & {"left_eye", "right_eye"})
    shoulders, hips, ankles = (bool(seen & {f"left_{part}", f"right_{part}"}) for part in ("shoulder", "hip", "ankle"))
    if not shoulders:
        return UNCATEGORIZED
    if not face:
        return NO_FACE
    if not hips:
        return FACE_AND_HAIR
    return FULL_BODY if ankles else UPPER_BODY
