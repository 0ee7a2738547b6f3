"""The part of a card that says how to use the version: commands and code that run as they stand there."""

from __future__ import annotations

import json
import re

from factory.base.catalog import CATALOG
from factory.registry.dossier import Dossier
from factory.registry.store import CONFIG, Version

SLOTS = (8, 16, 32, 64, 128, 256, 320, 512)  # ranks that vLLM can be started for
BASE, HERE = "path/to/the/base", "path/to/this/folder"


def use(dossier: Dossier) -> str:
    """How to serve it with this project, with transformers and with vLLM."""
    facts = dossier.version.facts
    place, task = dossier.place, facts.task
    parts = [
        "With the project that made it (checks hash, base and shapes first, puts the prompt in, serves OpenAI's API):",
        f"```sh\nfactory pull from={place}@v{dossier.ordinal}\n"
        f"factory promote version={dossier.version.short}\nfactory serve\n```",
    ]
    if facts.prompt:
        parts.append("It was trained with this system message and needs it:\n\n" + _fenced(facts.prompt, "text"))
    named, fetched = dossier.base_id, dossier.on_hub
    if not fetched:
        own = f"comes with that project, which tells its folder: `factory base base={facts.base}`"
        where = own if facts.base in CATALOG else "must be had from who made this"
        parts.append(f"The base `{named}` is not on the Hub; it {where}. It lies there in 4 bits already.")
        named = BASE
    on_hub = place.scheme == "hub"
    adapter = f'"{place.path}", revision="v{dossier.ordinal}"' if on_hub else f'"{HERE}"'
    system = '{"role": "system", "content": PROMPT}, ' if facts.prompt else ""
    parts += [
        "With transformers and PEFT, over the 4-bit base that it was trained on:",
        _fenced(
            f"""\
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer{", BitsAndBytesConfig" if fetched else ""}

{_loading(named, dossier.base_revision) if fetched else _loading_quantised(named)}
model = PeftModel.from_pretrained(model, {adapter})
turns = [{system}{{"role": "user", "content": TEXT}}]
ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True,
                                    return_tensors="pt", return_dict=True)
made = model.generate(**ids.to(model.device), max_new_tokens={facts.decoding.max_tokens}, do_sample=False)
print(tokenizer.decode(made[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))""",
            "python",
        ),
        "With vLLM (NF4 needs its bitsandbytes plugin; over bf16 weights grade it again):",
        _fenced(
            (f"hf download {place.path} --revision v{dossier.ordinal} --local-dir {task}\n" if on_hub else "")
            + f"vllm serve {named} --quantization bitsandbytes --enable-lora \\\n"
            f"  --max-lora-rank {_slot(dossier.version)} --lora-modules {task}={task if on_hub else HERE}",
            "sh",
        ),
    ]
    return "\n\n".join(parts)


def _loading(base: str, revision: str) -> str:
    return f"""\
nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4",
                         bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.bfloat16)
base, at = "{base}", "{revision}"
tokenizer = AutoTokenizer.from_pretrained(base, revision=at)
model = AutoModelForCausalLM.from_pretrained(base, revision=at, quantization_config=nf4)"""


def _loading_quantised(base: str) -> str:
    return f"""\
tokenizer = AutoTokenizer.from_pretrained("{base}")
model = AutoModelForCausalLM.from_pretrained("{base}", dtype=torch.bfloat16)"""


def _slot(version: Version) -> int:
    """The smallest of vLLM's sizes for adapters that holds this one's rank."""
    config = json.loads((version.folder / CONFIG).read_text())
    rank = max([int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())])
    return min((size for size in SLOTS if size >= rank), default=rank)


def _fenced(text: str, language: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"
