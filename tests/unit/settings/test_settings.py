"""Settings: what is accepted, what every mistake is told, what runs inherit, and the files made from the models."""

import json
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from workflow_scripts.settings import Settings, SettingsError, generate, load
from workflow_scripts.settings.base import merge

HINT = " (values after --config are text: put it into a file and use --configfile)"


def run_of(source="/data/photos", **values):
    return {"people": {"runs": {"a": {"source": source, **values}}}}


def errors(config):
    """The lines of the error, without the headline."""
    with pytest.raises(SettingsError) as caught:
        load(config)
    headline, *lines = str(caught.value).splitlines()
    assert headline == "The configuration cannot be used:"
    assert all(line.startswith("  ") for line in lines)
    return [line[2:] for line in lines]


# ---- what is accepted ----


def test_nothing_is_a_configuration():
    found = load({})
    assert found.people.runs == {}
    assert (found.people.defaults.threshold, found.people.defaults.batch_size, found.people.defaults.logit_scale) == (0.5, 16, 100.0)
    assert (found.people.defaults.model.name, found.people.defaults.model.pretrained) == ("ViT-B-32", "laion2b_s34b_b79k")
    assert found.images.max_pixels == 200_000_000


def test_the_shipped_configuration_is_the_defaults():
    shipped = yaml.safe_load((generate.ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    assert load(shipped) == load({})


def test_the_demo_configuration_is_accepted_over_the_shipped_one():
    shipped, demo = (yaml.safe_load((generate.ROOT / "config" / name).read_text(encoding="utf-8")) for name in ("config.yaml", "demo.yaml"))
    assert load(merge(shipped, demo)).people.runs


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threshold", 0),
        ("threshold", 1),
        ("threshold", 0.123456),
        ("batch_size", 1),
        ("batch_size", "auto"),
        ("logit_scale", "model"),
        ("logit_scale", 14),
        ("shard_count", 9999),
        ("max_images", 0),
        ("sample_seed", -5),
        ("views", "tiles"),
        ("negative_mode", "max"),
        ("prune_max_fraction", 1.0),
        ("exclude", [{"csv": "a.csv"}]),
    ],
)
def test_values_that_are_right(key, value):
    assert getattr(load(run_of(**{key: value})).people.runs["a"], key) is not None


def test_settings_do_not_change():
    found = load(run_of())
    for group in (found, found.people.defaults, found.people.runs["a"]):
        with pytest.raises(ValueError, match="frozen"):
            group.device = "cpu"


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "2026-11-21", "x" * 80, "_x", "-x"])
def test_names_that_can_be_paths(name):
    assert list(load({"people": {"runs": {name: {"source": "/data"}}}}).people.runs) == [name]


# ---- what is wrong, key by key ----


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"pepole": {}}, "pepole: unknown key; did you mean people?"),
        ({"people": {"run": {}}}, "people.run: unknown key; did you mean runs?"),
        ({"people": {"defaults": {"treshold": 0.5}}}, "people.defaults.treshold: unknown key; did you mean threshold?"),
        (run_of(treshold=0.5), "people.runs.a.treshold: unknown key; did you mean threshold?"),
        (run_of(model={"sha": "x"}), "people.runs.a.model.sha: unknown key; did you mean sha256?"),
        (run_of(prompts={"positiv": []}), "people.runs.a.prompts.positiv: unknown key; did you mean positive?"),
        (run_of(exclude=[{"csv": "a", "prefix": ""}]), "people.runs.a.exclude.0.prefix: unknown key; did you mean strip_prefix?"),
        ({"images": {"qqq": 1}}, "images.qqq: unknown key; known here: decode, max_pixels"),
        ({"demo": {"people": {"zzz": 1}}}, "demo.people.zzz: unknown key; known here: images"),
    ],
)
def test_an_unknown_key_is_named_with_a_near_one_or_all(config, line):
    assert errors(config) == [line]


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (run_of(threshold=1.5), "people.runs.a.threshold: 1.5 is wrong: input should be less than or equal to 1"),
        (run_of(threshold=-0.1), "people.runs.a.threshold: -0.1 is wrong: input should be greater than or equal to 0"),
        (run_of(threshold="0.5"), "people.runs.a.threshold: '0.5' is wrong: input should be a valid number" + HINT),
        (run_of(threshold=None), "people.runs.a.threshold: None is wrong: input should be a valid number"),
        (run_of(shard_count=0), "people.runs.a.shard_count: 0 is wrong: input should be greater than or equal to 1"),
        (run_of(shard_count=2.0), "people.runs.a.shard_count: 2.0 is wrong: input should be a valid integer"),
        (run_of(shard_count=True), "people.runs.a.shard_count: True is wrong: input should be a valid integer"),
        (run_of(shard_count=10_000), "people.runs.a.shard_count: 10000 is wrong: input should be less than or equal to 9999"),
        (run_of(max_images=-1), "people.runs.a.max_images: -1 is wrong: input should be greater than or equal to 0"),
        (run_of(views="middle"), "people.runs.a.views: 'middle' is wrong: input should be 'center', 'pad' or 'tiles'" + HINT),
        (run_of(negative_mode="min"), "people.runs.a.negative_mode: 'min' is wrong: input should be 'mean' or 'max'" + HINT),
        (run_of(dry_run="true"), "people.runs.a.dry_run: 'true' is wrong: input should be a valid boolean" + HINT),
        (run_of(dry_run=1), "people.runs.a.dry_run: 1 is wrong: input should be a valid boolean"),
        (run_of(source=3), "people.runs.a.source: 3 is wrong: input should be a valid string (text made of digits needs quotes)"),
        (run_of(source=""), "people.runs.a.source: '' is wrong: string should have at least 1 character" + HINT),
        (
            run_of(prompts={"positive": []}),
            "people.runs.a.prompts.positive: [] is wrong: list should have at least 1 item after validation, not 0",
        ),
        (
            run_of(prompts={"negative": "a thing"}),
            "people.runs.a.prompts.negative: 'a thing' is wrong: input should be a valid list" + HINT,
        ),
        (
            run_of(prompts={"negative": [3]}),
            "people.runs.a.prompts.negative.0: 3 is wrong: input should be a valid string (text made of digits needs quotes)",
        ),
        (run_of(prune_max_fraction=2), "people.runs.a.prune_max_fraction: 2 is wrong: input should be less than or equal to 1"),
        (
            run_of(exclude=[{"csv": "a", "by": "name"}]),
            "people.runs.a.exclude.0.by: 'name' is wrong: input should be 'sha256' or 'path'" + HINT,
        ),
        ({"device": "gpu"}, "device: 'gpu' is wrong: input should be 'auto', 'cpu' or 'cuda'" + HINT),
        ({"images": {"max_pixels": 0}}, "images.max_pixels: 0 is wrong: input should be greater than 0"),
        ({"cache_root": ""}, "cache_root: '' is wrong: string should have at least 1 character" + HINT),
        ({"people": {"results_root": ""}}, "people.results_root: '' is wrong: string should have at least 1 character" + HINT),
        ({"demo": {"people": {"images": 3}}}, "demo.people.images: 3 is wrong: input should be greater than or equal to 20"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(config, line):
    assert errors(config) == [line]


@pytest.mark.parametrize(
    ("config", "start"),
    [
        (run_of(model={"sha256": "ABC"}), "people.runs.a.model.sha256: 'ABC' is wrong: string should match pattern '^[0-9a-f]{64}$'"),
        ({"people": 3}, "people: 3 is wrong: input should be a valid dictionary"),
        ({"people": {"runs": {"a": "/data"}}}, "people.runs.a: '/data' is wrong: input should be a valid dictionary"),
        ({"people": {"runs": ["a"]}}, "people.runs: ['a'] is wrong: input should be a valid dictionary"),
        ({"people": {"defaults": 3}}, "people.defaults: 3 is wrong: input should be a valid dictionary"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(config, start):
    (line,) = errors(config)
    assert line.startswith(start)


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        ("batch_size", "some", ["integer", "'auto'"]),
        ("batch_size", 2.5, ["integer", "'auto'"]),
        ("logit_scale", "big", ["number", "'model'"]),
    ],
)
def test_of_two_kinds_of_value_both_are_named(key, value, right):
    lines = errors(run_of(**{key: value}))
    assert all(line.startswith(f"people.runs.a.{key}: {value!r} is wrong: ") for line in lines)
    assert all(any(word in line for line in lines) for word in right)


NO_BUCKET = "write s3://bucket/prefix/, with a name that a bucket can have and nothing before it"
SECRET_IN_ADDRESS = "endpoint_url holds a key or a secret; take it out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"batch_size": 0}, "people.runs.a: batch_size must be at least 1, or auto"),
        ({"batch_size": -4}, "people.runs.a: batch_size must be at least 1, or auto"),
        ({"logit_scale": 0}, "people.runs.a: logit_scale must be above 0 and finite, or model"),
        ({"logit_scale": -1.0}, "people.runs.a: logit_scale must be above 0 and finite, or model"),
        ({"logit_scale": float("nan")}, "people.runs.a: logit_scale must be above 0 and finite, or model"),
        ({"logit_scale": float("inf")}, "people.runs.a: logit_scale must be above 0 and finite, or model"),
        ({"source": "s3:///x"}, f"people.runs.a: source: {NO_BUCKET}"),
        ({"destination": "s3://a_secret:word@bucket/x"}, f"people.runs.a: destination: {NO_BUCKET}"),
        ({"manifests": "gs://b/x"}, "people.runs.a: manifests: gs://b/x is neither a folder nor s3://bucket/prefix/"),
        ({"endpoint_url": "https://KEY:SECRET@host"}, f"people.runs.a: {SECRET_IN_ADDRESS}"),
        ({"endpoint_url": "https://host/?X-Amz-Credential=KEY"}, f"people.runs.a: {SECRET_IN_ADDRESS}"),
        ({"endpoint_url": "KEY:SECRET@host"}, "people.runs.a: endpoint_url is no address; write https://host:port"),
        ({"endpoint_url": "minio:9000"}, "people.runs.a: endpoint_url is no address; write https://host:port"),
        (
            {"shards": [0]},
            "people.runs.a: shards and published_listing are for machines without a shared disk: manifests must be in a bucket",
        ),
        (
            {"published_listing": True},
            "people.runs.a: shards and published_listing are for machines without a shared disk: manifests must be in a bucket",
        ),
        (
            {"source": "s3://bucket/x", "shards": [0, 4], "shard_count": 4},
            "people.runs.a: shards: [0, 4] must be different numbers from 0 to 3 (shard_count - 1)",
        ),
        (
            {"source": "s3://bucket/x", "shards": [1, 1], "shard_count": 4},
            "people.runs.a: shards: [1, 1] must be different numbers from 0 to 3 (shard_count - 1)",
        ),
    ],
)
def test_what_the_type_alone_does_not_tell(values, line):
    assert errors(run_of(**values)) == [line]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_threshold_is_a_number(value):
    (line,) = errors(run_of(threshold=value))
    assert line.startswith(f"people.runs.a.threshold: {value} is wrong: ")


def test_a_missing_value_is_named_with_its_meaning():
    assert errors({"people": {"runs": {"a": {}}}}) == [
        "people.runs.a.source: is missing; Folder or `s3://bucket/prefix/` with the images. It is only ever read."
    ]
    assert errors(run_of(exclude=[{}])) == ["people.runs.a.exclude.0.csv: is missing; CSV file with a header."]


@pytest.mark.parametrize("name", ["a b", "a/b", ".hidden", "é", "x" * 81, "", "a{b}"])
def test_a_name_that_cannot_be_a_path_is_named(name):
    assert errors({"people": {"runs": {name: {"source": "/data"}}}}) == [
        f"people.runs.{name}: {name!r} cannot be a name; use letters, digits and . _ - (80 at most, no dot in front)"
    ]


def test_a_line_end_is_no_part_of_a_name():
    with pytest.raises(SettingsError, match=r"people\.runs\.a\n: 'a\\n' cannot be a name"):
        load({"people": {"runs": {"a\n": {"source": "/data"}}}})


def test_every_mistake_is_named_at_once():
    config = {
        "device": "tpu",
        "peple": {},
        "people": {"runs": {"a": {"threshold": 2, "veiws": "pad"}, "b": {"source": "/b", "dry_run": 0}}},
    }
    assert sorted(line.split(":")[0] for line in errors(config)) == [
        "device",
        "people.runs.a.source",
        "people.runs.a.threshold",
        "people.runs.a.veiws",
        "people.runs.b.dry_run",
        "peple",
    ]


# ---- runs and defaults ----


def test_a_run_starts_from_the_defaults_and_changes_what_it_names():
    config = {
        "people": {
            "results_root": "out",
            "defaults": {
                "threshold": 0.7,
                "views": "pad",
                "model": {"name": "ViT-L-14", "pretrained": "openai"},
                "exclude": [{"csv": "x.csv"}],
            },
            "runs": {
                "plain": {"source": "/p"},
                "own": {"source": "/o", "threshold": 0.2, "model": {"pretrained": "laion400m_e32"}, "exclude": [], "destination": "/clean"},
            },
        }
    }
    found = load(config).people.runs
    plain, own = found["plain"], found["own"]
    assert (plain.threshold, plain.views, plain.model.name, plain.model.pretrained) == (0.7, "pad", "ViT-L-14", "openai")
    assert (own.threshold, own.views, own.model.name, own.model.pretrained) == (0.2, "pad", "ViT-L-14", "laion400m_e32")
    assert ([entry.csv for entry in plain.exclude], own.exclude) == (["x.csv"], [])
    assert (plain.destination, plain.manifests) == ("out/plain/cleaned/train", "out/plain/cleaned/manifests")
    assert (own.destination, own.manifests) == ("/clean", "out/own/cleaned/manifests")
    assert plain.batch_size == 16


def test_the_configuration_that_was_given_stays_as_it_is():
    config = {"people": {"defaults": {"model": {"name": "A"}}, "runs": {"a": {"source": "/a", "model": {"pretrained": "b"}}}}}
    before = json.dumps(config)
    load(config)
    assert json.dumps(config) == before


@pytest.mark.parametrize(
    ("base", "overlay", "wanted"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"a": 1, "b": 3, "c": 4}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}),
    ],
)
def test_overlays(base, overlay, wanted):
    assert merge(base, overlay) == wanted


# ---- places ----


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A working folder with data, another name for it, and room."""
    monkeypatch.chdir(tmp_path)
    for name in ("data/photos", "room", "data2"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    (tmp_path / "room" / "back").symlink_to(tmp_path / "data" / "photos")
    return tmp_path


OVERLAPS = [
    ("data", "data", "same"),
    ("data", "data/", "a slash more"),
    ("data", "./room/../data", "the long way round"),
    ("data", "link", "a link"),
    ("data/photos", "room/back", "a link to a part"),
    ("data", "room/back", "a link into it"),
    ("data", "data/clean", "within"),
    ("data/photos", "data", "around"),
    ("data", "link/photos/deep/clean", "within a link, not there yet"),
    ("data", "{root}/data/clean", "absolute and relative"),
]


@pytest.mark.parametrize("key", ["destination", "manifests"])
@pytest.mark.parametrize(("source", "other", "_why"), OVERLAPS, ids=[why for *_, why in OVERLAPS])
def test_a_source_is_never_written_to(places, key, source, other, _why):
    other = other.format(root=places)
    (line,) = errors(run_of(source, **{key: other}))
    assert line == f"people: runs.a.source ({source}) and runs.a.{key} ({other}) lie within each other; give each a place of its own"


def test_destination_and_manifests_lie_apart(places):
    (line,) = errors(run_of("data", destination="room", manifests="room/manifests"))
    assert line.startswith("people: runs.a.destination (room) and runs.a.manifests (room/manifests) lie within each other")


def test_places_of_two_runs_lie_apart(places):
    config = {"people": {"runs": {"a": {"source": "data", "destination": "room"}, "b": {"source": "data2", "destination": "room/b"}}}}
    assert errors(config) == [
        "people: runs.a.destination (room) and runs.b.destination (room/b) lie within each other; give each a place of its own"
    ]
    config = {"people": {"runs": {"a": {"source": "data"}, "b": {"source": "data2", "destination": "link/b"}}}}
    assert errors(config)[0].startswith("people: runs.a.source (data) and runs.b.destination (link/b) lie within each other")


@pytest.mark.parametrize("root", ["data/results", "data", "link/results"])
def test_results_do_not_become_sources(places, root):
    config = run_of("data", destination="room/d", manifests="room/m")
    config["people"]["results_root"] = root
    assert errors(config) == [f"people: runs.a.source (data) holds results_root ({root}); results would be listed as sources"]


@pytest.mark.parametrize(
    "runs",
    [
        {"a": {"source": "data"}, "b": {"source": "data"}},
        {"a": {"source": "data"}, "b": {"source": "data/photos"}},
        {"a": {"source": "data", "destination": "data-clean"}},
        {"a": {"source": "data", "destination": "data2"}},
        {"a": {"source": "data", "destination": "room/d", "manifests": "room/m"}},
        {"a": {"source": "results/people/old/cleaned/train"}},
    ],
    ids=["one source twice", "sources within each other", "a longer name", "neighbours", "siblings", "what another run cleaned"],
)
def test_places_that_are_right(places, runs):
    assert load({"people": {"runs": runs}}).people.runs.keys() == runs.keys()


# ---- what is made from the models ----


def test_generated_files_are_in_step():
    assert generate.out_of_step() == []


def test_a_file_out_of_step_is_named(monkeypatch):
    plain = generate.files()
    changed = {path: text + "x" if path.name == "config.yaml" else text for path, text in plain.items()}
    monkeypatch.setattr(generate, "files", lambda: changed | {generate.ROOT / "config" / "gone.yaml": ""})
    assert generate.out_of_step() == ["config/config.yaml", "config/gone.yaml"]


def leaves(model, prefix=""):
    for name, field in model.model_fields.items():
        if generate.is_group(field.annotation):
            yield from leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def test_every_setting_is_described_and_stands_in_the_table():
    table = generate.settings_table()
    found = list(leaves(Settings))
    assert len(found) >= 30
    for key, field in found:
        assert field.description, key
        assert f"| `{key}` |" in table


def test_the_shipped_configuration_has_every_setting_with_its_description():
    text = generate.config_yaml()
    values = yaml.safe_load(text)
    plain = " ".join(line.strip().lstrip("#").strip() for line in text.splitlines())
    for key, field in leaves(Settings):
        value = values
        for part in key.split("."):
            value = value[part]
        assert field.description in plain, key


def test_the_example_of_a_run_is_a_configuration():
    lines = generate.config_yaml().splitlines()
    start = next(at for at, line in enumerate(lines) if line == "  # runs:")
    example = "\n".join(line[4:] for line in lines[start : start + 12] if line.startswith("  #"))
    found = load({"people": yaml.safe_load(example)})
    assert found.people.runs["my-run"].source == "/data/photos"


def test_the_schema_refuses_what_the_models_refuse():
    schema = json.loads(generate.schema())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    groups = [schema, *schema["$defs"].values()]
    assert all(group["additionalProperties"] is False for group in groups)
    assert set(schema["properties"]) == set(Settings.model_fields)
    assert issubclass(Settings, BaseModel)


def test_environments_pin_what_the_lock_has():
    lock = (generate.ROOT / "uv.lock").read_text(encoding="utf-8")
    for name in generate.ENVIRONMENTS:
        pins = yaml.safe_load(generate.environment(name))["dependencies"][-1]["pip"]
        packages = [pin.split("==") for pin in pins]
        assert packages == sorted(packages)
        for package, version in packages:
            assert f'name = "{package}"\nversion = "{version}"' in lock
    assert any(pin.startswith("torch==") for pin in yaml.safe_load(generate.environment("clip"))["dependencies"][-1]["pip"])
    assert "torch" not in generate.environment("core")


def test_nothing_generated_names_a_folder_of_this_machine():
    assert not any(str(Path.home()) in text or str(generate.ROOT) in text for text in generate.files().values())


def test_a_mistake_in_the_defaults_is_said_once():
    runs = {"a": {"source": "/a"}, "b": {"source": "/b", "threshold": "high"}}
    with pytest.raises(SettingsError) as caught:
        load({"people": {"defaults": {"threshold": "0.5"}, "runs": runs}})
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == ["people.defaults.threshold", "people.runs.b.threshold"]


# ---- buckets ----


@pytest.mark.parametrize(
    ("source", "other", "apart"),
    [
        ("s3://bkt/photos/", "s3://bkt/photos/", False),
        ("s3://bkt/photos", "s3://bkt/photos/clean", False),
        ("s3://bkt/photos/in/", "s3://bkt/photos/", False),
        ("s3://bkt", "s3://bkt/clean/", False),
        ("s3://bkt/photos/", "s3://bkt/", False),
        ("s3://bkt//photos//", "s3://bkt/photos/", False),
        ("s3://bkt/photos/", "s3://bkt/photos2/", True),
        ("s3://bkt/photos/", "s3://bkt/Photos/", True),
        ("s3://bkt/photos/", "s3://ckt/photos/", True),
        ("s3://bkt/photos/", "results/clean", True),
        ("photos", "s3://photos/photos", True),
    ],
)
@pytest.mark.parametrize("key", ["destination", "manifests"])
def test_prefixes_of_one_bucket_lie_apart(source, other, apart, key):
    rest = {"destination": "s3://elsewhere/images/", "manifests": "s3://elsewhere/manifests/"} | {key: other}
    if apart:
        assert getattr(load(run_of(source, **rest)).people.runs["a"], key) == other
    else:
        (line,) = errors(run_of(source, **rest))
        assert line == f"people: runs.a.source ({source}) and runs.a.{key} ({other}) lie within each other; give each a place of its own"


def test_the_same_names_in_two_stores_are_two_places():
    places = {"source": "s3://bkt/in/", "destination": "s3://bkt/out/", "manifests": "s3://bkt/m/"}
    config = {"people": {"runs": {"a": places, "b": places | {"endpoint_url": "https://minio:9000"}}}}
    assert set(load(config).people.runs) == {"a", "b"}
    config["people"]["runs"]["c"] = places
    assert "runs.a.source (s3://bkt/in/) and runs.c.destination" not in "".join(errors(config))  # two may read one source ...
    assert "runs.a.destination (s3://bkt/out/) and runs.c.destination (s3://bkt/out/)" in "".join(errors(config))  # ... not write one copy


def test_a_bucket_s_places_default_to_the_bucket_itself(monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    run = load(run_of("s3://bkt/photos/")).people.runs["a"]
    assert (run.destination, run.manifests, run.region) == ("s3://bkt/cleaned/train", "s3://bkt/cleaned/manifests", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert load(run_of("s3://bkt/photos/")).people.runs["a"].region == "eu-central-1"
    assert load(run_of("s3://bkt/photos/", region="ap-south-1")).people.runs["a"].region == "ap-south-1"
    # A folder's results depend on no region, so that its params do not change with the environment.
    assert load(run_of("photos")).people.runs["a"].region is None
