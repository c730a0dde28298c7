#!/usr/bin/env python3
"""Draws the relevance queries from the data sets: `bench/datasets/queries.py > bench/datasets/queries.jsonl`, seed 12.

One query a line: set, class, query, ids of the documents that it is about, and its half. The half follows from the hash of the query's text:
weights are tuned on `tune` alone, and `held` is only measured. Each class has 80 queries a set.

| class | query |
|---|---|
| known-item | two to four words of a document, the rarest among them |
| typo | a known-item query with an edit in a word of five letters or more, with two edits from nine |
| prefix | a known-item query whose last word is cut |
| identifier | a name of letters and digits, joined, split or in part |
| diacritics | a name with diacritics, typed without them, or with them |
| two-field | a word of each of two fields |
"""

import collections
import hashlib
import json
import pathlib
import random
import re
import unicodedata

FOLDER = pathlib.Path(__file__).resolve().parents[2] / ".toolbox" / "datasets"
COUNT = 80
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORD = re.compile(r"[^\W_]+")

SETS = {
    "debian": (["name", "description"], ["known-item", "typo", "prefix", "identifier", "two-field"]),
    "companies": (["name", "products", "headquarters"], ["known-item", "typo", "prefix", "two-field"]),
    "cities": (["name"], ["known-item", "typo", "prefix", "diacritics"]),
    "cities-ru": (["name"], ["known-item", "typo", "prefix"]),
    "cities-ja": (["name"], ["known-item", "prefix"]),
}


class Set:
    def __init__(self, name, fields):
        self.name, self.fields = name, fields
        self.documents = [json.loads(line) for line in (FOLDER / f"{name}.jsonl").open(encoding="utf-8")]
        self.frequency = collections.Counter()
        self.same = collections.defaultdict(list)
        for document in self.documents:
            self.frequency.update(set(self.words(document)))
            self.same[self.text(document)].append(document["id"])

    def text(self, document):
        return " ".join(document["fields"].get(field, "") for field in self.fields)

    def words(self, document):
        return [word.lower() for word in WORD.findall(self.text(document))]


def main():
    for name, (fields, classes) in SETS.items():
        data = Set(name, fields)
        for kind in classes:
            rng = random.Random(f"12 {name} {kind}")
            seen = set()
            while len(seen) < COUNT:
                document = rng.choice(data.documents)
                query = DRAW[kind](rng, data, document)
                if not query or query in seen:
                    continue
                seen.add(query)
                half = "tune" if hashlib.sha256(query.encode()).digest()[0] % 2 else "held"
                expected = sorted(data.same[data.text(document)])
                line = {"set": name, "class": kind, "query": query, "expected": expected, "half": half}
                print(json.dumps(line, ensure_ascii=False))


def known_item(rng, data, document):
    """Words in the order of the text, as people copy them; the rarest word identifies the document."""
    words = list(dict.fromkeys(data.words(document)))
    words = [word for word in words if len(word) > 1 or not word.isascii()]
    if not words:
        return None
    rarest = min(words, key=lambda word: (data.frequency[word], word))
    others = [word for word in words if word != rarest]
    chosen = {rarest, *rng.sample(others, min(len(others), rng.randrange(1, 4)))}
    return " ".join(word for word in words if word in chosen)


def typo(rng, data, document):
    words = (known_item(rng, data, document) or "").split()
    places = [place for place, word in enumerate(words) if len(word) >= 5 and word.isalpha()]
    if not places:
        return None
    place = rng.choice(places)
    edits = 2 if len(words[place]) >= 9 and rng.random() < 0.4 else 1
    for _ in range(edits):
        words[place] = edit(rng, words[place])
    return " ".join(words)


def edit(rng, word):
    """One edit after the first letter: people rarely mistake that one."""
    alphabet = LETTERS if word.isascii() else "".join(sorted(set(word)))
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1:]
    if kind == 1:
        return word[:at] + rng.choice(alphabet) + word[at:]
    if kind == 2:
        return word[:at] + rng.choice(alphabet) + word[at + 1:]
    return word[:at] + word[at + 1] + word[at] + word[at + 2:]


def prefix(rng, data, document):
    words = (known_item(rng, data, document) or "").split()
    if not words or len(words[-1]) < (2 if not words[-1].isascii() else 5):
        return None
    last = words[-1]
    words[-1] = last[: max(1 if not last.isascii() else 3, round(len(last) * rng.uniform(0.5, 0.8)))]
    return " ".join(words)


def identifier(rng, data, document):
    name = document["fields"]["name"]
    if not re.search(r"[0-9]", name) or not re.search(r"[-.+]", name) or len(name) > 30:
        return None
    parts = [part for part in re.split(r"[^a-z0-9]+", name) if part]
    return rng.choice([name, "".join(parts), " ".join(parts), name.upper(), "_".join(parts)])


def diacritics(rng, data, document):
    name = document["fields"]["name"]
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    if plain == name or not plain.isascii():
        return None
    return rng.choice([plain, plain.lower(), name])


def two_field(rng, data, document):
    filled = [field for field in data.fields if document["fields"].get(field)]
    if len(filled) < 2:
        return None
    first, second = rng.sample(filled, 2)
    words = []
    for field in (first, second):
        found = [word.lower() for word in WORD.findall(document["fields"][field]) if len(word) > 2]
        found = [word for word in found if word not in words]
        if not found:
            return None
        words.append(min(found, key=lambda word: (data.frequency[word], word)))
    return " ".join(words)


DRAW = {
    "known-item": known_item,
    "typo": typo,
    "prefix": prefix,
    "identifier": identifier,
    "diacritics": diacritics,
    "two-field": two_field,
}

if __name__ == "__main__":
    main()
