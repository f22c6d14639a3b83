"""Decisions of people about frames: by content, the last word counts, nothing is misread."""

import hashlib

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.lora.culls import CULLED, Culls

ONE, TWO, THREE = (hashlib.sha256(text.encode()).hexdigest() for text in ("one", "two", "three"))


@pytest.fixture
def table(tmp_path):
    """Write a review file of these lines, by default with all columns, and give its path."""

    def write(*lines, name="05_composite.csv", header="sha256,path,decision,reason"):
        path = tmp_path / name
        path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
        return path

    return write


def test_a_rejected_frame_is_culled_for_the_reason_that_was_given(table):
    culls = Culls.read([table(f'{ONE},a.png,reject,"hand, cut off"', f"{TWO},b.png,reject,", f"{THREE},c.png,keep,good")])
    assert [culls.reason(sha256) for sha256 in (ONE, TWO, THREE)] == [f"{CULLED}: hand, cut off", CULLED, None]
    assert culls.reason("0" * 64) is None


def test_the_path_does_not_matter(table):
    assert Culls.read([table(f"{ONE},elsewhere/é 7.png,reject,")]).reason(ONE) == CULLED


def test_only_sha256_and_decision_have_to_be_there(table):
    assert Culls.read([table(f"{ONE},reject", header="sha256,decision")]).reason(ONE) == CULLED


def test_a_reason_of_several_lines_becomes_one(table):
    assert Culls.read([table(f'{ONE},a,reject," blurred\n  hand "')]).reason(ONE) == f"{CULLED}: blurred hand"


@pytest.mark.parametrize(("decisions", "reason"), [(("reject", "keep"), None), (("keep", "reject"), CULLED)])
def test_the_last_line_of_a_file_on_a_frame_counts(table, decisions, reason):
    assert Culls.read([table(*(f"{ONE},a,{decision}," for decision in decisions))]).reason(ONE) == reason


@pytest.mark.parametrize("turned", [False, True])
def test_a_frame_that_one_file_rejects_stays_rejected(table, turned):
    paths = [table(f"{ONE},a,reject,fringe"), table(f"{ONE},a,keep,", name="06_caption.csv")]
    assert Culls.read(paths[::-1] if turned else paths).reason(ONE) == f"{CULLED}: fringe"


def test_blanks_and_capitals_do_not_count(table):
    assert Culls.read([table(f" {ONE.upper()} ,a, Reject ,")]).reason(ONE) == CULLED


def test_no_files_mean_no_decisions():
    culls = Culls.read([])
    assert (culls.reason(ONE), culls.unused()) == (None, [])


@pytest.mark.parametrize("row", [f"{ONE},a,remove,", f"{ONE},a,,", ",a,reject,"])
def test_what_is_no_decision_is_refused_with_its_line(table, row):
    with pytest.raises(StepError, match=r"05_composite\.csv, line 3: needs a sha256 and a decision \(keep or reject\), has "):
        Culls.read([table(f"{TWO},b,keep,", row)])


def test_a_file_without_decisions_is_refused(table):
    with pytest.raises(StepError, match=r"needs sha256 and decision among its columns, has sha256, path"):
        Culls.read([table(header="sha256,path")])


def test_decisions_that_fit_no_frame_are_named(table):
    culls = Culls.read([table(f"{ONE},z.png,reject,", f"{TWO},,keep,", f"{THREE},c.png,reject,")])
    culls.reason(THREE)
    assert culls.unused() == sorted([f"z.png ({ONE})", f"(no path) ({TWO})"])
