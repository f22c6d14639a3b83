"""Reviews of pairs: which apply, which are reported, which are refused."""

import pytest

from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval.catalog_file import ConceptImages
from workflow_scripts.retrieval.pair_reviews import read_pair_reviews

A, B, C = "a" * 64, "b" * 64, "c" * 64
CATALOG = {
    "mug": {
        "red": ConceptImages(train=["m/1.jpg", "m/2.jpg"], test=["m/t.jpg"], negative=["m/n.jpg"]),
        "x": ConceptImages(train=["x", "x → y", "y", "y → z", "z"], test=[], negative=[]),
    },
    "car": {"red": ConceptImages(train=["c/1.jpg"], test=[], negative=[])},
}
CONTENTS = {"m/1.jpg": A, "m/2.jpg": B, "x": A, "y": A, "z": A, "y → z": A, "x → y": B}


@pytest.fixture
def read(tmp_path):
    def call(*rows, contents=CONTENTS, catalog=CATALOG):
        path = tmp_path / "retrieve.csv"
        path.write_text("sha256,path,decision\n" + "".join(f'{sha256},"{name}",{decision}\n' for sha256, name, decision in rows))
        return read_pair_reviews(path, catalog, contents)

    return call


def test_each_decision_does_its_own(read):
    found = read(
        (A, "m/1.jpg → m/2.jpg", "drop_pair"),
        (B, "m/2.jpg → c/1.jpg", "drop_negative"),
        (A, "m/1.jpg → c/1.jpg", "drop_query"),
        (B, "m/2.jpg → m/1.jpg", "keep"),
    )
    assert found.pairs == {("m/1.jpg", "m/2.jpg")}
    assert found.references == {"c/1.jpg"}
    assert found.queries == {"m/1.jpg"}
    assert found.unused == []


def test_the_last_word_on_a_pair_counts(read):
    found = read((A, "m/1.jpg → m/2.jpg", "drop_pair"), (A.upper(), "m/1.jpg → m/2.jpg", " Keep "))
    assert (found.pairs, found.unused) == (set(), [])


def test_decisions_on_other_content_or_unknown_images_are_reported_and_do_not_apply(read, log_text):
    rows = [
        (C, "m/1.jpg → m/2.jpg", "drop_pair"),
        (C, "m/1.jpg → m/2.jpg", "drop_query"),
        (C, "m/1.jpg → c/1.jpg", "drop_negative"),
        (A, "m/1.jpg → gone.jpg", "drop_pair"),
        (A, "gone.jpg → m/1.jpg", "drop_negative"),
        (A, "gone.jpg", "drop_query"),
        (A, "", "drop_query"),
    ]
    found = read(*rows)
    assert (found.pairs, found.references, found.queries) == (set(), set(), set())
    assert found.unused == [(name, sha256) for sha256, name, _ in rows]
    assert f"review: m/1.jpg → gone.jpg ({A}) fits no image any more" in log_text()
    assert f"review: (no path) ({A}) fits no image any more" in log_text()


def test_a_decision_on_old_content_does_not_undo_one_on_the_new(read):
    found = read((A, "m/1.jpg → m/2.jpg", "drop_pair"), (C, "m/1.jpg → m/2.jpg", "keep"))
    assert found.pairs == {("m/1.jpg", "m/2.jpg")}


def test_pairs_of_a_category_that_is_not_loaded_are_not_reported(read, log_text):
    found = read((C, "c/1.jpg → m/1.jpg", "drop_pair"), (C, "c/1.jpg → m/2.jpg", "drop_negative"), (C, "m/t.jpg → m/n.jpg", "keep"))
    assert found.unused == []
    assert log_text() == ""
    assert found.references == {"m/2.jpg"}, "what is no reference at all is none for any category"


def test_what_an_unreadable_query_holds_is_not_known(read):
    found = read((C, "m/1.jpg → m/2.jpg", "drop_pair"), contents=CONTENTS | {"m/1.jpg": ""})
    assert (found.pairs, found.unused) == ({("m/1.jpg", "m/2.jpg")}, [])


def test_a_query_alone_can_be_kept_or_dropped_and_nothing_else(read):
    found = read((A, "m/1.jpg", "drop_query"), (B, "m/2.jpg", "keep"))
    assert (found.queries, found.unused) == ({"m/1.jpg"}, [])
    found = read((A, "m/1.jpg", "drop_pair"), (B, "m/2.jpg", "drop_negative"))
    assert (found.pairs, found.references) == (set(), set())
    assert [name for name, _ in found.unused] == ["m/1.jpg", "m/2.jpg"]


def test_names_may_hold_arrows(read):
    found = read((A, "m/1.jpg → x → y", "drop_pair"), (B, "x → y → m/2.jpg", "drop_pair"), (A, "m/1.jpg → y → z", "drop_negative"))
    assert found.pairs == {("m/1.jpg", "x → y"), ("x → y", "m/2.jpg")}
    assert found.references == {"y → z"}


@pytest.mark.parametrize(
    ("name", "meanings"),
    [("x → y → z", "'x' with 'y → z' or 'x → y' with 'z'"), ("x → y", "'x → y' or 'x' with 'y'")],
)
def test_a_path_that_may_be_two_pairs_is_refused(read, name, meanings):
    with pytest.raises(StepError) as error:
        read((B, "m/2.jpg → m/1.jpg", "keep"), (A, name, "drop_pair"))
    assert str(error.value).endswith(f"retrieve.csv, line 3: {name!r} may be {meanings}; rename one of the images")


@pytest.mark.parametrize(("sha256", "decision"), [(A, "drop"), (A, ""), ("", "keep")])
def test_what_is_no_decision_is_refused(read, sha256, decision):
    with pytest.raises(StepError, match=r"line 2: needs a sha256 and a decision \(keep, drop_pair, drop_query, drop_negative\)"):
        read((sha256, "m/1.jpg → m/2.jpg", decision))
