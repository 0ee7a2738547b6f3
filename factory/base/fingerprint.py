"""What names a base: a sha256 over everything of its checkpoint that changes its answers.

Tensors, quantisation, tokenizer and chat template; then the settings of tokenizer and generation, and a sentencepiece
model. Earlier releases left the latter three out. Their sum is a sum half way, so both are known after one reading, and
an adapter that was trained under the shorter one is still known as the base's own.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from factory.home import digest

# Where a checkpoint came from and what wrote it, which changes no answer.
NOISE = ("transformers_version", "_name_or_path", "name_or_path", "_from_model_config", "_commit_hash", "is_local",
         "local_files_only", "backend", "processor_class", "tokenizer_file")  # fmt: skip


def fingerprints(folder: Path) -> tuple[str, str]:
    """(the fingerprint, that by the rule of earlier releases) of a quantised checkpoint."""
    import torch
    from safetensors import safe_open

    hasher = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for key in sorted(tensors.keys()):
                tensor = tensors.get_tensor(key).contiguous()
                hasher.update(f"{key} {tensor.dtype} {tuple(tensor.shape)} ".encode())
                hasher.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    hasher.update(digest(_settings(folder / "config.json", NOISE[:2])).encode())
    for name in ("tokenizer.json", "chat_template.jinja"):
        if (folder / name).is_file():
            hasher.update((folder / name).read_bytes())
    earlier = hasher.hexdigest()
    for name in ("tokenizer_config.json", "generation_config.json"):
        if (folder / name).is_file():
            hasher.update(f"{name} {digest(_settings(folder / name, NOISE))}".encode())
    for file in sorted(folder.glob("*.model")):
        hasher.update(file.name.encode() + file.read_bytes())
    return hasher.hexdigest(), earlier


def _settings(path: Path, noise: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in json.loads(path.read_text()).items() if key not in noise}
