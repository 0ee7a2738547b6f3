"""Hostile and broken adapters: refused with the reason, nothing outside the store is opened, nothing falls over."""

from __future__ import annotations

import json
import os
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save_file

from bench.adapters import random_weights
from factory.base.build import Base
from factory.errors import InputError
from factory.home import digest, home, write_json
from factory.registry import aliases, store
from factory.registry.aliases import Entry, Registry
from factory.registry.preflight import Refused, preflight
from factory.registry.store import CONFIG, FACTS, WEIGHTS
from serve import remote
from tests.fakes.adapters import config, facts, promote, register
from tests.fakes.serving import fake_base, fake_server

ROOT = Path(__file__).parents[2]
Q0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
Q1 = "base_model.model.model.layers.1.self_attn.q_proj.lora_{}.weight"


def tensors(change: Callable[[dict[str, np.ndarray]], Any]) -> Callable[[Path, Base], None]:
    """A hostile adapter by changing sound weights."""

    def spoil(folder: Path, base: Base) -> None:
        found = random_weights(base, 1)
        change(found)
        save_file(found, folder / WEIGHTS)

    return spoil


def settings(**changes: Any) -> Callable[[Path, Base], None]:
    return lambda folder, base: write_json(folder / CONFIG, config(**changes))


def told(**changes: Any) -> Callable[[Path, Base], None]:
    return lambda folder, base: write_json(folder / FACTS, facts(base, "summary").model_dump(mode="json") | changes)


def content(name: str, data: bytes) -> Callable[[Path, Base], None]:
    return lambda folder, base: (folder / name).unlink() or ((folder / name).write_bytes(data) and None)  # type: ignore[func-returns-value]


def link(name: str, to: str) -> Callable[[Path, Base], None]:
    def spoil(folder: Path, base: Base) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(to)

    return spoil


def header(text: bytes, length: int | None = None, data: bytes = b"") -> Callable[[Path, Base], None]:
    return content(WEIGHTS, struct.pack("<Q", len(text) if length is None else length) + text + data)


def half(found: dict[str, np.ndarray]) -> None:
    for name in found:
        rows, columns = found[name].shape
        found[name] = found[name][:, : columns // 2] if "lora_A" in name else found[name][: rows // 2]
        found[name] = np.ascontiguousarray(found[name])


def put(name: str, value: float) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda found: found[name].__setitem__((0, 0), value)


def zip_bomb(folder: Path, base: Base) -> None:
    (folder / WEIGHTS).unlink()
    with zipfile.ZipFile(folder / WEIGHTS, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", b"\0" * 50_000_000)


def sparse(folder: Path, base: Base) -> None:
    os.truncate(folder / WEIGHTS, 5 * 2**30)


def fifo(folder: Path, base: Base) -> None:
    (folder / WEIGHTS).unlink()
    os.mkfifo(folder / WEIGHTS)


one = {"dtype": "F32", "shape": [8, 32], "data_offsets": [0, 1024]}
HOSTILE: dict[str, tuple[Callable[[Path, Base], None], str]] = {
    "another base": (told(fingerprint="0" * 64), "another base"),
    "a path as its task": (told(task="../../etc/passwd"), "task's name"),
    "an absolute path as its task": (told(task="/etc/passwd"), "task's name"),
    "a task with a newline": (told(task="summary\nx"), "task's name"),
    "half the width": (tensors(half), "this base needs"),
    "layers missing": (
        tensors(lambda f: [f.pop(name) for name in list(f) if ".layers.1." in name]),
        "modules are missing",
    ),
    "one module of one layer missing": (
        tensors(lambda f: [f.pop(Q1.format(x)) for x in "AB"]),
        "1 modules are missing",
    ),
    "lora_B missing": (tensors(lambda f: f.pop(Q0.format("B"))), "lora_B of"),
    "layers that the base has not": (
        tensors(lambda f: f.update({Q0.format(x).replace(".0.", ".7."): f[Q0.format(x)] for x in "AB"})),
        "no place for",
    ),
    "another prefix": (
        tensors(lambda f: [f.update({k.removeprefix("base_model."): f.pop(k)}) for k in list(f)]),
        "no place for",
    ),
    "a target without weights": (settings(target_modules=["q_proj", "lm_head"]), "lm_head"),
    "an embedding": (
        tensors(lambda f: f.update({"base_model.model.lm_head.weight": f[Q0.format("A")]})),
        "no place for",
    ),
    "transposed": (tensors(lambda f: f.update({Q0.format("A"): f[Q0.format("A")].T.copy()})), "this base needs"),
    "NaN": (tensors(put(Q0.format("A"), np.nan)), "not finite"),
    "infinite": (tensors(put(Q0.format("B"), -np.inf)), "not finite"),
    "too large for bf16": (tensors(put(Q0.format("B"), 3.4e38)), "not finite"),
    "NaN in fp16": (
        tensors(lambda f: [f.update({k: f[k].astype(np.float16)}) for k in f] and put(Q0.format("A"), np.nan)(f)),
        "not finite",
    ),
    "integers": (tensors(lambda f: f.update({Q0.format("A"): f[Q0.format("A")].astype(np.int32)})), "F32, F16 or BF16"),
    "a pickle": (content(WEIGHTS, b"\x80\x04\x95cposix\nsystem\n(S'touch /tmp/owned'\ntR."), "not a safetensors file"),
    "an empty file": (content(WEIGHTS, b""), "not a safetensors file"),
    "a zip bomb": (zip_bomb, "not a safetensors file"),
    "a header of 2 GB": (header(b"{}", length=2 * 2**30), "not a safetensors file"),
    "a header larger than the file": (header(b"{}", length=1000), "not a safetensors file"),
    "a header that is no JSON": (header(b"{oops"), "not a safetensors file"),
    "a header of nested lists": (header(b"[" * 5000), "not a safetensors file"),
    "offsets that overlap": (header(json.dumps({"a": one, "b": one}).encode(), data=bytes(1024)), "does not lie where"),
    "offsets beyond the end": (header(json.dumps({"a": one}).encode(), data=bytes(10)), "bytes where the header"),
    "data behind the end": (header(json.dumps({"a": one}).encode(), data=bytes(2000)), "bytes where the header"),
    "a tensor twice": (header(b'{"a": {}, "a": {}}'), "given twice"),
    "a negative shape": (
        header(json.dumps({"a": {**one, "shape": [-8, -32]}}).encode(), data=bytes(1024)),
        "positive whole number",
    ),
    "no tensor": (header(b"{}"), "no weights at all"),
    "weights larger than the limit": (sparse, "larger than"),
    "weights that are a pipe": (fifo, "no plain file"),
    "weights that are a link": (link(WEIGHTS, "/etc/passwd"), "a link"),
    "a config that is a link": (link(CONFIG, "/etc/passwd"), "a link"),
    "facts that are a link": (link(FACTS, "/etc/passwd"), "a link"),
    "a rank over the limit": (settings(rank=512), "over this server's 16"),
    "a rank that is not that of the weights": (settings(rank=4), "this base needs"),
    "a rank below one": (settings(r=-8), "positive whole number"),
    "a rank pattern that eats time": (settings(rank_pattern={"(a+)+$": 8}), "name modules plainly"),
    "DoRA": (settings(use_dora=True), "use_dora"),
    "modules_to_save": (settings(modules_to_save=["lm_head"]), "modules_to_save"),
    "PiSSA": (settings(init_lora_weights="pissa"), "changes the base"),
    "bias": (settings(bias="all"), "plain LoRA"),
    "another method": (settings(peft_type="IA3"), "plain LoRA"),
    "a layer that its config leaves out": (settings(layers_to_transform=[1]), "leaves out the layer of"),
    "layers that are no numbers": (settings(layers_to_transform=["0"]), "no list of numbers"),
    "layer replication": (settings(layer_replication=[[0, 2]]), "layer_replication"),
    "a setting that nobody knows": (
        settings(use_wonder=True, other=[]),
        "sets use_wonder, which this release does not",
    ),
    "an infinite alpha": (lambda f, b: (f / CONFIG).write_text(json.dumps(config(lora_alpha=1e999))) and None, "alpha"),
    "a config of nested lists": (content(CONFIG, b"[" * 5000), "not an adapter's config"),
    "a config without a rank": (content(CONFIG, b'{"peft_type": "LORA"}'), "not an adapter's config"),
    "a config larger than the limit": (content(CONFIG, b" " * 70000), "larger than"),
    "a changed byte": (
        lambda f, b: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-1] + b"\x01") and None,
        "damaged",
    ),
}


def plant(base: Base, task: str, spoil: Callable[[Path, Base], None], keep_hash: bool) -> str:
    """A hostile adapter in the store under the hash of its content, as far as it has one, and in the registry."""
    sound = register(base, task, 1)
    folder = home("store", "spoiled")
    folder.mkdir()
    for name in (CONFIG, FACTS, WEIGHTS):
        (folder / name).write_bytes((sound.folder / name).read_bytes())
    spoil(folder, base)
    plain = (folder / WEIGHTS).is_file() and (folder / WEIGHTS).stat().st_size < 2**24
    try:
        sha = sound.sha if keep_hash else store.content_hash(folder) if plain else digest(task)
    except (OSError, ValueError, RecursionError):
        sha = digest(task)
    if keep_hash:
        for file in sound.folder.iterdir():
            file.unlink()
        sound.folder.rmdir()
    os.rename(folder, home("store", sha))
    entry = Entry(ordinal=1, sha=sha, created="2026-01-01T00:00:00+00:00", base=base.name)
    write_json(home("registry", f"{task}.json"), Registry(task=task, versions=(entry,)).model_dump(mode="json"))
    return sha


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_adapters_are_refused_with_their_reason(place: Path, made_up: Base, case: str) -> None:
    from serve.catalogue import read_registries, read_versions

    spoil, why = HOSTILE[case]
    sha = plant(made_up, "summary", spoil, keep_hash=case == "a changed byte")
    with pytest.raises(Refused, match=why):
        if case.startswith("facts"):
            from serve.catalogue import _version

            _version(sha, "summary")
        preflight(store.get(sha), made_up, 16)
    read_versions(read_registries(), {})


def test_sound_adapters_pass(place: Path, made_up: Base) -> None:
    preflight(register(made_up, "summary", 1), made_up, 16)
    preflight(register(made_up, "summary", 2, rank=16), made_up, 16)
    with pytest.raises(Refused, match="another base"):
        preflight(register(fake_base("small"), "summary", 1), made_up, 16)


def test_the_server_stays_up_and_refuses_them_all(
    place: Path, made_up: Base, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All of them in one registry: a caller gets 404, a promotion is refused, everything else goes on, and the server
    opens nothing outside its home but what Python itself needs."""
    opened = tmp_path / "opened"
    monkeypatch.setenv("FAKE_OPENED", str(opened))
    own = tmp_path / ("long" * 20)  # too long for a socket: it lies in /tmp all the same
    own.mkdir()
    monkeypatch.setenv("TMPDIR", str(own))
    register(made_up, "good", 9)
    tasks = {}
    for number, (case, (spoil, _)) in enumerate(HOSTILE.items()):
        tasks[f"t{number}"] = case
        plant(made_up, f"t{number}", lambda f, b, s=spoil, n=number: _as(f, b, s, f"t{n}"), case == "a changed byte")
    assert len(tasks) >= 40
    ask: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}
    with fake_server(place) as running, httpx.Client(base_url=running.url, timeout=120) as client:
        for task, case in tasks.items():
            reply = client.post("/v1/chat/completions", json={"model": f"{task}@v1", **ask})
            assert reply.status_code == 404, (case, reply.text)
            with pytest.raises(Exception, match=r".+"):
                promote(f"{task}@v1")
            assert "prod" not in aliases.read(task).aliases
        for name in ("../../etc/passwd@v1", "/etc/passwd", "good@../../x", "t0\n@v1"):
            with pytest.raises(InputError):
                promote(name)
            with pytest.raises(InputError):
                remote.rollback(name)
        assert client.post("/v1/chat/completions", json={"model": "good", **ask}).status_code == 200
        assert client.get("/health").status_code == 200
        state = remote.state() or {}
        assert state["engines"][0]["restarts"] == 0 and state["engines"][0]["adapters"] == 1
    fine = (
        f"{place}/",
        f"{own}/",
        "/tmp/factory-engine-",
        "/tmp/.factory-engine-",  # the same, before it is locked
        sys.base_prefix,
        sys.prefix,
        str(ROOT),
        "/proc/",
        "/dev/null",
    )
    paths = set(opened.read_text().splitlines())
    assert any(path.startswith(str(place)) for path in paths)
    assert not [path for path in paths if not path.startswith(fine)]


def _as(folder: Path, base: Base, spoil: Callable[[Path, Base], None], task: str) -> None:
    """Spoil it; the facts keep the task's own name unless that is the trick."""
    spoil(folder, base)
    path = folder / FACTS
    if not path.is_symlink():
        told_facts = json.loads(path.read_text())
        if told_facts["task"] == "summary":
            write_json(path, told_facts | {"task": task})
