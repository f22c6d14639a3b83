"""Groups by name: the rule case by case, against a second reading of it, and what holds for any set of names."""

import hashlib
import signal
import threading
from datetime import datetime, timedelta
from itertools import product
from random import Random

import pytest

from workflow_scripts.core.accounting import AccountingError
from workflow_scripts.core.step import StepError
from workflow_scripts.predict import stages
from workflow_scripts.predict.groups import Grouping, Rule, group_images
from workflow_scripts.predict.stages import time_of

TEXTS = {"1": "stage1_generated", "1.5": "stage1.5_face_swapped", "2": "stage2_upscaled", "3": "stage3_enhanced"}
SINGLES = Rule(ungrouped="singletons")
PREFIX = r"^(?P<group>[a-z]+)-"


def row(text):
    """Paths of stages in a row, a minute apart: `1 3 2` gives three; `-` is an image without a stage."""
    return [f"20250101_00{place:02d}00_{TEXTS.get(stage, 'other')}.png" for place, stage in enumerate(text.split())]


def places(grouping, paths):
    """The groups by the places of their images in a list."""
    return [tuple(paths.index(path) for path in group.paths) for group in grouping.groups]


def rows(grouping):
    return [(group.directory, group.paths) for group in grouping.groups]


# ---- the rule, case by case ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 2", [(0, 1)]),
        ("1 1.5 2 3", [(0, 1, 2, 3)]),
        ("1 3", [(0, 1)]),
        ("1.5 3", [(0, 1)]),
        ("1 3 2", [(0, 2)]),
        ("1 3 2 3", [(0, 2, 3)]),
        ("1 3 2 1.5", [(0, 3)]),
        ("1 2 2 3", [(0, 1), (2, 3)]),
        ("1 3 1 2", [(0, 1), (2, 3)]),
        ("1 2 3 1.5", [(0, 3), (1, 2)]),
        ("1 2 1.5 3 3", [(0, 2, 3)]),
        ("1 3 3 2", [(0, 3)]),
        ("1 3 3", [(0, 1)]),
        ("1 1 2", [(1, 2)]),
        ("2 1 3", [(1, 2)]),
        ("3 2 1.5 1", []),
        ("2 2 2", []),
        ("1", []),
        ("- 1 2", [(1, 2)]),
        ("1 - 2", [(0, 2)]),
        ("1 - 3 - 2 -", [(0, 4)]),
        ("- -", []),
    ],
)
def test_runs_of_rising_stages(text, expected):
    paths = row(text)
    found = group_images("p", paths, Rule())
    assert places(found, paths) == expected
    alone = [path for place, path in enumerate(paths) if not any(place in members for members in expected)]
    reasons = {path: stages.ALONE if "stage" in path else stages.NO_STAGE for path in alone}
    assert found.ungrouped == sorted(reasons.items())
    assert found.counts == {"listed": len(paths), "grouped": len(paths) - len(alone), "ungrouped": len(alone)}


@pytest.mark.parametrize(("between", "second"), [(49, "2"), (50, "3")])
def test_fifty_images_are_looked_at(between, second):
    paths = row("1 " + "3 " * between + "2")
    found = group_images("p", paths, Rule())
    assert places(found, paths) == [(0, between + 1 if second == "2" else 1)]


def test_images_without_a_stage_do_not_use_up_the_look_ahead():
    paths = row("1 " + "- " * 58 + "2")
    assert places(group_images("p", paths, Rule()), paths) == [(0, 59)]


def test_every_step_looks_fifty_images_ahead_anew():
    paths = row("1 " + "3 " * 29 + "1.5 " + "3 " * 25 + "2")
    assert places(group_images("p", paths, Rule()), paths) == [(0, 30, 56)]


def test_sorted_by_timestamp_then_stage_then_name_and_no_timestamp_last():
    paths = [
        "20250102_000000_stage1_generated.png",
        "20250102_000000_stage2_upscaled.png",
        "20250102_000000_stage2_upscaled_b.png",
        "20250103_000000_a_stage1_generated.png",
        "20250103_000000_b_stage1_generated.png",
        "0_stage2_upscaled.png",
        "_20250101_000000_stage3_enhanced.png",
    ]
    found = group_images("p", reversed(paths), SINGLES)
    assert places(found, paths) == [(0, 1), (2,), (3,), (4, 5, 6)]
    assert [group.timestamp for group in found.groups] == ["20250102_000000"] * 2 + ["20250103_000000"] * 2
    assert [group.stages for group in found.groups] == [(1.0, 2.0), (2.0,), (1.0,), (1.0, 2.0, 3.0)]


def test_the_group_of_images_without_timestamps_has_none():
    found = group_images("p", ["x_stage1_generated.png", "x_stage2_upscaled.png"], Rule())
    assert found.groups[0].timestamp is None
    assert found.groups[0].group_id.startswith("p_group_x_stage1_generated_")


@pytest.mark.parametrize(
    ("name", "timestamp"),
    [
        ("20250131_235959_stage1_generated.png", "20250131_235959"),
        ("20250131_2359591234.png", "20250131_235959"),
        ("20259999_999999.png", "20259999_999999"),
        ("2025013_235959.png", None),
        ("20250131-235959.png", None),
        ("20250131_23595.png", None),
        ("x20250131_235959.png", None),
        (" 20250131_235959.png", None),
        ("٢٠٢٥٠١٣١_٢٣٥٩٥٩.png", None),
    ],
)
def test_timestamps(name, timestamp):
    assert group_images("p", [f"20240101_000000/{name}"], SINGLES).groups[0].timestamp == timestamp


@pytest.mark.parametrize(
    ("timestamp", "time"),
    [
        ("20240229_235959", datetime.fromisoformat("2024-02-29T23:59:59")),
        ("20250229_000000", None),
        ("20259999_999999", None),
        ("20250101_240000", None),
        ("20250101_000060", None),
        ("00000101_000000", None),
        (None, None),
    ],
)
def test_times(timestamp, time):
    assert time_of(timestamp) == time


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("stage1_generated.png", 1.0),
        ("x_stage1.5_face_swapped (2).png", 1.5),
        ("Stage2_UPSCALED.JPG", 2.0),
        ("stage3_enhanced.webp", 3.0),
        ("stage1.5_face_swapped_stage1_generated.png", 1.5),
        ("stage1_generated_stage1.5_face_swapped.png", 1.5),
        ("stage2_upscaled_stage1_generated.png", 1.0),
        ("stage3_enhanced_stage2_upscaled.png", 2.0),
        ("stage1.png", None),
        ("stage1_5_face_swapped.png", None),
        ("stage1x5_face_swapped.png", None),
    ],
)
def test_stages_are_found_in_the_name_the_longest_first(name, stage):
    assert group_images("p", [f"stage3_enhanced/{name}"], SINGLES).groups[0].stages == (stage,)


def test_a_group_lies_in_one_directory():
    paths = [f"{folder}{name}" for folder in ("", "a/", "a/b/", "a b/") for name in row("1 2")]
    found = group_images("p", paths, Rule())
    assert rows(found) == [(folder.rstrip("/"), tuple(folder + name for name in row("1 2"))) for folder in ("", "a/", "a b/", "a/b/")]
    split = [f"{folder}/{name}" for folder, name in zip("ab", row("1 2"), strict=True)]
    assert group_images("p", split, Rule()).groups == []


def test_no_images_are_no_groups():
    assert group_images("p", [], Rule()) == Grouping([], [], {"listed": 0, "grouped": 0, "ungrouped": 0})


def test_a_path_that_is_listed_twice_is_refused():
    with pytest.raises(AccountingError, match=r"1 images listed twice: a\.png"):
        group_images("p", ["a.png", "b.png", "a.png"], Rule())


# ---- gaps ----


@pytest.mark.parametrize(("minutes", "expected"), [(None, [(0, 1)]), (10, [(0, 1)]), (9.99, []), (0, [])])
def test_a_member_follows_within_the_gap_and_the_limit_counts(minutes, expected):
    paths = ["20241231_235500_stage1_generated.png", "20250101_000500_stage2_upscaled.png"]
    assert places(group_images("p", paths, Rule(max_gap_minutes=minutes)), paths) == expected


def test_no_gap_at_all_is_within_every_limit():
    paths = ["20241231_235500_stage1_generated.png", "20241231_235500_stage2_upscaled.png"]
    assert places(group_images("p", paths, Rule(max_gap_minutes=0)), paths) == [(0, 1)]


def test_gaps_count_from_member_to_member():
    paths = row("1 - 1.5 - 2 - - 3")
    assert places(group_images("p", paths, Rule(max_gap_minutes=2)), paths) == [(0, 2, 4)]


def test_a_lower_stage_beyond_the_gap_is_not_waited_for():
    paths = row("1 3 - - 2")
    assert places(group_images("p", paths, Rule(max_gap_minutes=2)), paths) == [(0, 1)]
    assert places(group_images("p", paths, Rule(max_gap_minutes=4)), paths) == [(0, 4)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["x_stage1_generated", "x_stage2_upscaled"], []),
        (["20250101_000000_stage1_generated", "x_stage2_upscaled"], []),
        (["20259999_999999_stage1_generated", "20259999_999999_stage2_upscaled"], []),
        (["20250131_235959_stage1_generated", "20250132_000000_stage2_upscaled", "20250201_000000_stage3_enhanced"], [(0, 2)]),
        (["20250131_235959_stage2_upscaled", "20250132_000000_stage1_generated", "20250201_000000_stage3_enhanced"], []),
    ],
    ids=["no timestamps", "one has none", "impossible date", "an impossible date between", "an impossible date ends the search"],
)
def test_what_has_no_time_is_within_no_limit(names, expected):
    assert places(group_images("p", names, Rule(max_gap_minutes=60 * 24)), names) == expected
    if len(names) == 2:
        assert places(group_images("p", names, Rule()), names) == [(0, 1)]


# ---- images in no group ----


def test_singletons_stand_where_their_image_stands():
    paths = ["a/20250101_000000.png", "a/20250101_000000_stage2_upscaled.png", "a/x.png", "b/1.png"]
    found = group_images("p", reversed(paths), SINGLES)
    assert [group.paths for group in found.groups] == [(paths[1],), (paths[0],), (paths[2],), (paths[3],)]
    assert [group.stages for group in found.groups] == [(2.0,), (None,), (None,), (None,)]
    assert found.ungrouped == []


# ---- patterns ----


def test_a_pattern_replaces_stages():
    names = ("-x", "20250101_000000_stage1_generated", "cat-a", "cat-b", "dog-1_stage1_generated")
    d, other = [f"d/{name}.png" for name in names], "e/cat-c.png"
    paths = [other, *reversed(d)]
    found = group_images("p", paths, Rule(pattern=PREFIX, max_gap_minutes=0))
    assert rows(found) == [("d", (d[2], d[3]))]
    reasons = [stages.NO_MATCH] * 2 + [stages.ALONE_IN_PATTERN] * 2
    assert found.ungrouped == list(zip([d[0], d[1], d[4], other], reasons, strict=True))
    assert len(group_images("p", paths, Rule(pattern=PREFIX, ungrouped="singletons")).groups) == 5


def test_members_of_a_pattern_stand_in_the_same_order_and_may_share_a_stage():
    names = ("20250101_000000_stage2_upscaled", "20250101_000000_stage3_enhanced", "20250102_000000", "A", "B")
    paths = [f"{name}-x.png" for name in names]
    found = group_images("p", reversed(paths), Rule(pattern="-(?P<group>.)"))
    assert found.groups[0].paths == tuple(paths)
    assert found.groups[0].stages == (2.0, 3.0, None, None, None)


@pytest.mark.parametrize("pattern", ["(?P<group>[0-9]*)", "x|(?P<group>[0-9])"], ids=["empty", "not taken part"])
def test_a_part_without_text_is_no_group(pattern):
    found = group_images("p", ["x1.png", "x2.png"], Rule(pattern=pattern))
    assert found.ungrouped == [("x1.png", stages.NO_MATCH), ("x2.png", stages.NO_MATCH)]


def test_a_pattern_sees_the_name_alone():
    found = group_images("p", ["cat-1/x.png", "cat-1/y.png"], Rule(pattern=PREFIX))
    assert [reason for _, reason in found.ungrouped] == [stages.NO_MATCH] * 2


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(?P<group>", "is no regular expression that can be used: missing ), unterminated subpattern at position 0"),
        ("(?P<group>a{99999999999999999999})", "is no regular expression that can be used: the repetition number is too large"),
        ("(" * 5000 + ")" * 5000, "is no regular expression that can be used: maximum recursion depth exceeded"),
        ("(?P<name>.)", "needs a group named group, such as (?P<group>[^_]+)_"),
        ("(.)", "needs a group named group"),
    ],
    ids=["syntax", "too large", "too deep", "other name", "no name"],
)
def test_a_bad_pattern_is_refused_with_its_setting(pattern, text):
    with pytest.raises(StepError) as caught:
        group_images("p", [], Rule(pattern=pattern, pattern_setting="predict.grouping.pattern"))
    assert str(caught.value).startswith(f"predict.grouping.pattern: {pattern!r} {text}")


def test_a_pattern_that_would_take_years_is_stopped_and_names_the_image(monkeypatch):
    monkeypatch.setattr(stages, "MATCHING_SECONDS", 0.2)
    slow = "a" * 60 + ".png"
    with pytest.raises(StepError) as caught:
        group_images("p", ["z.png", slow, "A.png"], Rule(pattern="(?P<group>(a+)+)$", pattern_setting="projects.tsv, line 3"))
    assert str(caught.value).startswith(f"projects.tsv, line 3: '(?P<group>(a+)+)$' takes too long, last on {slow!r}; ")
    assert signal.getsignal(signal.SIGVTALRM) == signal.SIG_DFL


def test_no_timer_runs_on_after_a_pattern():
    group_images("p", ["a-1.png", "a-2.png"], Rule(pattern=PREFIX))
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGVTALRM) == signal.SIG_DFL


def test_patterns_work_in_any_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(group_images("p", ["a-1.png", "a-2.png"], Rule(pattern=PREFIX))))
    thread.start()
    thread.join()
    assert len(found[0].groups) == 1


# ---- ids ----


def test_group_ids():
    paths = ["d/20250101_000000_stage2_upscaled.png", "d/20250101_000000_stage1_generated.png", "d/ö 'x'.y.png", ".png"]
    found = group_images("my project", paths, SINGLES)
    digests = [hashlib.sha256(text.encode()).hexdigest()[:8] for text in (paths[3], f"{paths[1]}\0{paths[0]}", paths[2])]
    assert [group.group_id for group in found.groups] == [
        f"my project_group_.png_{digests[0]}",
        f"my project_group_20250101_000000_{digests[1]}",
        f"my project_group_ö 'x'.y_{digests[2]}",
    ]


def test_the_hash_goes_by_sorted_paths_not_by_group_order():
    paths = ["20250101_000000_z_stage1_generated.png", "20250101_000000_a_stage2_upscaled.png"]
    found = group_images("p", paths, Rule())
    assert found.groups[0].paths == tuple(paths)
    assert found.groups[0].group_id.endswith(hashlib.sha256("\0".join(sorted(paths)).encode()).hexdigest()[:8])


def test_groups_with_the_same_digits_get_more_and_the_others_do_not():
    # The SHA-256 of the first two, and of the next two, begin with the same 8 digits.
    paths = ["21550/x.png", "36917/x.png", "22655/x.png", "46540/x.png", "1/x.png"]
    ids = {group.paths[0]: group.group_id for group in group_images("p", paths, SINGLES).groups}
    hashes = {path: hashlib.sha256(path.encode()).hexdigest() for path in paths}
    assert hashes[paths[0]][:8] == hashes[paths[1]][:8]
    assert ids == {path: f"p_group_x_{hashes[path][: 8 if path == '1/x.png' else 16]}" for path in paths}
    other = [paths[0], "36917/y.png"]
    assert {len(group.group_id) for group in group_images("p", other, SINGLES).groups} == {len("p_group_x_") + 8}


# ---- a second reading of the rule ----


def read_again(images, limit):
    """The rule over (minute or None, stage) in order, as sets of places, written as the contract says it."""
    free, found = list(range(len(images))), []
    while free:
        members = [free[0]]
        while True:
            minute, stage = images[members[-1]]
            ahead = [(images[place][1], place) for place in range(members[-1] + 1, len(images))][:50]
            ends = [place for other, place in ahead if other <= stage] or [len(images)]
            near = [
                (other, place)
                for other, place in ahead
                if place < ends[0] and (limit is None or (None not in (minute, images[place][0]) and images[place][0] - minute <= limit))
            ]
            if not near:
                break
            members.append(min(near)[1])
        assert set(members) <= set(free)
        free = [place for place in free if place not in members]
        found.append(tuple(members))
    return sorted(members for members in found if len(members) > 1)


def test_every_short_row_of_stages_is_grouped_as_a_second_reading_says():
    for length in range(1, 7):
        for texts in product(TEXTS, repeat=length):
            paths = row(" ".join(texts))
            assert places(group_images("p", paths, Rule()), paths) == read_again([(None, float(text)) for text in texts], None)


@pytest.mark.parametrize("seed", range(60))
def test_long_rows_with_gaps_are_grouped_as_a_second_reading_says(seed):
    chance = Random(seed)
    minutes = sorted(chance.randrange(600) for _ in range(150))
    texts = chance.choices(list(TEXTS), weights=chance.choice([(1, 1, 1, 1), (1, 2, 5, 60), (1, 1, 20, 20)]), k=len(minutes))
    undated = chance.randrange(4)
    limit = chance.choice([None, None, 0, 3, 30])
    start = datetime.fromisoformat("2025-01-31T20:00:00")
    names, read = [], []
    for place, (minute, text) in enumerate(zip(minutes, texts, strict=True)):
        dated = place < len(minutes) - undated
        time = f"{start + timedelta(minutes=minute):%Y%m%d_%H%M%S}_" if dated else ""
        names.append((not dated, time, float(text), f"{time}{TEXTS[text]}_{place}.png"))
        read.append((minute if dated else None, float(text)))
    order = sorted(range(len(names)), key=lambda place: names[place])
    paths = [names[place][-1] for place in order]
    expected = read_again([read[place] for place in order], limit)
    assert places(group_images("p", paths, Rule(max_gap_minutes=limit)), paths) == expected
    assert expected or limit == 0


# ---- what holds for any set of names ----


def some_paths(seed):
    chance = Random(seed)
    times = ["20250101_000000", "20250101_000400", "20250101_001000", "20250102_000000", "20259999_999999", "", "x"]
    texts = [*TEXTS.values(), "stage1_generated_stage3_enhanced", "other", "STAGE2_upscaled"]
    names = {f"{chance.choice(times)}_{chance.choice(texts)}{chance.choice(['', '_b', ' ö', '#%{}'])}.png" for _ in range(40)}
    return [f"{folder}{name}" for folder in ("", "a/", "a/b/") for name in sorted(names) if chance.random() < 0.6]


RULES = [Rule(), SINGLES, Rule(max_gap_minutes=5), Rule(max_gap_minutes=5, ungrouped="singletons"), Rule(pattern=r"(?P<group>[^_]+)_")]
RULE_IDS = ["stages", "singletons", "gap", "gap and singletons", "pattern"]


@pytest.mark.parametrize("rule", RULES, ids=RULE_IDS)
@pytest.mark.parametrize("seed", range(12))
def test_every_image_is_in_one_place_and_groups_are_sound(seed, rule):
    paths = some_paths(seed)
    found = group_images("p", paths, rule)
    assert sorted([path for group in found.groups for path in group.paths] + [path for path, _ in found.ungrouped]) == sorted(paths)
    assert found.counts["grouped"] + found.counts["ungrouped"] == found.counts["listed"] == len(paths)
    assert len({group.group_id for group in found.groups}) == len(found.groups)
    assert {min(len(group.paths), 2) for group in found.groups} == ({1, 2} if rule.ungrouped == "singletons" else {2})
    assert bool(found.ungrouped) == (rule.ungrouped == "list")
    for group in found.groups:
        assert {path.rpartition("/")[0] for path in group.paths} == {group.directory}
        assert rule.pattern or len(group.paths) == 1 or list(group.stages) == sorted(set(group.stages))


@pytest.mark.parametrize("rule", RULES, ids=RULE_IDS)
@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_the_paths_does_not_matter(seed, rule):
    paths = some_paths(seed)
    found = group_images("p", paths, rule)
    Random(seed).shuffle(paths)
    assert group_images("p", iter(paths), rule) == found


@pytest.mark.parametrize("rule", RULES, ids=RULE_IDS)
def test_images_of_another_directory_change_no_group(rule):
    paths = some_paths(3)
    before = group_images("p", paths, rule)
    after = group_images("p", [*paths, *(f"a/c/{name}" for name in row("1 3 2 - 3")), "A/x_stage1_generated.png"], rule)
    assert [group for group in after.groups if group.directory not in ("a/c", "A")] == before.groups
    assert [one for one in after.ungrouped if not one[0].startswith(("a/c/", "A/"))] == before.ungrouped
    assert after.counts["listed"] == before.counts["listed"] + 6
