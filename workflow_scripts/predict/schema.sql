-- The database of a project, version 1. No table is STRICT, since a single one would shut the whole file to SQLite before 3.37;
-- the checks hold the types instead. Each allows NULL where the column may be NULL.

CREATE TABLE ai_decisions (
    group_id TEXT PRIMARY KEY NOT NULL,
    timestamp TEXT NOT NULL,
    project_id TEXT NOT NULL,
    directory TEXT,
    batch_number INTEGER,
    images TEXT NOT NULL,
    ai_selected_index INTEGER,
    ai_crop_coords TEXT,
    ai_confidence REAL,
    user_selected_index INTEGER,
    user_action TEXT,
    final_crop_coords TEXT,
    crop_timestamp TEXT,
    image_width INTEGER NOT NULL,
    image_height INTEGER NOT NULL,
    selection_match BOOLEAN,
    crop_match BOOLEAN,
    ai_crop_accepted BOOLEAN,

    -- SQLite goes through the checks in this order, so that those of indexes and coordinates meet valid JSON alone.
    CONSTRAINT images_json CHECK (typeof(images) = 'text' AND json_valid(images)),
    CONSTRAINT images_list CHECK (json_type(images) = 'array' AND json_array_length(images) > 0),
    CONSTRAINT ai_crop_coords_json CHECK (ai_crop_coords IS NULL OR (typeof(ai_crop_coords) = 'text' AND json_valid(ai_crop_coords))),
    CONSTRAINT final_crop_coords_json CHECK (
        final_crop_coords IS NULL OR (typeof(final_crop_coords) = 'text' AND json_valid(final_crop_coords))
    ),
    CONSTRAINT ai_crop_coords_box CHECK (
        ai_crop_coords IS NULL OR (
            json_type(ai_crop_coords) = 'array' AND json_array_length(ai_crop_coords) = 4
            AND json_type(ai_crop_coords, '$[0]') IN ('integer', 'real') AND json_type(ai_crop_coords, '$[1]') IN ('integer', 'real')
            AND json_type(ai_crop_coords, '$[2]') IN ('integer', 'real') AND json_type(ai_crop_coords, '$[3]') IN ('integer', 'real')
            AND json_extract(ai_crop_coords, '$[0]') >= 0 AND json_extract(ai_crop_coords, '$[1]') >= 0
            AND json_extract(ai_crop_coords, '$[0]') < json_extract(ai_crop_coords, '$[2]')
            AND json_extract(ai_crop_coords, '$[1]') < json_extract(ai_crop_coords, '$[3]')
            AND json_extract(ai_crop_coords, '$[2]') <= 1 AND json_extract(ai_crop_coords, '$[3]') <= 1
        )
    ),
    CONSTRAINT final_crop_coords_box CHECK (
        final_crop_coords IS NULL OR (
            json_type(final_crop_coords) = 'array' AND json_array_length(final_crop_coords) = 4
            AND json_type(final_crop_coords, '$[0]') IN ('integer', 'real') AND json_type(final_crop_coords, '$[1]') IN ('integer', 'real')
            AND json_type(final_crop_coords, '$[2]') IN ('integer', 'real') AND json_type(final_crop_coords, '$[3]') IN ('integer', 'real')
            AND json_extract(final_crop_coords, '$[0]') >= 0 AND json_extract(final_crop_coords, '$[1]') >= 0
            AND json_extract(final_crop_coords, '$[0]') < json_extract(final_crop_coords, '$[2]')
            AND json_extract(final_crop_coords, '$[1]') < json_extract(final_crop_coords, '$[3]')
            AND json_extract(final_crop_coords, '$[2]') <= 1 AND json_extract(final_crop_coords, '$[3]') <= 1
        )
    ),
    CONSTRAINT ai_selected_index_range CHECK (
        ai_selected_index IS NULL
        OR (typeof(ai_selected_index) = 'integer' AND ai_selected_index >= 0 AND ai_selected_index < json_array_length(images))
    ),
    CONSTRAINT user_selected_index_range CHECK (
        user_selected_index IS NULL
        OR (typeof(user_selected_index) = 'integer' AND user_selected_index >= 0 AND user_selected_index < json_array_length(images))
    ),
    CONSTRAINT ai_confidence_range CHECK (
        ai_confidence IS NULL OR (typeof(ai_confidence) = 'real' AND ai_confidence BETWEEN 0 AND 1)
    ),
    CONSTRAINT user_action_known CHECK (user_action IS NULL OR user_action IN ('approve', 'crop', 'reject')),
    CONSTRAINT image_width_positive CHECK (typeof(image_width) = 'integer' AND image_width > 0),
    CONSTRAINT image_height_positive CHECK (typeof(image_height) = 'integer' AND image_height > 0),
    CONSTRAINT selection_match_boolean CHECK (selection_match IS NULL OR selection_match IN (0, 1)),
    CONSTRAINT crop_match_boolean CHECK (crop_match IS NULL OR crop_match IN (0, 1)),
    CONSTRAINT ai_crop_accepted_boolean CHECK (ai_crop_accepted IS NULL OR ai_crop_accepted IN (0, 1))
);

-- Groups without a readable image.
CREATE TABLE failed_groups (
    group_id TEXT PRIMARY KEY NOT NULL,
    directory TEXT,
    images TEXT NOT NULL,
    error TEXT NOT NULL,

    CONSTRAINT failed_images_json CHECK (typeof(images) = 'text' AND json_valid(images)),
    CONSTRAINT failed_images_list CHECK (json_type(images) = 'array' AND json_array_length(images) > 0)
);

-- What the predictions were made with.
CREATE TABLE meta (
    key TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);

CREATE INDEX idx_project_id ON ai_decisions (project_id);
CREATE INDEX idx_timestamp ON ai_decisions (timestamp);
CREATE INDEX idx_user_action ON ai_decisions (user_action);
CREATE INDEX idx_selection_match ON ai_decisions (selection_match);
CREATE INDEX idx_crop_match ON ai_decisions (crop_match);
CREATE INDEX idx_batch_number ON ai_decisions (batch_number);

-- Accuracies are percentages of the rows that have the value; NULL where none has it.
CREATE VIEW ai_performance AS
SELECT
    project_id,
    COUNT(*) AS total_decisions,
    COUNT(CASE WHEN selection_match = 1 THEN 1 END) AS correct_selections,
    COUNT(CASE WHEN crop_match = 1 THEN 1 END) AS correct_crops,
    100.0 * AVG(selection_match) AS selection_accuracy,
    100.0 * AVG(crop_match) AS crop_accuracy
FROM ai_decisions
GROUP BY project_id;

-- The person chose to crop, and the crop is still to be made.
CREATE VIEW incomplete_crops AS
SELECT * FROM ai_decisions WHERE user_action = 'crop' AND final_crop_coords IS NULL;

CREATE VIEW ai_mistakes AS
SELECT * FROM ai_decisions WHERE selection_match = 0 OR crop_match = 0;
