"""What the demo knows of the registry is read once, and again as soon as anything of it changes."""

from __future__ import annotations

from factory.registry import aliases, store
from serve.pages import versions
from tests.browser import world


def test_promotions_and_new_scores_are_seen_at_the_next_look() -> None:
    one, two, three = world.registry()
    before = versions.known()
    assert versions.known() is before
    assert [v.name for v in before["digest"]] == ["digest@v2", "digest@v1"]
    assert versions.live(before["digest"]).version == one  # type: ignore[union-attr]
    aliases.point(two)
    assert versions.live(versions.known()["digest"]).version == two  # type: ignore[union-attr]
    assert versions.known()["labels"][0].scorecard == {}
    store.note(three, "scorecard", {"good": 0.5})
    assert versions.known()["labels"][0].scorecard == {"good": 0.5}
    assert versions.called(two.name, versions.known()) == f"digest@v2 · {two.sha[:12]}"
    assert versions.called("tiny@base", versions.known()) == "tiny@base"
