"""Light steps start in a blink: they load no library of a model, and no pandas."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ["torch", "torchvision", "open_clip", "pandas", "faiss", "ultralytics", "rembg", "boto3", "vl_convert"]
PEOPLE = sorted(path.stem for path in (ROOT / "workflow_scripts" / "people").glob("[a-z]*.py"))
LIGHT = {
    "core": sorted(f"workflow_scripts.core.{path.stem}" for path in (ROOT / "workflow_scripts" / "core").glob("[a-z]*.py")),
    "people": [f"workflow_scripts.people.{name}" for name in PEOPLE],
    "settings": ["workflow_scripts.settings"],
}


@pytest.mark.parametrize("modules", LIGHT.values(), ids=LIGHT)
def test_light_modules_load_nothing_heavy(modules):
    assert modules
    program = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stderr == ""
    assert json.loads(found.stdout) == []
