"""Which subjects are good enough, and which of them are the best of their category: numbers in, decisions out."""

from collections import defaultdict
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from workflow_scripts.lora.tables import FACE_AND_HAIR

Row = dict[str, Any]
Verdicts = dict[str, str]  # frame_id → why not


def counted_contours(row: Row, score: dict[str, Any]) -> int:
    """How many parts of a mask are large enough to count."""
    return sum(area >= score["min_contour_area"] for area in row["contour_areas"])


def failure(row: Row, score: dict[str, Any]) -> str | None:
    """Why a measured subject is not good enough: the first reason that applies; None when it is.

    Args:
        row: of METRICS.
        score: the setting of that name.
    """
    contours = counted_contours(row, score)
    if not row["area_fraction"] or (not contours and row["area_fraction"] >= score["min_area_fraction"]):
        return "empty mask"  # or nothing but specks
    if contours > score["max_contours"]:
        return f"too many objects ({contours})"
    if row["sharpness"] is None:
        return "subject too small"
    if row["sharpness"] < score["min_sharpness"]:
        return f"too blurry ({row['sharpness']:.1f})"
    if score["min_solidity"] is not None and row["solidities"][0] < score["min_solidity"]:
        return f"solidity ({row['solidities'][0]:.3f})"
    if row["area_fraction"] < score["min_area_fraction"]:
        return f"area ({row['area_fraction']:.4f})"
    return None


def percentiles(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The middle rank of each value among all, between 0 and 1: the share below it, and half of the share equal to it, itself included."""
    given = np.asarray(values, np.float64)
    ordered = np.sort(given)
    return (np.searchsorted(ordered, given, "left") + np.searchsorted(ordered, given, "right")) / (2 * max(1, len(given)))


def add_scores(rows: list[Row], weights: dict[str, float]) -> list[Row]:
    """Give the subjects of a category `sharpness_percentile` and `score`; best first, equal ones by frame_id.

    The score is the sum of pose, sharpness percentile and brightness by their weights.
    """
    scored = []
    for row, percentile in zip(rows, percentiles([row["sharpness"] for row in rows]).tolist(), strict=True):
        score = weights["pose"] * row["pose"] + weights["sharpness"] * percentile + weights["brightness"] * row["brightness"]
        scored.append(row | {"sharpness_percentile": percentile, "score": score})
    return sorted(scored, key=lambda row: (-row["score"], row["frame_id"]))


def near_copies(rows: list[Row], distance: int, distance_video: int) -> Verdicts:
    """The subjects that are near copies of a better one that is none itself.

    Args:
        rows: of a category, best first, with `frame_id`, `video` and `phash`.
        distance: hashes that differ in fewer bits are near copies.
        distance_video: the same within a video.
    """
    hashes = np.array([row["phash"] for row in rows], np.uint64)
    places = np.arange(len(rows))  # of those that are neither passed over nor compared yet, like `hashes`
    found: Verdicts = {}
    while len(places):
        best, own = rows[places[0]], hashes[0]
        places, hashes = places[1:], hashes[1:]
        bits = np.bitwise_count(hashes ^ own)
        copies = []
        for at in np.flatnonzero(bits < max(distance, distance_video)).tolist():
            row, differing = rows[places[at]], int(bits[at])
            if differing < (max(distance, distance_video) if row["video"] == best["video"] else distance):
                found[row["frame_id"]] = f"near copy of {best['frame_id']} (distance {differing})"
                copies.append(at)
        if copies:
            places, hashes = np.delete(places, copies), np.delete(hashes, copies)
    return found


def video_limit(category: str, rows: list[Row], score: dict[str, Any]) -> int | None:
    """How many subjects of one video a category takes; None for no limit. `auto` counts the videos that the rows are of."""
    if category == FACE_AND_HAIR or score["per_video"] is None:
        return None
    if score["per_video"] == "auto":
        return ceil(2 * score["top_n"] / max(1, len({row["video"] for row in rows})))
    return int(score["per_video"])


def beyond_video(rows: list[Row], limit: int) -> Verdicts:
    """The subjects that are too many of their video, where the others are the best that are spread over its time.

    The time from a video's first subject to its last is cut into `limit` equal stretches. The best of each stretch are taken, and
    where some are empty, the best of the rest.

    Args:
        rows: of a category, best first, with `frame_id`, `video` and `n`.
        limit: how many of a video are taken.
    """
    by_video: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_video[row["video"]].append(row)
    found: Verdicts = {}
    for members in by_video.values():
        first, last = min(row["n"] for row in members), max(row["n"] for row in members)
        best: dict[int, Row] = {}
        for row in members:
            best.setdefault((row["n"] - first) * limit // (last - first + 1), row)
        taken = {row["frame_id"] for row in best.values()}
        rest = [row["frame_id"] for row in members if row["frame_id"] not in taken]
        found |= dict.fromkeys(rest[limit - len(taken) :], f"beyond per_video ({limit})")
    return found


def choose(category: str, rows: list[Row], score: dict[str, Any]) -> tuple[list[Row], Verdicts]:
    """The best of a category.

    Near copies go first, then what is too much of one video, then all beyond `top_n`.

    Args:
        category: of all rows.
        rows: its subjects that are good enough.
        score: the setting of that name.

    Returns:
        all rows with their scores, best first; and why those that are not selected are not.
    """
    ranked = add_scores(rows, score["weights"])
    passed_over = near_copies(ranked, score["duplicate_distance"], score["duplicate_distance_video"])
    left = [row for row in ranked if row["frame_id"] not in passed_over]
    limit = video_limit(category, rows, score)
    if limit is not None:
        passed_over |= beyond_video(left, limit)
        left = [row for row in left if row["frame_id"] not in passed_over]
    passed_over |= dict.fromkeys((row["frame_id"] for row in left[score["top_n"] :]), f"beyond top_n ({score['top_n']})")
    return ranked, passed_over
