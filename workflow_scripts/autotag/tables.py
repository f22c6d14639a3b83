"""The tables and files that the steps of `autotag` hand on.

A source image is named by its shard and key (the member's path up to the first dot of its last part), a target image by its path
below the target's folder; both are known by `sha256`, the content of the file. A crop is a segment of an image: `crop_id` is
`{key}_{i}`, or `{key}_full` for the whole image. Boxes are x1, y1, x2, y2 in pixels of the upright image, inside it, x2 and y2
exclusive.
"""

import pyarrow as pa

from workflow_scripts.core.tables import Columns

TOP = 50  # of the exact nearest rows of a query that each block keeps
RECALL_AT = 10

_OUTCOME: Columns = (("outcome", pa.string()), ("reason", pa.string()))
_CONTENT: Columns = (("sha256", pa.string()), ("width", pa.int32()), ("height", pa.int32()))
# How many segments were found, how many of them were left out and why, and how many crops there are, the whole image among them.
COUNTED = ("found", "too_small", "too_thin", "beyond_max", "crops")
_COUNTS: Columns = tuple((name, pa.int32()) for name in COUNTED)
_SEGMENT: Columns = (
    ("bbox", pa.list_(pa.int32(), 4)),
    ("area", pa.int64()),  # pixels of the mask where there is one, else of the box
    ("box_area", pa.int64()),
    ("class_id", pa.int32()),  # that the detection gave; null for a whole image
    ("label", pa.string()),  # the word of that class; null where the segmenter has no words
    ("confidence", pa.float32()),  # null for a whole image
)

# 01, `images_{shard}.parquet`: every sample of a shard in the order of the tar; then what its table or its tags name and the tar lacks.
# `offset` and `size` say where the image's bytes stand in the tar. Beside the rows (`about`): `digest` of what the shard was made from,
# `files`: name → {path, size, sha256} of the shard's other files, and their `rows`, `outcomes` and `untagged`. It is
# written last: with the right digest, the shard is done.
IMAGES: Columns = (
    ("shard", pa.string()),
    ("key", pa.string()),
    ("member", pa.string()),
    ("offset", pa.int64()),
    ("size", pa.int64()),
    ("url", pa.string()),
    *_CONTENT,
    ("tags", pa.list_(pa.string())),  # as they stand in the source; none: the image is untagged and cannot vote
    *_COUNTS,
    *_OUTCOME,  # embedded | empty | error | absent
)
EMBEDDED, EMPTY, ERROR, ABSENT = "embedded", "empty", "error", "absent"

# 01, `metadata_{shard}.parquet`: a row a crop, in the order of `embeddings_{shard}.npy` [n, d] float16, each L2-normalised.
# `metadata_{shard}.json` is the same as a list, for other readers.
SEGMENTS: Columns = (
    ("key", pa.string()),
    *_SEGMENT,
    ("vlm_tags", pa.list_(pa.string())),
    ("crop_id", pa.string()),
    ("shard", pa.string()),
    *_CONTENT,
)

# 02, the crops that recall is measured with: `row` of the shard's files. Their vectors stand here, since the shard may be made again.
QUERIES: Columns = (
    ("shard", pa.string()),
    ("row", pa.int64()),
    ("crop_id", pa.string()),
    ("sha256", pa.string()),
    ("embedding", pa.list_(pa.float16())),
)

# 03, `block_{b}_exact.parquet`: of each query the TOP nearest rows of the block, by exact cosine, without those of the query's own
# image; `id` counts from 0 within the block.
EXACT: Columns = (("query", pa.int32()), ("id", pa.int64()), ("similarity", pa.float64()))

# 04, `id_to_tags.parquet`: a row a row of the index, in the order of ids.
ROWS: Columns = (
    ("shard", pa.dictionary(pa.int32(), pa.string())),
    ("key", pa.string()),
    ("crop_id", pa.string()),
    ("sha256", pa.binary(32)),
    ("label", pa.dictionary(pa.int32(), pa.string())),
    ("tags", pa.list_(pa.dictionary(pa.int32(), pa.string()))),
)

# 05, `targets/{folder}/segmentation/images.parquet`: every file of the target's folder that is an image by its name.
TARGET_IMAGES: Columns = (("image", pa.string()), ("key", pa.string()), *_CONTENT, *_COUNTS, *_OUTCOME)  # segmented | error
SEGMENTED = "segmented"
# 05, `segments.parquet`: a row a crop, by image and then by i. `file` is the saved crop below `crops/`.
TARGET_SEGMENTS: Columns = (
    ("image", pa.string()),
    ("key", pa.string()),
    ("crop_id", pa.string()),
    ("file", pa.string()),
    ("file_sha256", pa.string()),
    *_SEGMENT,
    *_CONTENT,
)
# 06, `metadata_00000.parquet`: the crops that have a vector, in the order of `embeddings_00000.npy` [n, d] float16; those that have
# none stand in `errors.parquet` with the reason.
TARGET_CROPS: Columns = TARGET_SEGMENTS
CROP_ERRORS: Columns = (("image", pa.string()), ("crop_id", pa.string()), ("file", pa.string()), ("reason", pa.string()))

# 07, `neighbours.parquet`: of each crop its k_max nearest rows of the index, nearest first, by exact cosine and then by id. Those of the
# target's own image are among them. `rank` counts from 1.
NEIGHBOURS: Columns = (
    ("image", pa.string()),
    ("sha256", pa.string()),
    ("crop_id", pa.string()),
    ("rank", pa.int32()),
    ("id", pa.int64()),
    ("similarity", pa.float64()),
    ("neighbour_shard", pa.string()),
    ("neighbour_key", pa.string()),
    ("neighbour_crop_id", pa.string()),
    ("neighbour_sha256", pa.string()),
    ("label", pa.string()),
    ("tags", pa.list_(pa.string())),
)

# How a neighbour that voted looks to a person: its segment, the crop that it is like, and how much.
EXAMPLE = pa.struct([("crop", pa.string()), ("segment", pa.string()), ("similarity", pa.float64())])
EXAMPLES = 5

# 08, `tags.parquet` (kept ones alone) and `candidates.parquet` (every tag that anything voted for, or a person named): by image, then in
# the order of votes, weight and name. `needed` is how many votes this image's tags need.
CANDIDATES: Columns = (
    ("image", pa.string()),
    ("sha256", pa.string()),
    ("tag", pa.string()),
    ("votes", pa.int32()),
    ("needed", pa.int32()),
    ("weight", pa.float64()),
    ("crops", pa.list_(pa.string())),  # crop ids that voted
    ("neighbours", pa.list_(pa.string())),  # `{shard}/{key}` of the neighbours that voted, nearest first
    ("similarity", pa.float64()),  # mean cosine of the neighbours that voted
    ("examples", pa.list_(EXAMPLE)),  # of the first EXAMPLES of `neighbours`
    *_OUTCOME,  # kept | rejected
)
KEPT, REJECTED = "kept", "rejected"
