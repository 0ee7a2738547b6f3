"""Everything that must be right with an adapter before the engine sees it. vLLM itself checks almost nothing.

It serves an adapter of another base, one with half the width or a third of the layers, and one full of NaN, all with
status 200; a missing file or a config of a kind it does not know can end the whole engine. So the files are read here
as bytes, without unpickling, importing or following anything, and held against the shapes of the very checkpoint that
the engine runs.
"""

import json
import math
import os
import re
import shutil
import stat
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from factory.base.build import Base, label
from factory.errors import FactoryError
from factory.kinds import TASK
from factory.registry.store import CONFIG, FACTS, WEIGHTS, Version, verify

MAX_CONFIG = 2**16  # bytes of adapter_config.json
MAX_HEADER = 2**23  # bytes of a safetensors header
MAX_WEIGHTS = 4 * 2**30
BLOCK = 2**24  # bytes checked at a time
WIDTH = {"F32": 4, "F16": 2, "BF16": 2}
PREFIX = "base_model.model."
# Settings of PEFT that change an adapter's meaning and that vLLM does not know: they must be unset.
UNSET = """
    alora_invocation_tokens arrow_config corda_config exclude_modules fan_in_fan_out kasa_config layer_replication
    layers_pattern lora_bias loftq_config megatron_config modules_to_save monteclora_config
    target_parameters trainable_token_indices use_bdlora use_dora use_qalora velora_config
""".split()
KNOWN = {*UNSET} | set(
    """
    alpha_pattern auto_mapping base_model_name_or_path bias ensure_weight_tying eva_config inference_mode
    init_lora_weights layers_to_transform lora_alpha lora_dropout lora_ga_config megatron_core peft_type peft_version
    qalora_group_size r rank_pattern revision runtime_config target_modules task_type use_rslora
""".split()
)  # and those that it knows, or that change nothing once an adapter is trained
INITS = (True, False, "gaussian", "orthogonal", "eva", "lora_ga")  # those that leave the base's weights alone

Header = dict[str, dict[str, Any]]


class Refused(FactoryError):
    """The adapter must not be served; the message says why."""


def preflight(version: Version, base: Base, rank: int) -> None:
    """Refused with the reason unless `version` is a sound adapter of `base` with at most `rank`."""
    if not TASK.fullmatch(version.task):
        raise Refused(f"its task's name {version.task[:80]!r} is not lower-case letters, digits, - and _")
    if not base.owns(version.facts.fingerprint):
        raise Refused(
            f"it was trained on another base ({label(version.facts.base)}, {version.facts.fingerprint[:12]}) "
            f"than this engine runs ({base.label}, {base.fingerprint[:12]}): train it again"
        )
    for name, limit in ((CONFIG, MAX_CONFIG), (FACTS, MAX_CONFIG * 16), (WEIGHTS, MAX_WEIGHTS)):
        plain_file(version.folder / name, limit)
    config = _config(version.folder / CONFIG, rank)
    with open(version.folder / WEIGHTS, "rb") as file:
        start, header = read_header(file, os.fstat(file.fileno()).st_size)
        _modules(header, config, module_shapes(base.folder))
        for name, tensor in header.items():
            _finite(file, start, name, tensor)
    try:
        verify(version)
    except FactoryError as error:
        raise Refused(str(error)) from None


def own_copy(version: Version, folder: Path) -> Path:
    """The adapter's files under `folder`, which is ours: a version deleted from the store must not end the engine.

    Hard links where the file system has them, else copies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, WEIGHTS):
        try:
            os.link(version.folder / name, folder / name, follow_symlinks=False)
        except FileExistsError:
            pass
        except OSError:
            shutil.copyfile(version.folder / name, part := folder / f".{name}", follow_symlinks=False)
            os.replace(part, folder / name)
    return folder


def read_header(file: Any, size: int) -> tuple[int, Header]:
    """Where a safetensors file's data begins, and its tensors. Refused if it is anything else, or has gaps."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise Refused("its weights are not a safetensors file")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_distinct)
        header.pop("__metadata__", None)
        ends = 0
        for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            begin, end = tensor["data_offsets"]
            count = math.prod(_positive(n) for n in tensor["shape"])
            if begin != ends or end - begin != count * WIDTH[tensor["dtype"]] or len(tensor["shape"]) != 2:
                raise Refused(f"tensor {name[:120]} does not lie where its header says")
            ends = end
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(f"its weights are not a safetensors file of F32, F16 or BF16 matrices ({error})") from None
    if ends != size - 8 - length:
        raise Refused(f"its weights hold {size - 8 - length} bytes where the header tells of {ends}")
    return 8 + length, header


@lru_cache(maxsize=8)
def module_shapes(checkpoint: Path) -> dict[str, tuple[int, int]]:
    """Module name → (out, in) of every quantised linear layer, from the checkpoint that the engine loads."""
    from safetensors import safe_open

    shapes = {}
    suffix = ".weight.quant_state.bitsandbytes__nf4"
    for path in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(path, "np") as tensors:
            for name in (name for name in tensors.keys() if name.endswith(suffix)):  # noqa: SIM118 (no dict)
                out, width = json.loads(tensors.get_tensor(name).tobytes())["shape"]
                shapes[name.removesuffix(suffix)] = (out, width)
    return shapes


def plain_file(path: Path, limit: int) -> None:
    """Refused unless `path` is a file of at most `limit` bytes, reached without a link."""
    try:
        facts = path.lstat()
    except OSError:
        raise Refused(f"{path.name} is missing") from None
    if path.parent.is_symlink() or not stat.S_ISREG(facts.st_mode):
        raise Refused(f"{path.name} is a link or no plain file")
    if facts.st_size > limit:
        raise Refused(f"{path.name} is larger than {limit} bytes")


def _config(path: Path, limit: int) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes(), object_pairs_hook=_distinct)
        r, alpha = config["r"], config["lora_alpha"]
        ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
        targets = config["target_modules"]
        if config["peft_type"] != "LORA" or config.get("bias", "none") != "none":
            raise Refused("it is not a plain LoRA adapter (peft_type LORA, bias none)")
        for number in (r, *ranks.values()):
            if _positive(number) > limit:
                raise Refused(f"its rank {number} is over this server's {limit}: restart the server to serve it")
        for number in (alpha, *alphas.values()):
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < 1e6:
                raise Refused("its alpha is not a positive number")
        if any(not re.fullmatch(r"[A-Za-z0-9_.]{1,200}", key) for key in (*ranks, *alphas)):
            raise Refused("rank_pattern and alpha_pattern must name modules plainly")
        if not isinstance(targets, str | list) or not all(isinstance(target, str) for target in targets):
            raise Refused("target_modules is neither a text nor a list of names")
        if not all(type(layer) is int for layer in config.get("layers_to_transform") or []):
            raise Refused("layers_to_transform is no list of numbers")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(f"{path.name} is not an adapter's config: {type(error).__name__} {error}") from None
    if unsupported := [name for name in UNSET if config.get(name)]:
        raise Refused(f"vLLM cannot serve {', '.join(unsupported)}")
    if unknown := sorted(key for key, value in config.items() if value and key not in KNOWN):
        raise Refused(
            f"its config sets {', '.join(unknown)[:200]}, which this release does not know: it may change what the "
            "weights mean"
        )
    if config.get("init_lora_weights", True) not in INITS:
        raise Refused(f"init_lora_weights={config['init_lora_weights']!r} changes the base's weights")
    return dict(config)


def _modules(header: Header, config: dict[str, Any], base: dict[str, tuple[int, int]]) -> None:
    """Each module of the adapter is one of the base's, whole, of the right shape, and in all layers that have it, or
    in just those that its config names."""
    found = set()
    for name in header:
        module, dot, part = name.removeprefix(PREFIX).rpartition(".lora_")
        if not name.startswith(PREFIX) or not dot or part not in ("A.weight", "B.weight") or module not in base:
            raise Refused(f"the base has no place for tensor {name[:160]!r}")
        found.add(module)
    if not found:
        raise Refused("it holds no weights at all")
    for module in sorted(found):
        out, width = base[module]
        rank = _rank(module, config)
        for part, shape in (("A", [rank, width]), ("B", [out, rank])):
            tensor = header.get(f"{PREFIX}{module}.lora_{part}.weight")
            if tensor is None:
                raise Refused(f"lora_{part} of {module} is missing")
            if tensor["shape"] != shape:
                raise Refused(f"lora_{part} of {module} is {tensor['shape']}, this base needs {shape}")
    kinds = {_kind(module) for module in found}
    layers = config.get("layers_to_transform")
    wanted = {m for m in base if _kind(m) in kinds and (not layers or _layer(m) in layers)}
    if extra := sorted(found - wanted):
        raise Refused(f"its config leaves out the layer of {extra[0]}, but there are weights for it")
    if missing := sorted(wanted - found):
        raise Refused(f"{len(missing)} modules are missing, the first is {missing[0]}")
    targets = config["target_modules"]
    if isinstance(targets, list):
        for target in targets:
            if not any(module == target or module.endswith(f".{target}") for module in found):
                raise Refused(f"its config names the module {target[:80]!r}, but there are no weights for it")


def _layer(module: str) -> int:
    """The 12 of `model.layers.12.self_attn.q_proj`; -1 outside the layers."""
    return next((int(part) for part in module.split(".") if part.isdecimal()), -1)


def _kind(module: str) -> str:
    """`model.layers.*.self_attn.q_proj`: the same module in every layer."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", module)


def _rank(module: str, config: dict[str, Any]) -> int:
    for key, rank in (config.get("rank_pattern") or {}).items():
        if module == key or module.endswith(f".{key}"):
            return int(rank)
    return int(config["r"])


def _finite(file: Any, start: int, name: str, tensor: dict[str, Any]) -> None:
    begin, end = tensor["data_offsets"]
    file.seek(start + begin)
    for at in range(begin, end, BLOCK):
        block = file.read(min(BLOCK, end - at))
        if tensor["dtype"] == "BF16":
            bad = (np.frombuffer(block, np.uint16) & 0x7F80) == 0x7F80
        elif tensor["dtype"] == "F16":
            bad = ~np.isfinite(np.frombuffer(block, np.float16))
        else:  # the engine computes in bf16, whose largest number is a little smaller than F32's
            bad = ~(np.abs(np.frombuffer(block, np.float32)) <= 3.3895e38)
        if bad.any():
            raise Refused(f"{name} holds values that are not finite")


def _positive(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} is not a positive whole number")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)
