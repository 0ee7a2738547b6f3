"""What is live stands in the registry alone: whoever changes it changes what is served, now or after a start."""

from __future__ import annotations

from pathlib import Path

from factory.base.build import Base
from factory.registry import aliases
from serve import remote
from tests.fakes.adapters import promote, register
from tests.fakes.serving import fake_server
from tests.serve.load import until
from tests.serve.test_keys_doors import ask, task


def test_a_canary_set_elsewhere_is_served_with_its_share(place: Path, made_up: Base) -> None:
    """By a command while no server ran, and by whoever follows a registry: the registry's file is the truth."""
    for seed in (1, 2, 3):
        register(made_up, "summary", seed)
    aliases.point(aliases.resolve("summary@v2"), "canary", share=1 / 2)
    with fake_server(place) as fake:
        assert (task("summary")["canary"], task("summary")["share"]) == ("summary@v2", 0.5)
        second = aliases.resolve("summary@v2").name
        assert ask(fake, model="summary@canary").headers["x-adapter-version"] == second
        # no user, one caller: each request for itself
        sides = [ask(fake).headers["x-adapter-version"] for _ in range(40)]
        assert 5 <= sides.count(second) <= 35
        aliases.point(aliases.resolve("summary@v3"), "canary")
        assert until(lambda: task("summary")["canary"] == "summary@v3", 10) and task("summary")["share"] == 0.5
        aliases.point(aliases.resolve("summary@v3"))
        assert until(lambda: task("summary")["prod"] == "summary@v3", 10)
        assert until(lambda: task("summary")["canary"] is None, 10) and "canary" not in aliases.read("summary").aliases
        said = ask(fake, model="summary@canary").json()["error"]["message"]
        assert "summary has no canary" in said and "did you mean" not in said


def test_what_is_live_stands_in_the_registry_alone(place: Path, made_up: Base) -> None:
    """Whatever a server knew is there again after a restart, from the registry's file and nothing else."""
    for seed in (1, 2, 3):
        register(made_up, "summary", seed)
    roles = ("prod", "previous", "canary", "share", "shadow")
    with fake_server(place) as fake:
        promote("summary@v2")
        promote("summary@v3", share=0.25)
        remote.shadow("summary", "summary@v1")
        before = task("summary")
        assert [before[role] for role in roles] == ["summary@v2", "summary@v1", "summary@v3", 0.25, "summary@v1"]
        fake.kill()
    assert sorted(p.name for p in (place / "serve").iterdir()) == ["audit.jsonl", "server.json", "server.lock"]
    with fake_server(place):
        assert task("summary") == before | {"per_second": 0.0}
        aliases.drop("summary", "shadow")
        aliases.rollback("summary")
        wanted = ["summary@v1", None, "summary@v3", 0.25, None]
        assert until(lambda: [task("summary")[role] for role in roles] == wanted, 10)


def test_what_prod_meant_before_answers_where_the_new_one_cannot(place: Path, made_up: Base) -> None:
    """Also after a restart, and also when it is the way back that was damaged meanwhile."""
    for seed in (1, 2):
        register(made_up, "summary", seed)
    aliases.point(aliases.resolve("summary@v2"))
    old = register(made_up, "summary", 3, fingerprint="0" * 64)
    with fake_server(place) as fake:
        aliases.point(old)
        assert until(lambda: "another build" in (task("summary")["why_not"] or ""), 10)
        assert task("summary")["prod"] == "summary@v2" and ask(fake).status_code == 200
    with fake_server(place) as fake:
        assert task("summary")["prod"] == "summary@v2" and ask(fake).status_code == 200
