"""What holds for the repository as a whole: profiles, lock, generated files, the front door."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

REPO = Path(__file__).parents[2]


def test_no_key_stands_in_two_profiles() -> None:
    profiles = {path.parent.name: set(yaml.safe_load(path.read_text())) for path in REPO.glob("profiles/*/profile.yaml")}
    assert {"default", "slurm"} <= set(profiles)
    others = set().union(*(keys for name, keys in profiles.items() if name != "default"))
    assert not profiles["default"] & others, "keys of the default profile replace those of the chosen one"
    assert not profiles["default"] & {"executor", "jobs", "default-resources", "set-resources"}


def test_the_short_name_of_the_profile_works() -> None:
    link = REPO / "slurm"
    assert link.is_symlink()
    assert (link / "profile.yaml").is_file()


def test_the_lock_names_the_registry_alone() -> None:
    packages = tomllib.loads((REPO / "uv.lock").read_text())["package"]
    sources = {(*package["source"],) for package in packages if package["name"] != "darkroom"}
    assert sources == {("registry",)}
    assert len({package["source"]["registry"] for package in packages if "registry" in package["source"]}) == 1
    names = {package["name"] for package in packages}
    assert "opencv-python-headless" in names
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    assert project["tool"]["uv"]["override-dependencies"] == ["opencv-python; sys_platform == 'never'"]


def test_extras_for_cpu_and_gpu_differ_in_two_builds_alone() -> None:
    extras = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["cpu"][0].replace("faiss-cpu,onnx-cpu", "faiss-gpu,onnx-gpu") == extras["gpu"][0]


def test_the_front_door_stays_short_and_rules_have_a_line_that_says_what_they_decide() -> None:
    assert len((REPO / "Snakefile").read_text().splitlines()) < 80
    listed = subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", REPO / "Snakefile", "--list-rules", "--configfile", REPO / "config/demo.yaml"],
        cwd=REPO,
        text=True,
        capture_output=True,
        check=True,
    ).stdout.splitlines()
    lines = [line for line in listed if line.strip()]
    undescribed = [line for line in lines if not re.fullmatch(r"\w+ \(.+\.\)", line.strip())]
    assert not undescribed
    numbered = r"(people|retrieval|predict|lora|autotag|models|demo)_\d\d[a-z]?_[a-z_]+(_\d+)?"
    targets = {"people", "retrieval", "predict", "lora", "autotag", "demo", "demo_data", "demo_models"}
    targets |= {"segment_source", "embed_source", "build_index", "segment_target", "embed_target", "tag_target", "process_target"}
    targets |= {f"people_{name}" for name in ("verify", "removal_plan", "listing", "shard", "merge_remote", "labelling", "calibration")}
    targets |= {f"predict_{name}" for name in ("check", "merge", "import")}
    targets |= {f"retrieval_{name}" for name in ("subset", "concepts", "analysis")}
    names = {line.split(" ")[0] for line in lines}
    assert {name for name in names if not re.fullmatch(numbered, name)} <= targets


def test_every_shell_line_of_the_makefile_stands_in_the_readme() -> None:
    recipes = re.findall(r"^\t(\$\(BIN\)/[^\n]+)$", (REPO / "Makefile").read_text(), re.MULTILINE)
    readme = (REPO / "README.md").read_text()
    missing = [line for line in recipes if line.replace("$(BIN)", ".venv/bin") not in readme]
    assert not missing
