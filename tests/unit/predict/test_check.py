"""The exit status of predict_check."""

import logging

import pytest

from workflow_scripts.core.json_files import write_json
from workflow_scripts.predict.check import check


@pytest.mark.parametrize(("qualities", "status"), [(["good", "good"], 0), (["good", "warnings"], 1), (["errors", "warnings"], 2), ([], 2)])
def test_the_status_is_that_of_the_worst(tmp_path, caplog, qualities, status):
    caplog.set_level(logging.INFO)
    paths = [tmp_path / f"{number}.json" for number in range(len(qualities))]
    issue = {"severity": "error", "check": "source", "message": "an image is gone", "rows": ["g"], "count": 1}
    for path, quality in zip(paths, qualities, strict=True):
        issues = [] if quality == "good" else [issue]
        verdict = {"database": f"{path.stem}.db", "data_quality": quality, "total_records": 3, "records_with_user_data": 0}
        write_json(path, verdict | {"issues": issues})
    assert check(paths) == status
    expected = [f"{quality}: {path.stem}.db: 3 records, 0 with user data" for path, quality in zip(paths, qualities, strict=True)]
    assert [record.message.splitlines()[0] for record in caplog.records] == expected
    assert caplog.text.count("an image is gone") == sum(quality != "good" for quality in qualities)
