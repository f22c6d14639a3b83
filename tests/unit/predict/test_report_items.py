"""predict 06: a row for each group, each image in no group and each that cannot be used; what the tables hold, counted."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.predict.report_data import Project, name
from workflow_scripts.core.decisions import Reviews
from workflow_scripts.core.step import StepError
from workflow_scripts.predict import report_items
from workflow_scripts.predict.group_reviews import DECISIONS
from workflow_scripts.predict.report_items import SCHEMA, write_items

HOSTILE = ("<script>window.hacked=1<script>", 'it\'s "quoted", twice', "line\nbreak\r\n", " #1 100% {x} \u2028 é 🙂", "-rf", "=1+2", "(2)")


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def rows_of(project, root="", reviews=None):
    """The rows of the page by their name, in order, and what was found."""
    output = project.root / "items.parquet"
    found = write_items(*project.write(reviews), root, output)
    table = pq.read_table(output)
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    assert len({row["name"] for row in rows}) == len(rows)
    return {row["name"]: row for row in rows}, found


def picture(project, path):
    return f"{project.images[path]['sha256']} {path}"


def test_a_row_is_a_group_with_its_chosen_image_first_and_the_others_by_their_scores(project):
    paths = project.put_group(5, {1: 0.25, 1.5: -1.5, 2: 2.0, 3: 0.5}, "set A/day 1", size=(400, 200), proposal=(0.1, 0.25, 0.6, 0.75))
    rows, _ = rows_of(project)
    order = [paths[place] for place in (2, 3, 0, 1)]
    hashes = [project.images[path]["sha256"] for path in order]
    (group,), _ = project.predict()
    assert list(rows) == [order[0]]
    assert rows[order[0]] == {
        "id": hashes[0],
        "name": order[0],
        "label": group["group_id"],
        "outcome": "selected",
        "reason": "stage 2 chosen",
        "link": None,
        "links": ["", "", "", ""],
        "images": [picture(project, path) for path in order],
        "captions": ["chosen · stage\xa02", "2nd · stage\xa03", "3rd · stage\xa01", "4th · stage\xa01.5"],
        "tags": ["set A/day 1"],
        "members": [
            {"name": path, "id": sha256 if place != 2 else None} for place, (path, sha256) in enumerate(zip(order, hashes, strict=True))
        ],
        "boxes": [{"image": 0, "x0": 0.1, "y0": 0.25, "x1": 0.6, "y1": 0.75, "label": "crop"}],
        "margin": 1.5,
        "confidence": group["confidence"],
        "group_size": 4.0,
        "crop_share": 0.25,
        "crop_side": 100.0,
    }


def test_equal_scores_stand_in_the_order_of_the_group(project):
    paths = project.put_group(5, {1: 0.5, 2: 0.5, 3: 0.5})
    (row,) = rows_of(project)[0].values()
    assert [member["name"] for member in row["members"]] == paths
    assert row["margin"] == 0.0


def test_what_the_table_calls_selected_comes_first_whatever_its_score(project, tmp_path):
    paths = project.put_group(5, {1: 0.9, 2: 0.5, 3: 0.7})
    groups, images = project.write()
    table = pq.read_table(groups)
    pq.write_table(table.set_column(table.schema.get_field_index("selected"), "selected", pa.array([1], pa.int32())), groups)
    write_items(groups, images, "", tmp_path / "items.parquet")
    (row,) = pq.read_table(tmp_path / "items.parquet").to_pylist()
    assert [member["name"] for member in row["members"]] == [paths[1], paths[0], paths[2]]


def test_the_first_image_of_a_group_can_be_named_only_where_it_is_the_chosen_one(project):
    first = project.put_group(5, {1: 0.9, 2: 0.5, 3: 0.1})
    last = project.put_group(6, {1: 0.1, 2: 0.5, 3: 0.9})
    rows, _ = rows_of(project)
    assert [member["id"] is None for member in rows[first[0]]["members"]] == [False, False, False]
    assert [member["id"] is None for member in rows[last[2]]["members"]] == [False, False, True]


def test_an_unreadable_image_stands_in_its_group_without_a_picture_and_in_a_row_with_its_error(project):
    paths = project.put_group(5, {2: 0.1, 3: -0.2}, "set")
    broken, unread = f"set/{name(5, 1)}", f"set/{name(5, 1.5)}"
    project.put(broken, error="decode: truncated")
    project.put(unread, error="list: encrypted")
    rows, _ = rows_of(project)
    assert list(rows) == [paths[0], unread, broken]
    group = rows[paths[0]]
    assert group["images"] == [picture(project, path) for path in paths] + [None, None]
    assert group["captions"] == ["chosen · stage\xa02", "2nd · stage\xa03", "unreadable · stage\xa01", "unreadable · stage\xa01.5"]
    assert [member["name"] for member in group["members"]] == [*paths, broken, unread]
    assert group["tags"] == ["set", "with unreadable images"]
    assert (group["margin"], group["group_size"]) == (pytest.approx(0.3), 4)
    assert (rows[broken]["outcome"], rows[broken]["reason"]) == ("error", "decode: truncated")
    assert (rows[unread]["outcome"], rows[unread]["reason"], rows[unread]["id"]) == ("error", "list: encrypted", None)
    assert (rows[unread]["images"], rows[unread]["margin"]) == ([], None)


def test_a_single_readable_image_has_no_margin(project):
    (chosen,) = project.put_group(5, {2: 0.1})
    project.put(name(5, 1), error="decode: truncated")
    row = rows_of(project)[0][chosen]
    assert (row["margin"], row["confidence"], row["captions"][0]) == (None, 1.0, "chosen · stage\xa02")


def test_a_group_without_a_usable_image_is_named_by_its_id_and_its_images_have_their_errors(project):
    paths = [f"set/{name(5, stage)}" for stage in (1, 2)]
    for path, error in zip(paths, ("decode: truncated", "list: encrypted"), strict=True):
        project.put(path, error=error)
    rows, found = rows_of(project)
    (group,), _ = project.predict()
    assert list(rows) == [group["group_id"], *paths]
    row = rows[group["group_id"]]
    assert (row["id"], row["outcome"], row["images"]) == (None, "failed", [None, None])
    assert row["reason"] == f"read: none of 2 images can be used; {name(5, 1)}: decode: truncated"
    assert row["captions"] == ["unreadable · stage\xa01", "unreadable · stage\xa02"]
    assert row["tags"] == ["set"]
    assert (row["margin"], row["boxes"], row["members"]) == (None, None, None)
    assert [rows[path]["reason"] for path in paths] == ["decode: truncated", "list: encrypted"]
    assert (found.chosen, found.stages, found.crops) == ({}, {}, 0)


def test_images_in_no_group_have_a_row_with_the_reason_and_no_numbers(project):
    project.put("set/loose.png", 0.5)
    project.put(name(5, 2), 0.5)
    rows, _ = rows_of(project)
    assert list(rows) == [name(5, 2), "set/loose.png"]
    row = rows["set/loose.png"]
    assert (row["outcome"], row["reason"]) == ("ungrouped", "no stage in the name")
    assert (row["id"], row["images"]) == (project.images["set/loose.png"]["sha256"], [picture(project, "set/loose.png")])
    assert (row["tags"], row["label"], row["members"], row["margin"]) == (["set"], None, None, None)
    assert rows[name(5, 2)]["reason"] == "no image of another stage goes with it"
    assert rows[name(5, 2)]["tags"] == []


def test_refused_members_that_share_a_name_have_rows_of_their_own(project):
    paths = project.put_group(5, {1: 0.1, 2: 0.2})
    project.put("loose.png", 0.5)
    for path in ("loose.png", paths[1], paths[1], "../out.png"):
        project.refused.append((path, f"list: refused {len(project.refused)}"))
    rows, _ = rows_of(project)
    assert {row: (found["outcome"], found["reason"]) for row, found in rows.items()} == {
        paths[1]: ("selected", "stage 2 chosen"),
        "../out.png": ("error", "list: refused 3"),
        f"{paths[1]} (2)": ("error", "list: refused 1"),
        f"{paths[1]} (3)": ("error", "list: refused 2"),
        "loose.png": ("ungrouped", "no stage in the name"),
        "loose.png (2)": ("error", "list: refused 0"),
    }


def test_more_images_than_there_is_room_for_are_named_and_counted(tmp_path):
    project = Project(tmp_path, pattern="(?P<group>[a-z]+)_")
    for number in range(9):
        project.put(f"a_{number}.png", number * 5 % 9 / 10)
    for letter, size in (("b", 6), ("c", 7)):
        for number in range(size):
            project.put(f"{letter}_{number}.png", number / 10)
    rows, _ = rows_of(project)
    many, few = rows["a_7.png"], rows["b_5.png"]
    order = [7, 5, 3, 1, 8, 6, 4, 2, 0]
    assert many["images"] == [picture(project, f"a_{number}.png") for number in order[:6]]
    assert [member["name"] for member in many["members"]] == [f"a_{number}.png" for number in order]
    assert [each.replace("\xa0", " ") for each in many["captions"]] == [
        "chosen · no. 8",
        "2nd · no. 6",
        "3rd · no. 4",
        "4th · no. 2",
        "5th · no. 9",
        "6th · no. 7",
        "7th · no. 5",
        "8th · no. 3",
        "9th · no. 1",
    ]
    assert (many["tags"], many["group_size"], many["reason"]) == (["and 3 more"], 9, "")
    assert (few["tags"], len(few["images"])) == ([], 6)
    assert (rows["c_6.png"]["tags"], len(rows["c_6.png"]["images"])) == (["and 1 more"], 6)


@pytest.mark.parametrize(
    ("number", "said"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (12, "12th"), (13, "13th"), (21, "21st"), (112, "112th")]
)
def test_places_are_told_as_in_speech(number, said):
    assert report_items._ordinal(number) == said


def test_groups_of_one_have_a_row_with_a_box_and_a_plain_caption(tmp_path):
    project = Project(tmp_path, ungrouped="singletons")
    project.put("one.png", 0.5)
    row = rows_of(project)[0]["one.png"]
    assert (row["outcome"], row["captions"], row["group_size"], row["margin"]) == ("selected", ["chosen"], 1, None)
    assert len(row["boxes"]) == 1


@pytest.mark.parametrize(
    ("proposal", "tags", "reason", "repairs"),
    [
        ((0.1, 0.1, 0.9, 0.9), [], "stage 1 chosen", {}),
        ((0.9, -0.2, 0.1, 0.9), ["crop repaired"], "stage 1 chosen", {"swapped x": 1, "clamped y": 1}),
        ((float("nan"), 0.1, 0.9, 0.9), ["no crop"], "crop: not 4 finite numbers: nan, 0.1, 0.9, 0.9", {}),
    ],
)
def test_what_became_of_a_crop_is_said(project, proposal, tags, reason, repairs):
    project.put_group(5, {1: 0.5, 2: 0.1}, proposal=proposal)
    rows, found = rows_of(project)
    (row,) = rows.values()
    assert (row["tags"], row["reason"], found.repairs) == (tags, reason, repairs)
    assert (found.repaired, found.crops) == (int(bool(repairs)), int("no crop" not in tags))
    assert (row["boxes"] is None) == (row["crop_share"] is None) == (row["crop_side"] is None) == ("no crop" in tags)


def test_originals_in_a_folder_have_links_that_any_name_survives(project):
    path = 'set #1/50% "x"?&é.png'
    project.put(path, 0.5)
    paths = project.put_group(5, {1: 0.5, 2: 0.1}, "a b")
    rows, _ = rows_of(project, "file:///data/p%201/")
    assert rows[path]["link"] == "file:///data/p%201/set%20%231/50%25%20%22x%22%3F%26%C3%A9.png"
    assert rows[paths[0]]["links"] == [f"file:///data/p%201/a%20b/{name(5, stage)}" for stage in (1, 2)]


def test_what_the_tables_hold_is_counted(project):
    project.put_group(1, {1: 0.1, 2: 0.5, 3: 0.2})
    project.put_group(2, {1: 0.1, 3: 0.5})
    project.put_group(3, {1: 0.9, 3: 0.5}, proposal=(0, 0, 2, 1))
    project.put(name(3, 2), error="decode: truncated")
    _, found = rows_of(project)
    assert found.stages == {"stage 1": 3, "stage 2": 1, "stage 3": 3}
    assert found.chosen == {"stage 1": 1, "stage 2": 1, "stage 3": 1}
    assert found.margins == pytest.approx([0.3, 0.4, 0.4])
    assert (found.crops, found.repaired, found.repairs) == (3, 1, {"clamped x": 1})


def fill(project):
    """Everything that a project can hold, under names that are hard to handle."""
    for number, text in enumerate(HOSTILE):
        for stage in (1, 2, 3):
            project.put(f"{text}/{name(number, stage, text)}", stage * 7 % 5 / 10)
        project.put(f"{text}/{text}.png", 0.1)
        project.put(f"{text}/{name(number + 20, 1)}", 0.3)
        project.put(f"{text}/{name(number + 20, 2)}", error="decode: <b>truncated</b>")
    project.refused += [("(2)/(2).png", "list: refused"), ("(2)/(2).png", "list: encrypted")]


def test_every_image_is_found_in_a_row(project):
    fill(project)
    rows, _ = rows_of(project)
    shown = [member["name"] for row in rows.values() for member in row["members"] or [row]]
    own_errors = {row["name"] for row in rows.values() if row["outcome"] == "error"}
    assert set(project.images) <= set(shown)
    assert {path for path, image in project.images.items() if image["error"]} <= own_errors
    assert {"(2)/(2).png (2)", "(2)/(2).png (3)"} <= own_errors
    assert len(shown) == len(project.images) + len(project.refused) + len(HOSTILE), "unreadable images of a group stand there twice"


def test_a_project_is_the_same_rows_however_it_is_read(project, monkeypatch):
    fill(project)
    whole = rows_of(project)
    for size in (1, 3):
        monkeypatch.setattr(report_items, "BATCH", size)
        assert rows_of(project) == whole


@pytest.mark.parametrize("decision", ["drop", "split"])
def test_what_a_row_names_is_what_the_next_grouping_takes(project, decision, tmp_path):
    fill(project)
    rows, _ = rows_of(project)
    row = next(row for row in rows.values() if row["outcome"] == "selected" and len(row["members"]) == 3)
    named = next(member for member in row["members"][1:] if member["id"])
    file = tmp_path / "groups.csv"
    file.write_text('sha256,path,decision\n{},"{}",{}\n'.format(named["id"], named["name"].replace('"', '""'), decision), newline="")
    after, _ = rows_of(project, reviews=Reviews(file, DECISIONS))
    paths = {member["name"] for member in row["members"]}
    again = {found["name"]: found["reason"] for found in after.values() if found["outcome"] == "ungrouped" and found["name"] in paths}
    if decision == "drop":
        assert again == dict.fromkeys(paths, "dropped by a person")
    else:
        assert len(again) == 1
        assert set(again.values()) == {"alone after a split by a person"}


@pytest.mark.parametrize("which", ["groups", "images"])
def test_tables_that_do_not_belong_together_are_refused(project, tmp_path, which):
    project.put_group(5, {1: 0.1, 2: 0.2})
    project.put("loose.png", 0.5)
    first = project.write()
    other = Project(tmp_path / "other")
    other.root.mkdir()
    other.put_group(5, {1: 0.1, 2: 0.2, 3: 0.4})
    second = other.write()
    tables = (second[0], first[1]) if which == "groups" else (first[0], second[1])
    with pytest.raises(StepError, match=r"groups\.parquet and .*images\.parquet do not belong together; delete both"):
        write_items(*tables, "", tmp_path / "items.parquet")
    assert not (tmp_path / "items.parquet").exists()


def test_an_empty_project_has_no_rows(project):
    rows, found = rows_of(project)
    assert (rows, found.margins) == ({}, [])
