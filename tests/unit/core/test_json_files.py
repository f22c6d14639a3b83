import json

from workflow_scripts.core.json_files import read_json, write_json


def test_json_is_for_people(tmp_path):
    write_json(tmp_path / "a.json", {"b": "é", "a": [1, None]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "b": "é",\n  "a": [\n    1,\n    null\n  ]\n}\n'
    assert read_json(tmp_path / "a.json") == json.loads(text)
