"""Whether vLLM can serve a base with adapters: read from vLLM's own source, without importing it, which takes seconds.

Read are its table of architectures, the classes it names (only those that say SupportsLoRA take adapters), and the
widths of a head that its attention has on a CPU. Where vLLM is not installed, or laid out otherwise, nothing is
objected: then the engine itself will tell.
"""

import ast
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

OWN = "transformers"  # where vLLM has no code of its own it runs that of transformers, and adapters with it
TABLES = ("_TEXT_GENERATION_MODELS", "_TRANSFORMERS_SUPPORTED_MODELS")


def objection(config: Any, cuda: bool) -> str:
    """Why vLLM cannot serve a model of this configuration (transformers' own); empty if nothing speaks against it."""
    root = _installed()
    if root is None:
        return ""
    architecture = next(iter(config.architectures or []), "")
    known = _table(root / "model_executor" / "models" / "registry.py")
    module, name = known.get(architecture, ("", ""))
    if known and not module and not _runs_as_it_is(architecture):
        return f"vLLM does not know its architecture ({architecture or 'config.json names none'})"
    if module and module != OWN and not _takes_adapters(root, module, name):
        return f"vLLM serves {architecture} without adapters only"
    heads = getattr(config, "num_attention_heads", None)
    width = getattr(config, "head_dim", None) or (config.hidden_size // heads if heads else None)
    widths = [] if cuda else _cpu_widths(root / "v1" / "attention" / "backends" / "cpu_attn.py")
    if width and widths and width not in widths:
        return f"vLLM on a CPU has no attention for heads of width {width} (only {', '.join(map(str, widths))})"
    return ""


def _installed() -> Path | None:
    spec = importlib.util.find_spec("vllm")
    return Path(spec.origin).parent if spec and spec.origin else None


def _runs_as_it_is(architecture: str) -> bool:
    """Whether vLLM may run transformers' own code of it."""
    import transformers

    found = getattr(transformers, architecture, None) if architecture else None
    return bool(found and found.is_backend_compatible())


@lru_cache(maxsize=4)
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text()) if path.is_file() else ast.Module([], [])


def _table(path: Path) -> dict[str, tuple[str, str]]:
    """Architecture → (module, class)."""
    found: dict[str, tuple[str, str]] = {}
    for node in _parsed(path).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in TABLES:
            found |= ast.literal_eval(node.value)
    return found


def _takes_adapters(root: Path, module: str, name: str) -> bool:
    """Whether the class, or one that it is made from, says so. What cannot be found in the source is not held against
    it."""
    tree = _parsed(_file(root, module))
    made = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name), None)
    if made is None:
        origin = dict(_imported(tree, module)).get(name)
        return _takes_adapters(root, origin, name) if origin and origin != module else True
    parents = [parent.id for parent in made.bases if isinstance(parent, ast.Name)]
    if "SupportsLoRA" in parents:
        return True
    here = {n.name for n in tree.body if isinstance(n, ast.ClassDef)} | {n for n, _ in _imported(tree, module)}
    models = [parent for parent in parents if parent in here and not parent.startswith(("Supports", "Is", "Has"))]
    return any(_takes_adapters(root, module, parent) for parent in models)


def _imported(tree: ast.Module, module: str) -> Iterator[tuple[str, str]]:
    """(name, module) of what one of vLLM's files imports from others of its models."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            origin = node.module.removeprefix("vllm.model_executor.models.")
            if node.level == 1 or origin != node.module:
                yield from ((alias.name, origin) for alias in node.names)


def _file(root: Path, module: str) -> Path:
    place = root.parent if module.startswith("vllm.") else root / "model_executor" / "models"
    path = place.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _cpu_widths(path: Path) -> list[int]:
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.FunctionDef) and node.name == "get_supported_head_sizes":
            return [int(n.value) for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, int)]
    return []
