"""Where a person's joints are, from build and pose."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.demo.drawing.poses import Pose
from workflow_scripts.demo.drawing.specs import PersonSpec

KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip


@dataclass(frozen=True)
class Measures:
    """Lengths and widths of a body as fractions of its standing height."""

    head: float
    shoulder: float
    hip: float
    trunk: float
    leg: float
    arm: float
    limb: float


MEASURES = {
    "man": Measures(head=0.070, shoulder=0.112, hip=0.060, trunk=0.285, leg=0.232, arm=0.160, limb=0.066),
    "woman": Measures(head=0.069, shoulder=0.092, hip=0.062, trunk=0.268, leg=0.240, arm=0.152, limb=0.056),
    "child": Measures(head=0.104, shoulder=0.100, hip=0.064, trunk=0.262, leg=0.182, arm=0.130, limb=0.070),
}
HEIGHTS = {"man": 1.0, "woman": 0.94, "child": 0.66}


def turned(vector: tuple[float, float], degrees: float) -> np.ndarray:
    """Return a vector turned clockwise on the picture."""
    angle = np.deg2rad(degrees)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * vector[0] - s * vector[1], s * vector[0] + c * vector[1]])


def measures_of(spec: PersonSpec) -> Measures:
    """Return a person's measures, broader or slimmer by build."""
    m, wide = MEASURES[spec.kind], 1 + 0.12 * spec.build
    return Measures(m.head, m.shoulder * wide, m.hip * wide, m.trunk, m.leg, m.arm, m.limb * (1 + 0.2 * spec.build))


def joints(spec: PersonSpec, pose: Pose, view: str) -> dict[str, np.ndarray]:
    """Return the COCO keypoints by name, with "head", "neck" and "pelvis", in units of standing height.

    The pelvis is the origin, y points down.
    """
    m = measures_of(spec)
    # Facing us, the person's left is on the image's right.
    sides = {"left": 1, "right": -1} if view == "front" else {"left": -1, "right": 1}
    found = {"pelvis": np.zeros(2), "neck": turned((0, -m.trunk), pose.lean)}
    found["head"] = found["neck"] + turned((0, -0.03 - m.head), pose.lean + pose.tilt)
    for name, side in sides.items():
        upper, fore = getattr(pose, f"{name}_shoulder"), getattr(pose, f"{name}_elbow")
        shoulder = turned((side * m.shoulder, -m.trunk + 0.035), pose.lean)
        elbow = shoulder + turned((0, m.arm), pose.lean - side * upper)
        wrist = elbow + turned((0, m.arm * 0.92), pose.lean - side * (upper + fore))
        lift = getattr(pose, f"{name}_lift")
        thigh, shin = getattr(pose, f"{name}_hip"), getattr(pose, f"{name}_knee")
        hip = np.array([side * m.hip, 0.0])
        knee = hip + turned((0, m.leg * (1 - 0.75 * lift)), -side * thigh)
        ankle = knee + turned((0, m.leg * (1 - 0.12 * lift)), -side * (thigh + shin))
        found |= {f"{name}_shoulder": shoulder, f"{name}_elbow": elbow, f"{name}_wrist": wrist}
        found |= {f"{name}_hip": hip, f"{name}_knee": knee, f"{name}_ankle": ankle}
        eye, ear = side * 0.36 + pose.turn * 0.34, side * 0.96 - pose.turn * 0.1
        for part, x, y in (("eye", eye, -0.06), ("ear", ear, 0.08)):
            found[f"{name}_{part}"] = found["head"] + turned((x * m.head, y * m.head), pose.lean + pose.tilt)
    found["nose"] = found["head"] + turned((pose.turn * 0.46 * m.head, 0.2 * m.head), pose.lean + pose.tilt)
    return found


def visibility(spec: PersonSpec, pose: Pose, view: str) -> dict[str, int]:
    """Return for each keypoint whether the body itself shows it: 2 seen, 1 hidden."""
    seen = dict.fromkeys(KEYPOINTS, 2)
    left = 1 if view == "front" else -1
    if view == "back":
        seen |= {"nose": 1, "left_eye": 1, "right_eye": 1}
        seen |= {f"{side}_wrist": 1 for side in ("left", "right") if getattr(pose, f"{side}_elbow") < -80}
    if spec.hair_style in ("long", "bob"):
        seen |= {"left_ear": 1, "right_ear": 1}
    if abs(pose.turn) > 0.6:
        seen["left_ear" if pose.turn * left > 0 else "right_ear"] = 1
    return seen
