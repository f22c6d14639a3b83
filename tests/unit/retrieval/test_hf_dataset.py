"""retrieval 06: what is refused before anything is written, and how much the writer may hold."""

import pytest

from tests.unit.retrieval.hf_data import Sample
from workflow_scripts.core.step import StepError
from workflow_scripts.retrieval import hf_dataset
from workflow_scripts.retrieval.hf_images import Images
from workflow_scripts.retrieval.hf_rows import RowSource, survey


@pytest.fixture
def sample(tmp_path):
    return Sample(tmp_path)


def build(sample, template=None, **changes):
    return hf_dataset.build(sample.records_file, sample.inventories, template, sample.settings(**changes), sample.root / "out/things")


def refused(sample, template=None, **changes):
    with pytest.raises(StepError) as error:
        build(sample, template, **changes)
    assert not (sample.root / "out").exists()
    return str(error.value)


@pytest.mark.parametrize("variant", ["speaker", "listener"])
def test_without_records_there_is_no_dataset(sample, variant):
    said = refused(sample, variant=variant)
    assert "records.json: no record at all" in said
    assert "negative_pool" in said
    assert "top_k" in said


def test_records_of_another_k_than_the_folder_says_are_refused(sample):
    sample.fill(4)
    assert "has 3 references a record, and top_k says 5" in refused(sample, k=5)


def test_a_template_is_tried_before_images_are_read(sample):
    sample.fill(4)
    for row in sample.inventory:
        (sample.root / "images" / row["path"]).unlink()
    (sample.root / "mine.jinja").write_text("one\n{{ no_such }}")
    assert "mine.jinja, line 2: 'no_such' is undefined" in refused(sample, sample.root / "mine.jinja")


def test_what_is_no_dataset_is_not_replaced(sample):
    sample.fill(4)
    (sample.root / "out/things").mkdir(parents=True)
    (sample.root / "out/things/notes.txt").write_text("mine")
    with pytest.raises(StepError, match=r"holds notes\.txt, which is no part of a dataset"):
        build(sample)
    assert [path.name for path in (sample.root / "out").rglob("*")] == ["things", "notes.txt"]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([10], 100),
        ([10] * 1000, 100),
        ([100] * 100, 100),
        ([101] * 100, 50),
        ([9_950, *[1] * 99], 50),
        ([10_001], 1),
        ([1] * 500 + [500] * 20 + [1] * 500, 20),
        ([500] * 20, 100),
        ([501] * 20, 10),
        ([20_000, *[1] * 2000], 1),
    ],
)
def test_the_writer_holds_fewer_rows_where_images_are_large(sample, monkeypatch, sizes, expected):
    monkeypatch.setattr(hf_dataset, "BATCH_BYTES", 10_000)
    for number, size in enumerate(sizes):
        sample.put(f"mug/c/{number}.jpg", b"x" * size)
        sample.add(f"mug/c/{number}.jpg", ["mug/c/other.jpg"] * 2)
    plan = survey(sample.records_file, "speaker", 1)
    images = Images.find({path for row in plan.images for path in row}, sample.inventories, sample.data_root, relative=False)
    assert hf_dataset.batch_size(RowSource("speaker", sample.root, plan, images, {})) == expected
