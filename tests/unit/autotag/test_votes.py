"""The counting: who votes, how often, for what; and a slow way to count, which the fast one has to agree with."""

import math
import random
from collections import defaultdict
from fractions import Fraction

import pytest

from tests.unit.autotag.vote_data import SETTINGS, Votes, sha256
from workflow_scripts.autotag.tag_names import Spelling
from workflow_scripts.autotag.votes import least_carriers
from workflow_scripts.core.step import StepError


@pytest.fixture
def votes(tmp_path):
    return Votes(tmp_path / "t")


def of(*tags, times=1):
    """So many neighbours with these tags."""
    return [list(tags)] * times


def test_a_crop_votes_once_for_what_enough_of_its_neighbours_carry(votes):
    votes.image("a.jpg", of("dog", times=3) + of("cat", times=2) + of("sky", times=5), of("dog", times=10))
    votes.vote(min_votes=2, relax_small=False)
    assert votes.found("tag", "votes", "needed", "outcome", "reason") == [
        ("dog", 2, 2, "kept", None),
        ("sky", 1, 2, "rejected", "votes 1 of 2"),
    ]
    assert votes.tags() == {"a.jpg": ["dog"]}
    assert votes.found("crops") == [["a_0", "a_1"], ["a_0"]]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.6, 0.7, 1 / 3, 0.07, 1.0, 0.0])
def test_the_share_is_the_number_of_the_settings_and_not_the_nearest_float(share):
    least = least_carriers(share, 100).tolist()
    for count in range(1, 101):
        assert Fraction(least[count], count) >= Fraction(str(share))
        assert Fraction(least[count] - 1, count) < Fraction(str(share))


@pytest.mark.parametrize(("carriers", "share", "votes_for"), [(3, 0.3, 1), (2, 0.3, 0), (7, 0.7, 1), (6, 0.7, 0), (1, 0.0, 1), (1, 0.1, 1)])
def test_shares_at_their_limit(votes, carriers, share, votes_for):
    votes.image("a.jpg", of("dog", times=carriers) + of("sky", times=10 - carriers))
    votes.vote(min_share=share, min_votes=1)
    assert dict(votes.found("tag", "votes")).get("dog", 0) == votes_for


def test_the_share_is_one_of_the_neighbours_that_are_there(votes):
    votes.image("a.jpg", of("dog") + of("sky", times=2))
    votes.vote(min_share=0.34, min_votes=1)
    assert votes.found("tag") == ["sky"]
    votes.vote(min_share=0.33, min_votes=1)
    assert votes.found("tag") == ["sky", "dog"]


def test_of_several_neighbours_from_one_image_the_nearest_counts(votes):
    again = {"key": "photo", "tags": ["dog"]}
    copy = {"key": "a copy", "tags": ["dog"], "neighbour_sha256": sha256("source photo")}
    votes.image("a.jpg", [again, *of("sky", times=4), again, again, copy])
    votes.vote(min_share=0.3, min_votes=1)
    assert votes.found("tag") == ["sky"], "one of five"
    counts = votes.vote(min_share=0.3, min_votes=1, one_vote_per_image=False)
    assert votes.found("tag") == ["dog", "sky"], "four of eight"
    assert counts["neighbours_same_image"] == 0


def test_one_source_image_may_vote_at_several_crops(votes):
    votes.image("a.jpg", *[[{"key": "photo", "tags": ["dog"]}]] * 3)
    votes.vote()
    assert votes.found("tag", "votes", "neighbours") == [("dog", 3, ["00007/photo"])]


def test_what_is_left_out_makes_room_for_what_is_behind_it(votes):
    own = {"neighbour_sha256": sha256("the same"), "tags": ["own"]}
    row = [own, {"tags": [], "similarity": 0.1}, {"tags": []}, {"tags": ["", "  "]}, {"tags": None}, ["dog"], ["dog"], ["sky"]]
    votes.image("a.jpg", row, content=sha256("the same"))
    counts = votes.vote(k=2, min_votes=1, min_similarity=0.5)
    assert votes.found("tag", "votes") == [("dog", 1)]
    found = {name.removeprefix("neighbours_"): count for name, count in counts.items() if name.startswith("neighbours_")}
    assert found == {"own": 1, "excluded": 0, "dissimilar": 1, "untagged": 3, "same_image": 0, "beyond_k": 1, "counted": 2}
    assert sum(found.values()) == len(row)


def test_the_least_similarity_itself_is_enough(votes):
    votes.image("a.jpg", [{"tags": ["at"], "similarity": 0.7}, {"tags": ["below"], "similarity": 0.7 - 1e-9}])
    votes.vote(min_similarity=0.7, min_votes=1)
    assert votes.found("tag") == ["at"]


def test_own_copies_never_vote_whatever_they_are_called(votes):
    content = sha256("the same")
    votes.image("a.jpg", [{"tags": ["own"], "neighbour_sha256": content, "key": f"copy {number}"} for number in range(9)], content=content)
    votes.image("b.jpg", [{"tags": ["other"], "neighbour_sha256": content}])
    votes.vote(min_votes=1)
    assert votes.found("image", "tag") == [("b.jpg", "other")], "of another image it is a neighbour like others"


def test_labels_are_votes_of_segments_and_a_whole_image_has_none(votes):
    whole = {"key": "photo", "tags": ["dog", "sky"], "label": None}
    part = {"key": "photo", "tags": ["dog", "sky"], "label": "Dog"}
    votes.image("a.jpg", [whole, part])
    counts = votes.vote(tags="label", min_votes=1)
    assert votes.found("tag") == ["dog"], "the whole image has nothing to say and does not stand before its part"
    assert counts["neighbours_untagged"] == 1
    votes.vote(tags="image", min_votes=1)
    assert votes.found("tag") == ["dog", "sky"]


def test_small_images_need_the_votes_of_all_their_crops(votes):
    for crops in range(1, 5):
        votes.image(f"{crops}.jpg", *[of("dog")] * crops)
    votes.image("two of three.jpg", of("dog"), of("dog"), of("sky"))
    votes.vote(relax_small=True)
    assert votes.found("image", "tag", "needed", "outcome") == [
        ("1.jpg", "dog", 1, "kept"),
        ("2.jpg", "dog", 2, "kept"),
        ("3.jpg", "dog", 3, "kept"),
        ("4.jpg", "dog", 3, "kept"),
        ("two of three.jpg", "dog", 3, "rejected"),
        ("two of three.jpg", "sky", 3, "rejected"),
    ]
    votes.vote(relax_small=False)
    assert votes.found("outcome") == ["rejected", "rejected", "kept", "kept", "rejected", "rejected"]


def test_a_crop_whose_neighbours_are_all_left_out_is_a_crop_all_the_same(votes):
    votes.image("a.jpg", of("dog"), [[]])
    votes.vote()
    assert votes.found("votes", "needed") == [(1, 2)]


def test_all_neighbours_votes_add_up_by_neighbour(votes):
    votes.image("a.jpg", of("dog", times=2) + of("sky"), of("dog") + of("dog", "sky"))
    votes.vote(unit="neighbour", min_votes=4)
    assert votes.found("tag", "votes", "needed", "outcome", "crops") == [
        ("dog", 4, 4, "kept", ["a_0", "a_1"]),
        ("sky", 2, 4, "rejected", ["a_0", "a_1"]),
    ]


def test_a_tag_that_an_image_carries_twice_counts_once(votes):
    votes.image("a.jpg", [["Dog", "dog ", "DOG", "hound"]])
    votes.vote(unit="neighbour", min_votes=1, aliases={"hound": "dog"})
    assert votes.found("tag", "votes") == [("dog", 1)]


def test_equal_votes_are_ordered_by_weight_and_then_by_name(votes):
    near, far = {"similarity": 0.9}, {"similarity": 0.4}
    row = [{"tags": ["b", "common"]} | near, {"tags": ["c", "common"]} | far, {"tags": ["a", "common"]} | far]
    votes.image("z.jpg", row)
    votes.index |= {"images": 99, "tag_images": {"a": 1, "b": 49, "c": 1, "common": 99}}
    votes.vote(min_votes=1)
    assert votes.found("tag", "weight") == [("common", 3.0), ("a", 1.0), ("b", 1.0), ("c", 1.0)]
    votes.vote(min_votes=1, weighting="similarity")
    assert votes.found("tag", "weight") == [("common", 1.7), ("b", 0.9), ("a", 0.4), ("c", 0.4)]
    votes.vote(min_votes=1, weighting="idf")
    assert votes.found("tag", "weight") == [
        ("a", round(math.log(50), 6)),
        ("c", round(math.log(50), 6)),
        ("b", round(math.log(2), 6)),
        ("common", 0.0),
    ]
    assert votes.tags() == {"z.jpg": ["a", "c", "b", "common"]}


def test_votes_come_before_weight(votes):
    votes.image("a.jpg", of("dog", times=10), of("dog", times=2) + of("sky", times=2), of("sky"))
    votes.vote(min_votes=1)
    assert votes.found("tag", "votes", "weight") == [("dog", 2, 12.0), ("sky", 2, 3.0)]


def test_the_nearest_neighbours_that_voted_are_named_first_with_what_they_are_like(votes):
    votes.image(
        "a.jpg",
        [{"key": "n0", "tags": ["dog"], "similarity": 0.7}, {"key": "n1", "tags": ["dog"], "similarity": 0.6}],
        [
            {"key": "n2", "tags": ["dog"], "similarity": 0.8},
            {"key": "n1", "tags": ["dog"], "similarity": 0.75, "neighbour_crop_id": "n1_4"},
        ],
        [{"key": "not", "tags": ["sky"], "similarity": 0.99}],
    )
    votes.vote(min_votes=1)
    row = next(row for row in votes.candidates() if row["tag"] == "dog")
    assert row["neighbours"] == ["00007/n2", "00007/n1", "00007/n0"]
    assert row["examples"] == [
        {"crop": "a_1", "segment": "n2_0", "similarity": 0.8},
        {"crop": "a_1", "segment": "n1_4", "similarity": 0.75},
        {"crop": "a_0", "segment": "n0_0", "similarity": 0.7},
    ]
    assert row["similarity"] == pytest.approx((0.7 + 0.6 + 0.8 + 0.75) / 4)


def test_five_of_many_neighbours_are_looked_at(votes):
    votes.image("a.jpg", of("dog", times=9))
    votes.vote()
    (row,) = votes.candidates()
    assert (len(row["neighbours"]), len(row["examples"])) == (9, 5)


def test_images_whose_crops_have_one_name_are_told_apart(votes):
    votes.image("a.jpg", of("dog"))
    votes.image("a.png", of("cat"))
    votes.vote(min_votes=1)
    assert votes.found("image", "tag") == [("a.jpg", "dog"), ("a.png", "cat")]


def test_nothing_at_all_is_no_error(votes):
    assert votes.vote()["listed"] == 0
    assert (votes.tags(), votes.candidates()) == ({}, [])
    votes.image("a.jpg")
    votes.image("b.jpg", [])
    assert votes.vote()["untagged"] == 2
    assert votes.tags() == {"a.jpg": [], "b.jpg": []}


def test_a_neighbour_of_a_crop_that_is_not_there_is_refused(votes):
    votes.image("a.jpg", of("dog"))
    votes.crops[0] = votes.crops[0] | {"crop_id": "a_7"}
    with pytest.raises(StepError, match=r"neighbours\.parquet: names the crop a_0 of a\.jpg, which the embeddings do not; delete it"):
        votes.vote()


class Reference:
    """The same votes counted one by one."""

    def __init__(self, votes, settings):
        self.settings, self.spell = settings, Spelling(settings["aliases"])
        self.index = votes.index
        by_crop = defaultdict(list)
        for row in votes.neighbours:
            by_crop[row["image"], row["crop_id"]].append(row)
        self.found = {}
        for image in votes.images:
            crops = [crop for crop in votes.crops if crop["image"] == image["image"]]
            for tag, cast in self.image(crops, by_crop).items():
                self.found[image["image"], tag] = cast

    def image(self, crops, by_crop):
        cast = defaultdict(lambda: {"votes": 0, "crops": [], "voters": []})
        for crop in crops:
            counted = self.counted(by_crop[crop["image"], crop["crop_id"]])
            carriers = defaultdict(list)
            for row in counted:
                for tag in self.tags(row):
                    carriers[tag].append(row)
            for tag, rows in carriers.items():
                if self.settings["unit"] == "crop" and Fraction(len(rows), len(counted)) < Fraction(str(self.settings["min_share"])):
                    continue
                cast[tag]["votes"] += len(rows) if self.settings["unit"] == "neighbour" else 1
                cast[tag]["crops"].append(crop["crop_id"])
                cast[tag]["voters"] += rows
        need = self.settings["min_votes"]
        if self.settings["unit"] == "crop" and self.settings["relax_small"]:
            need = max(1, min(need, len(crops)))
        return {tag: self.outcome(tag, found, need) for tag, found in cast.items()}

    def outcome(self, tag, found, need):
        voters = found["voters"]
        weight = {"count": len(voters), "similarity": sum(row["similarity"] for row in voters)}.get(self.settings["weighting"])
        if weight is None:
            on = sum(count for other, count in self.index["tag_images"].items() if self.spell(other) == tag)
            weight = found["votes"] * math.log((1 + self.index["images"]) / (1 + min(on, self.index["images"])))
        names = [f"{row['neighbour_shard']}/{row['neighbour_key']}" for row in voters]
        kept = found["votes"] >= need
        return found["votes"], need, pytest.approx(weight, abs=2e-6), found["crops"], set(names), "kept" if kept else "rejected"

    def counted(self, rows):
        found, seen = [], set()
        for row in sorted(rows, key=lambda row: row["rank"]):
            if row["neighbour_sha256"] == row["sha256"] or row["similarity"] < self.settings["min_similarity"] or not self.tags(row):
                continue
            if self.settings["one_vote_per_image"] and row["neighbour_sha256"] in seen:
                continue
            seen.add(row["neighbour_sha256"])
            found.append(row)
        return found[: self.settings["k"]]

    def tags(self, row):
        given = [row["label"]] if self.settings["tags"] == "label" else row["tags"] or []
        return {self.spell(tag) for tag in given if tag is not None} - {""}


WORDS = ["dog", "Dog ", "cat", "CAT", "sky", "", "  ", "e\u0301t\u00e9", "ÉTÉ", "hound", "a → b", None]


def by_chance(votes, chance):
    """Random images, whose neighbours are few source images, some of them the images themselves."""
    for number in range(chance.randint(1, 5)):
        name = f"{chance.choice(['', 'd/'])}{number}.jpg"
        crops = []
        for _ in range(chance.randint(0, 5)):
            rows = []
            for _ in range(chance.randint(0, 12)):
                key = f"k{chance.randint(0, 9)}"
                row = {"key": key, "tags": chance.choices(WORDS[:-1], k=chance.randint(0, 4)), "label": chance.choice(WORDS)}
                row |= {"similarity": round(chance.random(), 2), "neighbour_crop_id": f"{key}_{chance.randint(0, 3)}"}
                rows.append(row | ({"neighbour_sha256": sha256(name)} if chance.random() < 0.1 else {}))
            crops.append(sorted(rows, key=lambda row: -row["similarity"]))
        votes.image(name, *crops)
    votes.index |= {"images": 50, "tag_images": {"dog": 5, "DOG": 3, "cat": 49, "sky": 60}}


def settings_by_chance(chance):
    return {
        "unit": chance.choice(["crop", "neighbour"]),
        "tags": chance.choice(["label", "image"]),
        "weighting": chance.choice(["count", "similarity", "idf"]),
        "k": chance.randint(1, 12),
        "min_votes": chance.randint(1, 4),
        "min_share": chance.choice([0.0, 0.1, 0.2, 0.3, 0.34, 0.5, 0.7, 1.0]),
        "min_similarity": chance.choice([-1.0, 0.0, 0.25, 0.5]),
        "one_vote_per_image": chance.random() < 0.5,
        "relax_small": chance.random() < 0.5,
        "aliases": chance.choice([{}, {"hound": "dog"}, {"sky": "", "Cat": "dog"}]),
    }


@pytest.mark.parametrize("seed", range(60))
def test_the_fast_way_counts_as_the_slow_one(tmp_path, seed):
    chance = random.Random(seed)
    votes, settings = Votes(tmp_path), settings_by_chance(chance)
    by_chance(votes, chance)
    votes.vote(**settings)
    expected = Reference(votes, SETTINGS | settings).found
    rows = votes.candidates()
    found = {
        (row["image"], row["tag"]): (row["votes"], row["needed"], row["weight"], row["crops"], set(row["neighbours"]), row["outcome"])
        for row in rows
    }
    assert len(found) == len(rows)
    assert found == expected
    order = [(row["image"], -row["votes"], -row["weight"], row["tag"]) for row in rows]
    assert order == sorted(order)


@pytest.mark.parametrize("seed", range(8))
def test_the_order_of_rows_and_images_makes_no_difference(tmp_path, seed):
    chance = random.Random(seed)
    votes, settings = Votes(tmp_path), settings_by_chance(chance)
    by_chance(votes, chance)
    for row in votes.neighbours:
        row["similarity"] = chance.random()  # sums of many digits
    votes.vote(**settings)
    before = [path.read_bytes() for path in (votes.outputs.candidates, votes.outputs.table, votes.outputs.tags)]
    chance.shuffle(votes.neighbours)
    chance.shuffle(votes.images)
    order = [crop["image"] for crop in votes.crops]
    images = sorted(set(order), key=lambda image: chance.random())
    votes.crops.sort(key=lambda crop: images.index(crop["image"]))
    votes.vote(**settings)
    assert [path.read_bytes() for path in (votes.outputs.candidates, votes.outputs.table, votes.outputs.tags)] == before


def test_light_steps_load_nothing_heavy():
    import subprocess
    import sys

    program = (
        "import sys, workflow_scripts.autotag.vote, workflow_scripts.autotag.report\n"
        "print([name for name in ('torch', 'pandas', 'faiss', 'ultralytics', 'vl_convert', 'webdataset') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
