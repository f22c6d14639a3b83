"""The pages of retrieval as they are used: hostile names, decisions by keys, and what the next run makes of them."""

import csv
import json
import re
from collections import defaultdict

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.unit.retrieval.pages_data import HOSTILE, Results, drawn
from workflow_scripts.core.decisions import Reviews
from workflow_scripts.core.embeddings import embedding_schema, write_table
from workflow_scripts.core.seeded import rank
from workflow_scripts.core.storage import FolderStorage
from workflow_scripts.core.thumbnails import Thumbnails
from workflow_scripts.retrieval import images_page, report
from workflow_scripts.retrieval.catalog_file import ConceptImages, write_catalog
from workflow_scripts.retrieval.embed import EMBED_KEYS
from workflow_scripts.retrieval.retrieve import retrieve
from workflow_scripts.retrieval.splits import write_splits

SPLIT = {"seed": 23, "concept_frac": 0.65, "min_concepts_threshold": 3, "test_sample_frac": 1.0, "max_test_images": 200}
SETTINGS = {
    "candidate_concepts": 8,
    "duplicate_similarity": None,
    "k": 3,
    "negative_pool": "category",
    "negatives": "nearest",
    "positive": "hard",
    "seed": 23,
}
CONCEPTS = ("a <b>bold mug", 'it\'s "blue"', "grey\nmug", "tall → mug")


class Chain:
    """Images with vectors, and the steps from the catalog to the pages on them."""

    def __init__(self, root):
        # Relative paths: what is drawn by chance depends on them.
        self.results, self.root = Results(root, {}, relative=True), root
        self.settings = SETTINGS | {"data_root": str(self.results.data), "relative": True}
        for concept in CONCEPTS:
            for number, name in enumerate(HOSTILE):
                self.results.put("mug", concept, name, drawn("mug", concept, number))
        for number in range(3):
            self.results.put("oil & vinegar", "jar", f"{number}.jpg", drawn("oil", "jar", number))
        self.results.put("mug", CONCEPTS[0], "broken.jpg", b"no image", "error", "decode: not an image")
        self.results.put("mug", CONCEPTS[0], "notes.txt", None, "skipped", "skipped: .txt")
        self.pages = 0

    def retrieve(self, reviews=None):
        """Catalog, splits and records by the steps themselves; gives the records of all categories."""
        made = self.results.write()
        catalog = defaultdict(dict)
        for row in self.results.rows:
            if row["outcome"] == "train":
                images = catalog[row["category"]].setdefault(row["concept"], ConceptImages(train=[], test=[], negative=[]))
                images.train.append(row["catalog_path"])
        write_catalog(self.root / "catalog.json", catalog)
        write_splits(
            self.root / "catalog.json",
            made["images"],
            SPLIT,
            {"train": self.root / "train.json", "validation": self.root / "validation.json", "metadata": made["splits"]},
        )
        self.inputs = {"images": made["images"], "splits": made["splits"], "records": [], "metadata": []}
        for category in catalog:
            outputs = self.root / f"{category}.json", self.root / f"{category}_metadata.json"
            settings = self.settings | {"category": category}
            retrieve(self.root / "catalog.json", [self.embed(category)], reviews, settings, outputs, 1)
            self.inputs["records"].append(outputs[0])
            self.inputs["metadata"].append(outputs[1])
        return [record for path in self.inputs["records"] for record in json.loads(path.read_text(encoding="utf-8"))]

    def embed(self, category):
        """A table with a vector for each image, alike within a concept."""
        rows = []
        for row in sorted(self.results.rows, key=lambda row: row["path"]):
            if row["category"] != category or row["outcome"] != "train":
                continue
            own, shared = (np.random.default_rng(rank(*names) % 2**32).normal(size=8) for names in ((row["path"],), (row["concept"],)))
            vector = own + 2 * shared + 3
            known = {name: row[name] for name in ("path", "concept", "sha256")} | {"part": "", "phash": rank(row["path"]) >> 64}
            rows.append(known | {"width": 4, "height": 3, "views": 1, "embedding": (vector / np.linalg.norm(vector)).astype(np.float16)})
        path = self.root / f"{category}.parquet"
        write_table(path, embedding_schema(EMBED_KEYS, {"fingerprint": "one model"}), rows)
        return path

    def page(self, kind):
        """Build a page; gives its folder."""
        self.pages += 1
        folder, run = self.root / f"page-{self.pages}", self.results.settings(retrieval_source="catalog")
        thumbnails = Thumbnails(str(self.root / "cache"), FolderStorage(self.results.data), 10**7)
        if kind == "report":
            report.build(run, **self.inputs, thumbnails=thumbnails, output=folder, threads=2)
        else:
            images_page.build(run | {"reviews": "reviews/retrieval/things/catalog.csv"}, self.inputs["images"], thumbnails, folder, 2)
        return folder


@pytest.fixture
def chain(tmp_path):
    return Chain(tmp_path)


def as_listed(seen):
    seen.tab.locator("#order").select_option(label="as listed")
    seen.settle()
    return seen


def negatives_of(record):
    return [path for place, path in enumerate(record["ret_paths"]) if place != record["label"]]


def pairs_of(records):
    """The names of the page's rows."""
    return [f"{record['query_path']} → {path}" for record in records for path in negatives_of(record)]


def cells_of(panel):
    """The rows of a panel's table as texts."""
    return panel.locator("tr").evaluate_all("rows => rows.map(row => [...row.children].map(cell => cell.textContent))")


def saved(rows, path):
    """What the browser's file says, as a file."""
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_decisions_by_keys_have_the_exact_names_and_hold_in_the_next_run(chain, gallery, visit, tmp_path):
    context = visit.context(viewport={"width": 1300, "height": 1400})
    records = chain.retrieve()
    pairs = pairs_of(records)
    assert len(records) == 24
    seen = as_listed(gallery(chain.page("report"), context))
    assert seen.counts() == {"kept": 48, "skipped": 3, "error": 1}
    assert seen.names() == pairs[: len(seen.names())]
    kept, dropped = negatives_of(records[0])
    place, nowhere = next(
        (place, name)
        for place, name in enumerate(name for record in records for name in negatives_of(record))
        if place > 3 and name not in (kept, dropped)
    )
    seen.press("k", "x", "q", *["ArrowRight"] * (place - 3), "v")
    assert seen.current() == pairs[place + 1]
    seen.press("x", "u")
    decided = dict(zip((*pairs[:3], pairs[place]), ("keep", "drop_pair", "drop_query", "drop_negative"), strict=True))
    exported = seen.export()
    assert {row["path"]: row["decision"] for row in exported} == decided
    contents = {row["catalog_path"]: row["sha256"] for row in chain.results.rows}
    queries = [records[number // 2]["query_path"] for number in (0, 1, 2, place)]
    assert [row["sha256"] for row in exported] == [contents[query] for query in queries]
    assert seen.counts() == {"kept": 45, "left out": 3, "skipped": 3, "error": 1}
    assert seen.tab.evaluate("window.hacked") is None
    expect(seen.tab.locator("body")).to_contain_text("reviews/retrieval/things/retrieve.csv")
    reviews = saved(exported, tmp_path / "retrieve.csv")
    again = chain.retrieve(reviews)
    found = {record["query_path"]: record["ret_paths"] for record in again}
    assert records[1]["query_path"] not in found
    assert kept in found[records[0]["query_path"]]
    assert dropped not in found[records[0]["query_path"]]
    assert not [record for record in again if nowhere in record["ret_paths"]]
    after = as_listed(gallery(chain.page("report"), context))
    expect(after.tab.locator("#notices")).to_contain_text("Earlier decisions are in force.")
    assert after.counts()["skipped"] == 4
    after.tab.locator(".chip.outcome.other").click()
    expect(after.tab.locator("#reasons .chip")).to_have_text(["too few concepts 3", "review 1"])
    assert sorted(after.export(), key=str) == sorted(exported, key=str), "what was decided about pairs that are gone stays in the file"


def test_a_pair_is_shown_with_its_three_images_concepts_and_originals(chain, gallery):
    (record, *_) = chain.retrieve()
    seen = as_listed(gallery(chain.page("report"), viewport={"width": 1300, "height": 1400}))
    place = next(place for place in range(3) if place != record["label"])
    cell = seen.tab.locator(".cell.current")
    assert cell.get_attribute("title") == f"{record['query_path']} → {record['ret_paths'][place]}"
    assert cell.locator(".caption").all_text_contents() == ["query", "positive", "negative"]
    assert cell.locator(".name").text_content() == f"{record['concept']} → {record['ret_concepts'][place]}"
    assert cell.locator(".facts").text_content() == f"negative {record['similarities'][place]:.3f}"
    seen.press("Enter")
    box = seen.tab.locator("#lightbox")
    expect(box.locator("figcaption")).to_have_text(
        [re.compile(rf"^{name} +full image, \d+ × \d+$") for name in ("query", "positive", "negative")]
    )
    paths = [record["query_path"], record["ret_paths"][record["label"]], record["ret_paths"][place]]
    own = {row["catalog_path"]: (chain.results.data / row["path"]).as_uri() for row in chain.results.rows}
    assert box.locator(".links a").evaluate_all("links => links.map(link => link.href)") == [own[path] for path in paths]
    assert box.locator("img").evaluate_all("images => images.map(image => image.src)") == [own[path] for path in paths]
    words = dict(zip(box.locator("dt").all_text_contents(), box.locator("dd").all_text_contents(), strict=True))
    assert words["positive"] == f"{record['similarities'][record['label']]:.3f}"
    assert words["margin"] == f"{record['similarities'][record['label']] - record['similarities'][place]:.3f}"
    assert box.locator(".tag").all_text_contents()[:2] == ["mug", f"answer at {record['label'] + 1} of 3"]


def test_the_slider_counts_what_duplicate_similarity_would_leave_out(chain, gallery):
    records = chain.retrieve()
    negatives = [cosine for record in records for place, cosine in enumerate(record["similarities"]) if place != record["label"]]
    middle = sorted(negatives)[len(negatives) // 2]
    seen = gallery(chain.page("report"), viewport={"width": 1300, "height": 1400})
    first = seen.tab.locator(".cell.current .facts").text_content()
    assert first == f"negative {max(negatives):.3f}", "the most similar negatives come first"
    seen.tab.get_by_role("slider").focus()
    while float(seen.tab.get_by_role("slider").get_attribute("aria-valuenow")) > middle:
        seen.press("PageDown")
    value = float(seen.tab.get_by_role("slider").get_attribute("aria-valuenow"))
    count = sum(cosine >= value for cosine in negatives)
    assert seen.counts() == {"kept": 48 - count, "left out": count, "skipped": 3, "error": 1}
    expect(seen.tab.locator("#config pre")).to_have_text(f"retrieval:\n  datasets:\n    things:\n      duplicate_similarity: {value}")


def test_warnings_tables_and_figures_are_there_to_read(chain, gallery):
    chain.retrieve()
    tab = gallery(chain.page("report")).tab
    expect(tab.locator(".notice.warning").first).to_contain_text("retrieval_source is catalog: records come from all concepts")
    expect(tab.locator("#notices")).to_contain_text("oil & vinegar (largest K 1)")
    titles = ["Categories", "Concepts", "How similar positives and negatives are", "Where the answer stands"]
    assert tab.locator(".panel > summary").all_text_contents() == titles
    for title in titles:
        tab.locator("summary", has_text=re.compile(f"^{title}$")).click()
    categories, concepts = (cells_of(tab.locator(".panel").nth(number)) for number in (0, 1))
    assert [row[0] for row in categories] == ["category", "mug", "oil & vinegar", "all"]
    assert dict(zip(categories[0], categories[3], strict=True))["records"] == "24"
    assert [row[1] for row in concepts] == ["concept", *CONCEPTS, "jar"]
    figures = tab.locator(".panel img")
    assert figures.count() == 2
    assert figures.evaluate_all("all => all.every(one => one.complete ? one.naturalWidth > 100 : true)")
    assert tab.evaluate("window.hacked") is None


def test_an_image_dropped_on_the_other_page_is_what_the_catalog_reads(chain, gallery, tmp_path):
    chain.retrieve()
    seen = gallery(chain.page("images"), viewport={"width": 1300, "height": 1400})
    assert seen.counts() == {"train": 27, "skipped": 1, "error": 1}
    first = [row for row in chain.results.rows if row["outcome"] == "train"][: len(HOSTILE)]
    assert seen.names()[: len(first)] == [row["path"] for row in first]
    seen.press(*["x"] * len(first))
    assert seen.counts() == {"train": 21, "removed": 6, "skipped": 1, "error": 1}
    reviews = Reviews(saved(seen.export(), tmp_path / "catalog.csv"), ("keep", "drop"))
    found = [row["path"] for row in chain.results.rows if row["sha256"] and reviews.find(row["path"], row["sha256"]) == "drop"]
    assert found == [row["path"] for row in first]
    assert not reviews.unused()
    assert seen.tab.evaluate("window.hacked") is None
