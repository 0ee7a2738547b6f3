"""What a built data set looks like in numbers: the same for the report and for `--json`."""

import random
from collections import Counter
from typing import Any

import numpy as np

from factory.data.build import Built
from factory.data.decontaminate import asked
from factory.data.manifest import reason
from factory.data.rows import Dropped, Row, clip
from factory.data.words import words

CLUSTERED, DRAWN = 5_000, 700  # rows that are clustered at most, and points that are drawn of them
SAMPLES, SAMPLES_PER_STEP = 12, 6


def facts(built: Built) -> dict[str, Any]:
    """The manifest and everything that is counted from the rows themselves; JSON throughout."""
    dropped = built.dropped()
    draw = random.Random(0)
    return {
        **built.manifest,
        "folder": str(built.folder),
        "lengths": lengths(built.train, built.manifest["tokens"]["max_length"]),
        "balance": balance(built),
        "sources": sources(built),
        "clusters": clusters(built.train),
        "samples": {
            "kept": [sample(row) for row in draw.sample(built.train, min(SAMPLES, len(built.train)))],
            "dropped": _dropped(dropped, draw),
        },
    }


def lengths(rows: list[Row], limit: int) -> dict[str, dict[str, Any]]:
    """Histograms in tokens of the base's tokenizer: prompt, answer, and both."""
    prompt, answer = (np.array([row.tokens[i] for row in rows]) for i in (0, 1))
    return {
        name: histogram(n, limit) for name, n in (("prompt", prompt), ("answer", answer), ("total", prompt + answer))
    }


def histogram(values: np.ndarray, limit: int) -> dict[str, Any]:
    """At most 40 bins of equal width up to the 99th percentile; the last one takes the rest."""
    top = max(int(np.percentile(values, 99)), 1)
    width = max(1, -(-top // 40))
    counts = np.bincount(np.minimum(values, top) // width)
    return {
        "width": width,
        "counts": counts.tolist(),
        "median": int(np.median(values)),
        "mean": round(float(values.mean()), 1),
        "p95": int(np.percentile(values, 95)),
        "max": int(values.max()),
        "over_limit": int((values > limit).sum()),
    }


def balance(built: Built) -> list[dict[str, Any]]:
    """Rows of each label (or kind) in train and eval, the largest first; nothing where rows have neither."""
    own = [row for row in built.train if not row.meta.get("replay")]
    train, held_out = (
        Counter(str(row.meta.get("label") or row.meta.get("kind") or "") for row in rows) for rows in (own, built.eval)
    )
    names = sorted({*train, *held_out} - {""}, key=lambda name: (-train[name], name))
    return [{"name": name, "train": train[name], "eval": held_out[name]} for name in names]


def sources(built: Built) -> list[dict[str, Any]]:
    """Each file with its format, its rows, and how many of them are trained on."""
    trained = Counter(row.file for row in built.train)
    read = [entry for entry in built.manifest["files"] if entry["for"] == "train"]
    files = [entry | {"trained": trained.pop(entry["file"], 0)} for entry in read]
    replayed = [
        {"file": file, "for": "replay", "format": "", "rows": n, "kept": n, "duplicates": 0, "unused": {}, "trained": n}
        for file, n in trained.items()
    ]
    return files + replayed


def clusters(rows: list[Row]) -> dict[str, Any]:
    """TF-IDF → SVD → k-means over the questions: sizes, the words that set a cluster apart, the rows at its centre."""
    if len(rows) < 20:
        return {"rows": len(rows), "groups": [], "points": []}
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
    from sklearn.preprocessing import normalize

    if len(rows) > CLUSTERED:
        rows = random.Random(0).sample(rows, CLUSTERED)
    texts = [asked(row) for row in rows]
    tfidf = TfidfVectorizer(
        tokenizer=words, token_pattern=None, lowercase=False, sublinear_tf=True, max_features=20_000
    )
    matrix = tfidf.fit_transform(texts)
    if matrix.shape[1] < 3:
        return {"rows": len(rows), "groups": [], "points": []}
    rank = min(50, matrix.shape[1] - 1, len(rows) - 1)
    reduced = normalize(TruncatedSVD(rank, random_state=0).fit_transform(matrix))
    k = int(np.clip(len(rows) // 40, 2, 10))
    model = MiniBatchKMeans(k, random_state=0, n_init=3).fit(reduced)
    names = np.array(tfidf.get_feature_names_out())
    telling = np.array(
        [(len(n) > 1 and n not in ENGLISH_STOP_WORDS and not n[0].isdigit()) or ord(n[0]) > 0x3000 for n in names]
    )
    overall = np.asarray(matrix.mean(0)).ravel()
    distance = model.transform(reduced)
    groups: list[dict[str, Any]] = []
    order: dict[int, int] = {}
    for number in np.argsort(-np.bincount(model.labels_, minlength=k)):
        members = np.flatnonzero(model.labels_ == number)
        if not len(members):
            continue
        above = (np.asarray(matrix[members].mean(0)).ravel() - overall) * telling
        nearest = members[np.argsort(distance[members, number])[:3]]
        order[number] = len(groups)
        groups.append(
            {
                "id": len(groups),
                "rows": len(members),
                "words": [str(names[i]) for i in np.argsort(-above)[:8] if above[i] > 0],
                "nearest": [{"text": clip(texts[i], 300), "place": rows[i].place} for i in nearest],
            }
        )
    flat = TruncatedSVD(2, random_state=0).fit_transform(reduced - reduced.mean(0))
    flat = np.clip(flat / (np.percentile(np.abs(flat), 99) or 1.0), -1, 1)  # one far row must not crowd the others
    shown = random.Random(0).sample(range(len(rows)), min(DRAWN, len(rows)))
    points = [[round(float(flat[i, 0]), 3), round(float(flat[i, 1]), 3), order[model.labels_[i]]] for i in shown]
    return {"rows": len(rows), "groups": groups, "points": points}


def sample(row: Row) -> dict[str, Any]:
    turns = [{"role": m["role"], "content": clip(m["content"], 1200)} for m in row.messages]
    return {"messages": turns, "place": row.place, "tokens": [*row.tokens]}


def _dropped(rows: list[Dropped], draw: random.Random) -> list[dict[str, Any]]:
    """For each step a few of its dropped rows, different reasons first."""
    found = []
    for step in dict.fromkeys(row.step for row in rows):
        own = [row for row in rows if row.step == step]
        draw.shuffle(own)
        first = {reason(row): row for row in own}
        chosen = [*first.values(), *(row for row in own if row not in first.values())][:SAMPLES_PER_STEP]
        found += [{**vars(row), "text": clip(row.text, 600)} for row in chosen]
    return found
