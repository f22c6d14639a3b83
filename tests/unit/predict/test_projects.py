"""The table of projects: what is read, and what every mistake is told."""

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.predict.projects import Project, read_projects


def table(folder, text):
    path = folder / "projects.tsv"
    path.write_text(text, encoding="utf-8")
    return path


def test_projects_come_in_the_order_of_the_table(tmp_path):
    text = "project_id\tpath\tpattern\tskip\nzoo\t/disk/a b.zip\t\t\nmojo 1\t/disk/'m\".zip\t(?P<group>\\d+)\tyes\n"
    assert read_projects(table(tmp_path, text)) == [
        Project("zoo", "/disk/a b.zip", "", False),
        Project("mojo 1", "/disk/'m\".zip", "(?P<group>\\d+)", True),
    ]


def test_columns_may_come_in_any_order_and_optional_ones_may_be_missing(tmp_path):
    assert read_projects(table(tmp_path, "path\tproject_id\n/x\tone\n")) == [Project("one", "/x", "", False)]


def test_empty_lines_comments_marks_and_line_ends_of_other_systems_do_not_count(tmp_path):
    text = "\ufeffproject_id\tpath\r\n\r\n# later\tthis\r\none\t/x\r\n"
    assert read_projects(table(tmp_path, text)) == [Project("one", "/x", "", False)]


def test_names_of_files_are_plain_and_differ(tmp_path):
    found = read_projects(table(tmp_path, "project_id\tpath\na/b\t/x\na b\t/y\nplain\t/z\n"))
    names = [project.name for project in found]
    assert names[2] == "plain"
    assert len(set(names)) == 3
    assert not any("/" in name or " " in name for name in names)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "needs project_id and path among its columns, has "),
        ("project_id\n", "needs project_id and path among its columns, has project_id"),
        ("project_id,path\none,/x\n", "needs project_id and path among its columns, has project_id,path"),
        (
            "project_id\tpath\tskipp\none\t/x\tyes\n",
            "line 2: has a value in the column skipp; the columns are project_id, path, pattern, skip",
        ),
        ("project_id\tpath\n# a comment\none\n", "line 3: needs a project_id and a path"),
        ("project_id\tpath\none\t/x\t/y\n", "line 2: has a value in the column one without a name"),
        ("project_id\tpath\none\t/x\none\t/y\n", "line 3: project_id one stands there twice"),
        ("project_id\tpath\tskip\none\t/x\tmaybe\n", "line 2: skip is 'maybe'"),
        ("project_id\tpath\tpattern\none\t/x\t(\n", "line 2: pattern: '(' is no regular expression"),
        ("project_id\tpath\tpattern\none\t/x\t\\d+\n", "line 2: pattern: '\\\\d+' needs a group named group"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, text, told):
    with pytest.raises(StepError) as caught:
        read_projects(table(tmp_path, text))
    assert told in str(caught.value)
    assert "projects.tsv" in str(caught.value)


def test_a_table_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(StepError, match=r"projects\.tsv: no such file"):
        read_projects(tmp_path / "projects.tsv")
    (tmp_path / "projects.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StepError, match="is no UTF-8"):
        read_projects(tmp_path / "projects.tsv")


def test_a_database_to_merge_into_may_be_named(tmp_path):
    found = read_projects(table(tmp_path, "project_id\tpath\tuser_database\none\t/x\t/disk/one.db\ntwo\t/y\t\n"))
    assert [project.user_database for project in found] == ["/disk/one.db", ""]


def test_every_zip_of_a_folder_is_a_project(tmp_path):
    for name in ("b c.zip", "a.ZIP", "._a.zip", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder").mkdir()
    assert read_projects(tmp_path) == [
        Project("a", str(tmp_path / "a.ZIP"), "", False),
        Project("b c", str(tmp_path / "b c.zip"), "", False),
    ]


def test_a_folder_without_a_zip_or_with_two_of_one_name_is_refused(tmp_path):
    with pytest.raises(StepError, match=r"holds no \.zip file"):
        read_projects(tmp_path)
    for name in ("a.zip", "a.ZIP"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(StepError, match=r"a\.ZIP and a\.zip would be one project"):
        read_projects(tmp_path)


def test_a_zip_whose_name_is_no_text_is_refused(tmp_path):
    with open(bytes(tmp_path) + b"/\xff.zip", "wb"):
        pass
    with pytest.raises(StepError, match=r"udcff\.zip is no UTF-8"):
        read_projects(tmp_path)
