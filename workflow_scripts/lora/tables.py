"""The tables that the steps of `lora` hand on.

Frames are named by `frame_id` and known by `sha256`, the content of the frame's own file, from the first step to the last. `path` is
where the image of a row lies, below the workspace's results; its file's own content is `file_sha256`. Every row of a table has an
`outcome`, and a `reason` where that is not what one hopes for; each step passes on all rows that it was given, or says in its ledger
what became of them.
"""

import pyarrow as pa

from workflow_scripts.core.tables import Columns
from workflow_scripts.core.tables import about as about
from workflow_scripts.core.tables import read as read
from workflow_scripts.core.tables import write as write

KEYPOINTS = 17  # of COCO: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right
FACE_AND_HAIR, UPPER_BODY, FULL_BODY = CATEGORIES = ("face_and_hair", "upper_body", "full_body")
NO_PERSON, NO_FACE, UNCATEGORIZED, CROWD = REJECTED = ("no_person_detected", "review_no_face", "uncategorized", "too_many_people")

_FRAME: Columns = (("frame_id", pa.string()), ("video", pa.string()), ("n", pa.int32()), ("sha256", pa.string()))
_OUTCOME: Columns = (("outcome", pa.string()), ("reason", pa.string()))
_BOX = pa.list_(pa.float32(), 4)  # x1, y1, x2, y2 in pixels of the frame
_KEYPOINTS = pa.list_(pa.float32(), 3 * KEYPOINTS)  # x, y in pixels of the frame, confidence
PERSON = pa.struct([("box", _BOX), ("confidence", pa.float32()), ("keypoints", _KEYPOINTS)])

# 01, a file a video: a row a frame, in order; where frames are missing, a row with what went wrong, and no `sha256`. `time` in
# seconds from the first frame. Beside the rows (`about`): video, path, expected, extracted, errors, duration, fps, rotation, codec.
FRAMES: Columns = (
    *_FRAME,
    ("path", pa.string()),
    ("time", pa.float64()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    *_OUTCOME,  # frame | error
)
# 02 pose, a file a video: the frames that are there. `people` from box confidence 0.05 on, largest box first; `sharpness` is the
# variance of the Laplacian over the whole image.
POSES: Columns = (*_FRAME, ("people", pa.list_(PERSON)), ("sharpness", pa.float64()), *_OUTCOME)  # pose | error
# 02 sort, a file a video: every row of FRAMES. `category` is one of CATEGORIES or REJECTED, empty for an error; the person is the one
# that the thresholds choose, null for none.
SORTED: Columns = (
    *_FRAME,
    ("path", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("category", pa.string()),
    ("person_count", pa.int32()),
    ("person", PERSON),
    ("sharpness", pa.float64()),
    *_OUTCOME,  # candidate | rejected | error
)
# 03, a file a video: every candidate of SORTED. `path` is an RGBA picture of the frame's size, alpha the mask.
MASKS: Columns = (
    *_FRAME,
    ("category", pa.string()),
    ("path", pa.string()),
    ("file_sha256", pa.string()),
    *_OUTCOME,  # masked | error
)
# 04 measure, a file a video: every row of MASKS. Areas are parts of the frame; `contour_areas` descending, `solidities` those of the
# same contours. `sharpness` is null where the subject is too small to tell. `edges` of the frame that the mask touches: left, top,
# right, bottom. `uncertainty` is the mean of 4a(1 - a) over the pixels that are not quite transparent.
METRICS: Columns = (
    *_FRAME,
    ("category", pa.string()),
    ("path", pa.string()),
    ("file_sha256", pa.string()),
    ("contour_areas", pa.list_(pa.float64())),
    ("solidities", pa.list_(pa.float64())),
    ("area_fraction", pa.float64()),
    ("edges", pa.list_(pa.string())),
    ("holes", pa.int32()),
    ("uncertainty", pa.float64()),
    ("sharpness", pa.float64()),
    ("sharpness_pixels", pa.int32()),
    ("brightness", pa.float64()),
    ("pose", pa.float64()),
    ("phash", pa.uint64()),
    *_OUTCOME,  # measured | error
)
# 04 select, one file: every row of the workspace's METRICS, by category, selected ones first by rank. `path` of a selected one is its
# link in the staging folder, else that of its mask.
SELECTION: Columns = (
    *METRICS[:-2],
    ("contours", pa.int32()),
    ("solidity", pa.float64()),
    ("sharpness_percentile", pa.float64()),
    ("score", pa.float64()),
    ("rank", pa.int32()),
    *_OUTCOME,  # selected | passed over | failed | culled | error
)
# 05, one file: every selected row of SELECTION. `subject_sha256` is the content of the RGBA picture.
COMPOSITES: Columns = (
    *_FRAME,
    ("category", pa.string()),
    ("path", pa.string()),
    ("file_sha256", pa.string()),
    ("subject_path", pa.string()),
    ("subject_sha256", pa.string()),
    ("background", pa.string()),
    ("background_sha256", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    *_OUTCOME,  # composited | culled | error
)
# 06, one file: every row of COMPOSITES. `caption` is what the model said after cleaning, or what a person made of it; `text` is what
# stands in the text file.
CAPTIONS: Columns = (
    *COMPOSITES[:-2],
    ("caption", pa.string()),
    ("text", pa.string()),
    ("text_path", pa.string()),
    ("source", pa.string()),  # back end and model, or "a person"
    *_OUTCOME,  # captioned | lint | blocked | culled | error
)
# 07, one file: every row of CAPTIONS. `name` of the pair in the export, without suffix.
EXPORTED: Columns = (
    *CAPTIONS[:-2],
    ("name", pa.string()),
    ("bucket", pa.string()),
    *_OUTCOME,  # exported | culled | lint | blocked | error
)
