"""Reviews of tags: which line is about what, which counts, which fits nothing, which is refused."""

import pytest

from workflow_scripts.autotag.tag_names import Spelling
from workflow_scripts.autotag.tag_reviews import read_tag_reviews
from workflow_scripts.core.step import StepError

A, B = "a" * 64, "b" * 64
IMAGES = {"d/1.jpg": A, "2.jpg": B, "copy of 1.jpg": A}


@pytest.fixture
def read(tmp_path):
    def call(*lines, images=IMAGES, columns="sha256,path,decision,reason,tag", aliases=None):
        path = tmp_path / "vote.csv"
        path.write_text("".join(f"{line}\n" for line in (columns, *lines)), encoding="utf-8")
        return read_tag_reviews(path, images, Spelling(aliases or {}))

    return call


def decided(reviews):
    return {pair: reviews.decision(*pair) for pair in reviews.pairs()}


def test_a_line_names_image_and_tag_as_the_page_does(read):
    found = read(
        f"{A},d/1.jpg → dog,reject,kept", f"{B.upper()},2.jpg → Red Car, Keep ,", f"{B},2.jpg → new,add,", columns="sha256,path,decision,x"
    )
    assert decided(found) == {("d/1.jpg", "dog"): "reject", ("2.jpg", "red car"): "keep", ("2.jpg", "new"): "add"}


def test_a_column_holds_the_tag_where_a_person_writes_lines(read):
    found = read(f"{A},d/1.jpg,add,,dog", f"{A},,reject,,cat")
    assert decided(found) == {("d/1.jpg", "dog"): "add", ("d/1.jpg", "cat"): "reject", ("copy of 1.jpg", "cat"): "reject"}


def test_a_tag_is_spelt_as_votes_spell_it(read):
    found = read(f"{A},d/1.jpg → AUTO ,reject,,", f"{B},2.jpg,add,,Automobile", aliases={"auto": "car", "automobile": "car"})
    assert decided(found) == {("d/1.jpg", "car"): "reject", ("2.jpg", "car"): "add"}


def test_of_several_lines_the_one_on_the_image_counts_and_then_the_last(read):
    found = read(f"{A},d/1.jpg → dog,reject,,", f"{A},,keep,,dog", f"{A},d/1.jpg → cat,keep,,", f"{A},d/1.jpg → Cat,reject,,")
    assert decided(found) == {("d/1.jpg", "dog"): "reject", ("copy of 1.jpg", "dog"): "keep", ("d/1.jpg", "cat"): "reject"}
    for pair in found.pairs():
        found.use(*pair)
    assert found.unused() == [], "what another line stands above is about something all the same"


def test_lines_on_what_is_not_there_or_is_another_now_fit_nothing(read):
    found = read(f"{B},d/1.jpg → dog,reject,,", f"{A},gone.jpg → dog,add,,", f"{'c' * 64},,reject,,dog", f"{A},d/1.jpg → dog,keep,,")
    assert decided(found) == {("d/1.jpg", "dog"): "keep"}
    found.use("d/1.jpg", "dog")
    assert found.unused() == [
        "reject of dog of d/1.jpg with bbbbbbbbbbbb… (line 2)",
        "add of dog of gone.jpg with aaaaaaaaaaaa… (line 3)",
        "reject of dog of every image with cccccccccccc… (line 4)",
    ]


def test_names_and_tags_may_hold_arrows(read):
    images = {"x → y.jpg": A, "x": B}
    found = read(f"{A},x → y.jpg → a → b,add,,", f"{B},x → y.jpg → dog,add,,", images=images)
    assert decided(found) == {("x → y.jpg", "a → b"): "add", ("x", "y.jpg → dog"): "add"}


def test_a_tag_that_an_alias_drops_fits_nothing(read):
    found = read(f"{A},d/1.jpg,add,,noise", aliases={"noise": ""})
    assert (found.pairs(), len(found.unused())) == ([], 1)


def test_no_file_means_no_decisions():
    found = read_tag_reviews(None, IMAGES, Spelling({}))
    assert (found.pairs(), found.unused(), found.decision("2.jpg", "dog")) == ([], [], "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{A},d/1.jpg → dog,remove,,", "line 3: needs a sha256 and a decision (keep, reject, add), has 'remove'"),
        (",d/1.jpg → dog,keep,,", "line 3: needs a sha256 and a decision (keep, reject, add), has 'keep'"),
        (f"{A},d/1.jpg,keep,, ", "line 3: names no tag; give it in a column `tag`, or `image → tag` as path"),
        (f"{A},,keep,,", "line 3: names no tag; give it in a column `tag`, or `image → tag` as path"),
        (f"{A},x → y → z,add,,", "line 3: 'x → y → z' may be 'y → z' of 'x' or 'z' of 'x → y'; give the tag in a column `tag`, and"),
    ],
)
def test_lines_that_cannot_be_followed_are_refused_by_their_number(read, line, said):
    with pytest.raises(StepError) as error:
        read(f"{A},d/1.jpg → dog,keep,,", line, images=IMAGES | {"x": A, "x → y": A})
    assert said in str(error.value)
    assert "vote.csv" in str(error.value)


def test_a_missing_column_is_named(read):
    with pytest.raises(StepError, match="needs sha256 and path and decision among its columns"):
        read(columns="sha256,path")
