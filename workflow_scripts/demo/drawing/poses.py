"""Poses as plain joint angles, which can be made, stored and interpolated over time."""

from dataclasses import astuple, dataclass

import numpy as np

from workflow_scripts.demo.drawing.seeds import weighted


@dataclass(frozen=True)
class Pose:
    """Joint angles in degrees, as the figure faces us or turns its back; left and right are the person's own.

    Attributes:
        lean, tilt: of the trunk, and of the head against the trunk; positive to the image's right.
        turn: of the head, -1 (image's left) to 1.
        left_shoulder, right_shoulder: of the upper arm, 0 hangs down, 90 points outward, 180 up.
        left_elbow, right_elbow: of the forearm against the upper arm; negative bends inward.
        left_hip, right_hip: of the thigh, 0 points down, positive outward.
        left_knee, right_knee: of the shin against the thigh; negative bends inward.
        left_lift, right_lift: how far the knee is raised towards us, 0 to 1.
    """

    lean: float = 0.0
    tilt: float = 0.0
    turn: float = 0.0
    left_shoulder: float = 12.0
    right_shoulder: float = 12.0
    left_elbow: float = -6.0
    right_elbow: float = -6.0
    left_hip: float = 4.0
    right_hip: float = 4.0
    left_knee: float = -3.0
    right_knee: float = -3.0
    left_lift: float = 0.0
    right_lift: float = 0.0


POSES: dict[str, Pose] = {
    "stand": Pose(),
    "relaxed": Pose(lean=3, left_hip=12, left_knee=-6, left_shoulder=20, left_elbow=-30),
    "hips": Pose(left_shoulder=42, right_shoulder=42, left_elbow=-108, right_elbow=-108, left_hip=8, right_hip=8),
    "wave": Pose(tilt=-4, left_shoulder=128, left_elbow=42),
    "arms_up": Pose(left_shoulder=152, right_shoulder=152, left_elbow=12, right_elbow=12, left_hip=9, right_hip=9),
    "walk": Pose(lean=2, left_shoulder=24, right_shoulder=18, left_elbow=-44, left_hip=3, right_hip=7, left_lift=0.55),
    "stride": Pose(lean=4, left_hip=26, right_hip=20, left_knee=-8, right_knee=6, left_elbow=-50, right_elbow=-40,
                   left_shoulder=30, right_shoulder=34),
    "cross_legged": Pose(left_hip=70, right_hip=70, left_knee=-152, right_knee=-152, left_shoulder=28,
                         right_shoulder=28, left_elbow=-46, right_elbow=-46),
    "perch": Pose(left_lift=0.85, right_lift=0.85, left_hip=10, right_hip=10, left_knee=-8, right_knee=-8,
                  left_shoulder=20, right_shoulder=20, left_elbow=-38, right_elbow=-38),
    "dance": Pose(lean=-6, tilt=6, left_shoulder=140, right_shoulder=62, left_elbow=30, right_elbow=-70, left_hip=26,
                  left_knee=-34, right_hip=6),
    "point": Pose(turn=0.6, left_shoulder=86, left_elbow=4, right_shoulder=30, right_elbow=-60),
    "crossed": Pose(left_shoulder=20, right_shoulder=20, left_elbow=-118, right_elbow=-112),
}  # fmt: skip
COMMON = {"stand": 2.0, "relaxed": 2.0, "walk": 1.5, "stride": 1.2, "wave": 1.2, "hips": 1.0, "arms_up": 0.9,
          "cross_legged": 0.8, "perch": 0.8, "dance": 0.8, "point": 0.7, "crossed": 0.6}  # fmt: skip


def interpolate(first: Pose, second: Pose, share: float) -> Pose:
    """Return the pose between two; ``share`` 0 is the first, 1 the second."""
    return Pose(*(a + (b - a) * share for a, b in zip(astuple(first), astuple(second), strict=True)))


def mirrored(pose: Pose) -> Pose:
    """Return the pose with left and right changed over."""
    return Pose(
        -pose.lean, -pose.tilt, -pose.turn, pose.right_shoulder, pose.left_shoulder, pose.right_elbow, pose.left_elbow,
        pose.right_hip, pose.left_hip, pose.right_knee, pose.left_knee, pose.right_lift, pose.left_lift,
    )  # fmt: skip


def make_pose(rng: np.random.Generator, name: str | None = None) -> Pose:
    """Return a named pose with natural variation; without a name, a random one."""
    base = POSES[name or weighted(rng, COMMON)]
    noise = rng.normal(size=13)
    base = mirrored(base) if rng.random() < 0.5 else base
    turn = float(np.clip(base.turn + 0.35 * noise[2], -1, 1))
    spread = (2.5, 5.0, 0.0, 6.0, 6.0, 8.0, 8.0, 2.0, 2.0, 2.0, 2.0, 0.0, 0.0)
    moved = [value + scale * step for value, scale, step in zip(astuple(base), spread, noise.tolist(), strict=True)]
    moved[2] = turn
    return Pose(*moved)
