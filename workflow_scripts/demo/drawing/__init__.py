"""Drawn scenes with known truth: the sample data of the demo and the training data of its small models."""

from workflow_scripts.demo.drawing.backdrop import BACKGROUNDS
from workflow_scripts.demo.drawing.kinds import KINDS
from workflow_scripts.demo.drawing.palette import COLOURS
from workflow_scripts.demo.drawing.poses import POSES, Pose, interpolate, make_pose
from workflow_scripts.demo.drawing.scene import draw_scene
from workflow_scripts.demo.drawing.seeds import rng_for
from workflow_scripts.demo.drawing.specs import (
    Drawing,
    PersonSpec,
    PersonTruth,
    Placement,
    ThingSpec,
    ThingTruth,
    make_person,
    make_thing,
)
from workflow_scripts.demo.drawing.words import caption, tags

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "KINDS",
    "POSES",
    "Drawing",
    "PersonSpec",
    "PersonTruth",
    "Placement",
    "Pose",
    "ThingSpec",
    "ThingTruth",
    "caption",
    "draw_scene",
    "interpolate",
    "make_person",
    "make_pose",
    "make_thing",
    "rng_for",
    "tags",
]
