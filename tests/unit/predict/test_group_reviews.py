"""Reviews of groups: what is divided, what is left out, what is reported."""

import hashlib

import pytest

from workflow_scripts.core.decisions import Reviews
from workflow_scripts.core.step import StepError
from workflow_scripts.predict import stages
from workflow_scripts.predict.group_reviews import ALONE_AFTER_SPLIT, DECISIONS, DROPPED, apply_reviews
from workflow_scripts.predict.groups import Rule, group_images

ONE, FACE, TWO, THREE = (f"a/20250101_000000_{text}.png" for text, _ in sorted(stages.STAGES, key=lambda pair: pair[1]))
B_ONE, B_TWO = "b/20250101_000000_stage1_generated.png", "b/20250101_000000_stage2_upscaled.png"
LONE = "c/x.png"
PATHS = [ONE, FACE, TWO, THREE, B_ONE, B_TWO, LONE]
CONTENTS = {path: hashlib.sha256(path.encode()).hexdigest() for path in PATHS}
GROUP_A, GROUP_B = (ONE, FACE, TWO, THREE), (B_ONE, B_TWO)
NO_STAGE = (LONE, stages.NO_STAGE)
OLD = "0" * 64


@pytest.fixture
def group(tmp_path):
    """Group the images with decisions as (path, decision) or (path, decision, sha256)."""

    def call(*rows, ungrouped="list", contents=CONTENTS):
        table = tmp_path / "groups.csv"
        lines = [f"{sha256[0] if sha256 else CONTENTS[path]},{path},{decision}" for path, decision, *sha256 in rows]
        table.write_text("\n".join(["sha256,path,decision", *lines, ""]))
        found = group_images("p", PATHS, Rule(ungrouped=ungrouped), Reviews(table, DECISIONS), contents)
        assert found.counts["grouped"] + found.counts["ungrouped"] == len(PATHS)
        return [group.paths for group in found.groups], found.ungrouped

    return call


def test_no_rows_change_nothing(group, log_text):
    assert group() == ([GROUP_A, GROUP_B], [NO_STAGE])
    assert log_text() == ""


def test_a_split_begins_a_group(group):
    assert group((TWO, "split")) == ([(ONE, FACE), (TWO, THREE), GROUP_B], [NO_STAGE])


def test_what_a_split_leaves_alone_follows_the_rule_for_images_in_no_group(group):
    assert group((FACE, "split")) == ([(FACE, TWO, THREE), GROUP_B], [(ONE, ALONE_AFTER_SPLIT), NO_STAGE])
    assert group((FACE, "split"), ungrouped="singletons") == ([(ONE,), (FACE, TWO, THREE), GROUP_B, (LONE,)], [])
    assert group((THREE, "split")) == ([(ONE, FACE, TWO), GROUP_B], [(THREE, ALONE_AFTER_SPLIT), NO_STAGE])


def test_several_splits_of_a_group(group):
    alone = [(ONE, ALONE_AFTER_SPLIT), (THREE, ALONE_AFTER_SPLIT)]
    assert group((FACE, "split"), (THREE, "split")) == ([(FACE, TWO), GROUP_B], [*alone, NO_STAGE])


def test_a_split_on_the_first_image_changes_nothing_and_is_no_stray(group, log_text):
    assert group((ONE, "split")) == ([GROUP_A, GROUP_B], [NO_STAGE])
    assert group((ONE, "split"), (LONE, "split"), ungrouped="singletons") == ([GROUP_A, GROUP_B, (LONE,)], [])
    assert log_text() == ""


def test_a_group_of_one_that_was_not_divided_keeps_its_reason():
    part = stages.Part((stages.parse(LONE),), stages.NO_STAGE)
    assert apply_reviews([part], Reviews(None, DECISIONS), CONTENTS) == [part]


@pytest.mark.parametrize("path", [ONE, TWO, THREE], ids=["first", "middle", "last"])
@pytest.mark.parametrize("ungrouped", ["list", "singletons"])
def test_a_drop_leaves_out_the_whole_group(group, path, ungrouped):
    groups, left = group((path, "drop"), ungrouped=ungrouped)
    assert groups == [GROUP_B] if ungrouped == "list" else [GROUP_B, (LONE,)]
    assert [one for one in left if one != NO_STAGE] == [(path, DROPPED) for path in sorted(GROUP_A)]


def test_a_drop_takes_the_part_of_a_divided_group_that_holds_its_image(group):
    assert group((TWO, "split"), (THREE, "drop")) == ([(ONE, FACE), GROUP_B], [(TWO, DROPPED), (THREE, DROPPED), NO_STAGE])
    assert group((TWO, "split"), (ONE, "drop")) == ([(TWO, THREE), GROUP_B], [*sorted([(ONE, DROPPED), (FACE, DROPPED)]), NO_STAGE])
    assert group((FACE, "split"), (ONE, "drop")) == ([(FACE, TWO, THREE), GROUP_B], [(ONE, DROPPED), NO_STAGE])


def test_a_group_of_one_can_be_dropped_where_it_is_a_group(group, log_text):
    assert group((LONE, "drop"), ungrouped="singletons") == ([GROUP_A, GROUP_B], [(LONE, DROPPED)])
    assert log_text() == ""


def test_kept_groups_stay_and_the_last_word_counts(group, log_text):
    assert group((ONE, "keep"), (TWO, "split"), (TWO, "keep"), (B_ONE, "drop"), (B_ONE, "keep")) == ([GROUP_A, GROUP_B], [NO_STAGE])
    assert log_text() == ""


def test_a_row_without_a_path_is_about_every_image_with_its_content(group):
    contents = CONTENTS | {B_TWO: CONTENTS[TWO]}
    assert group(("", "split", CONTENTS[TWO]), contents=contents) == (
        [(ONE, FACE), (TWO, THREE)],
        [(B_ONE, ALONE_AFTER_SPLIT), (B_TWO, ALONE_AFTER_SPLIT), NO_STAGE],
    )


def test_rows_that_fit_no_image_of_a_group_are_reported_and_do_nothing(group, log_text):
    rows = [(TWO, "split", OLD), ("gone.png", "drop", CONTENTS[ONE]), (LONE, "drop"), ("", "drop", OLD)]
    assert group(*rows) == ([GROUP_A, GROUP_B], [NO_STAGE])
    assert log_text().splitlines() == [
        f"review: split of {TWO} ({OLD}) fits no image of a group now",
        f"review: drop of gone.png ({CONTENTS[ONE]}) fits no image of a group now",
        f"review: drop of {LONE} ({CONTENTS[LONE]}) fits no image of a group now",
        f"review: drop of (any path) ({OLD}) fits no image of a group now",
    ]


def test_an_image_whose_content_is_not_known_fits_no_row(group, log_text):
    assert group((TWO, "drop"), contents={path: sha256 for path, sha256 in CONTENTS.items() if path != TWO})[0] == [GROUP_A, GROUP_B]
    assert f"review: drop of {TWO}" in log_text()


def test_the_id_is_that_of_the_divided_group(tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text(f"sha256,path,decision\n{CONTENTS[TWO]},{TWO},split\n")
    found = group_images("p", PATHS, Rule(), Reviews(table, DECISIONS), CONTENTS)
    digest = hashlib.sha256(f"{TWO}\0{THREE}".encode()).hexdigest()[:8]
    assert found.groups[1].group_id == f"p_group_20250101_000000_{digest}"
    assert found.groups[1].stages == (2.0, 3.0)


def test_what_is_no_decision_is_refused(group):
    with pytest.raises(StepError, match=r"groups\.csv, line 2: needs a sha256 and a decision \(keep or split or drop\), has 'remove'"):
        group((ONE, "remove"))
