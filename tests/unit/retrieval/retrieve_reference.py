"""Step 04 once more, as slowly and plainly as the specification puts it: integers, lists and sorting, image by image."""

import math
from collections import Counter

import numpy as np

from workflow_scripts.core.seeded import rank

REASONS = ("same bytes", "near copy", "duplicate_similarity", "review")


class Reference:
    """What the records of an `ImageSet` must be."""

    def __init__(self, images):
        self.settings = images.settings
        self.named = images.named
        self.listed = [image for path, image in images.images.items() if images.lists[path] == "train"]
        if self.settings["negative_pool"] == "category":
            self.listed = [image for image in self.listed if image.category == self.settings["category"]]
        self.loaded = {image.path for image in self.listed}
        self.usable = [image for image in self.listed if not image.error]
        self.whole = {image.path: [int(float(number) * 2**24) for number in image.vector] for image in self.usable}
        self.concepts = {}
        for image in sorted(self.usable, key=lambda image: image.path):
            self.concepts.setdefault((image.category, image.concept), []).append(image)
        self.means = {key: self.mean([self.whole[image.path] for image in members]) for key, members in self.concepts.items()}
        self.everything = list(images.images.values())
        self.decisions = {path: (decision, sha256) for sha256, path, decision in images.rows}
        self.left_out, self.replaced = Counter(dict.fromkeys(REASONS, 0)), 0

    @staticmethod
    def mean(vectors):
        total = [sum(numbers) / 2**24 for numbers in zip(*vectors, strict=True)]
        norm = math.sqrt(math.fsum(number * number for number in total))
        return [int(float(np.float16(number / norm if norm else number)) * 2**24) for number in total]

    def dot(self, left, right):
        return sum(a * b for a, b in zip(left, right, strict=True))

    def cosine(self, query, image):
        return self.dot(self.whole[query.path], self.whole[image.path])

    def said(self, decision, query, image):
        """Whether a person said so of this pair, and the query still holds what they saw, as far as this job can tell."""
        found, sha256 = self.decisions.get(f"{self.named(query.path)} → {self.named(image.path)}", (None, None))
        return found == decision and (query.sha256 == sha256 or query.path not in self.loaded)

    def reason(self, query, image, *, negative):
        if query.sha256 == image.sha256:
            return "same bytes"
        if bin(query.phash ^ image.phash).count("1") <= 4:
            return "near copy"
        limit = self.settings["duplicate_similarity"]
        if negative and limit is not None and self.cosine(query, image) / 2**48 >= limit:
            return "duplicate_similarity"
        if self.said("drop_pair", query, image) or any(self.said("drop_negative", other, image) for other in self.everything):
            return "review"
        return None

    def first_usable(self, query, images, *, negative, everything):
        """The first image that may be shown; counts those before it that may not, or all where the search looks at all."""
        reasons = [self.reason(query, image, negative=negative) for image in images]
        found = next((number for number, reason in enumerate(reasons) if reason is None), None)
        end = len(reasons) if everything or found is None else found
        self.left_out.update(reason for image, reason in list(zip(images, reasons, strict=True))[:end] if reason and image is not query)
        return None if found is None else images[found]

    def shuffle(self, items, *parts):
        """Fisher and Yates on a list."""
        items = list(items)
        for place in range(len(items)):
            other = place + rank(*parts, place) % (len(items) - place)
            items[place], items[other] = items[other], items[place]
        return items

    def positive(self, query):
        members = self.concepts[query.category, query.concept]
        kind = self.settings["positive"]
        if kind == "random":
            members = [image for image in self.shuffle(members, self.settings["seed"], query.path, "positive") if image is not query]
            return self.first_usable(query, members, negative=False, everything=False)
        sign = 1 if kind == "hard" else -1
        members = sorted(members, key=lambda image: (sign * self.cosine(query, image), image.path))
        return self.first_usable(query, members, negative=False, everything=True)

    def pools(self):
        own = [key for key in self.concepts if key[0] == self.settings["category"]]
        others = [key for key in self.concepts if key[0] != self.settings["category"]]
        pools = {"category": [own], "dataset": [own + others], "category_then_dataset": [own, others]}[self.settings["negative_pool"]]
        return [sorted(pool, key=lambda key: (key[1], key[0])) for pool in pools]

    def nearest(self, query):
        wanted = self.settings["k"] - 1
        chosen = []
        for pool in self.pools():
            missing = wanted - len(chosen)
            if not missing:
                break
            own = (query.category, query.concept)
            distance = {key: -self.dot(self.whole[query.path], self.means[key]) for key in pool if key != own}
            found = []
            for key in sorted(distance, key=lambda key: (distance[key], key[1], key[0])):
                if len(found) == max(self.settings["candidate_concepts"], wanted):
                    break
                members = sorted(self.concepts[key], key=lambda image: (-self.cosine(query, image), image.path))
                best = self.first_usable(query, members, negative=True, everything=True)
                self.replaced += best is None
                found += [best] if best else []
            found.sort(key=lambda image: (-self.cosine(query, image), image.concept, image.category))
            chosen += found[:missing]
        return chosen

    def random(self, query):
        wanted, chosen = self.settings["k"] - 1, []
        parts = self.settings["seed"], query.path
        for number, pool in enumerate(self.pools()):
            for key in self.shuffle(pool, *parts, "concept", number):
                if len(chosen) < wanted and key != (query.category, query.concept):
                    members = self.shuffle(self.concepts[key], *parts, "image", *key)
                    found = self.first_usable(query, members, negative=True, everything=False)
                    self.replaced += found is None
                    chosen += [found] if found else []
        return chosen

    def results(self):
        """For each query, by catalog path: positive and negatives with cosines, or the reason why there are none."""
        found = {}
        for query in self.listed:
            if query.category != self.settings["category"]:
                continue
            found[self.named(query.path)] = self.result(query)
        return found

    def result(self, query):
        if query.error:
            return "error"
        if any(self.said("drop_query", query, image) for image in self.everything):
            return "review"
        positive = self.positive(query)
        if positive is None:
            return "single image"
        chosen = self.nearest(query) if self.settings["negatives"] == "nearest" else self.random(query)
        if len(chosen) < self.settings["k"] - 1:
            return "too few concepts"
        shown = {
            self.named(image.path): (image.concept, round(max(-1.0, min(1.0, self.cosine(query, image) / 2**48)), 6))
            for image in (positive, *chosen)
        }
        return self.named(positive.path), shown
