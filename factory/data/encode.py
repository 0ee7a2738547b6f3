"""Texts as unit vectors by a local encoder: the mean of its last hidden states over the tokens of each text."""

from pathlib import Path
from typing import Any

import numpy as np

from factory.errors import InputError, first_line

LENGTH, BATCH = 512, 32  # tokens of a text that are read, texts in one forward pass


class Encoder:
    """A transformers model folder, looked for beside the recipe and in the working folder."""

    def __init__(self, path: str, folder: Path) -> None:
        found = next((p for p in (folder / path, Path(path)) if (p / "config.json").is_file()), None)
        if found is None:
            raise InputError("no folder of a transformers model with a config.json", file=path, key="data.encoder")
        from transformers import AutoModel, AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(str(found))
            self.model: Any = AutoModel.from_pretrained(str(found)).eval()
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"cannot be loaded: {first_line(error)}", file=path, key="data.encoder") from None
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def __call__(self, texts: list[str]) -> np.ndarray:
        """Unit vectors, float32, one row a text."""
        import torch

        vectors = []
        with torch.inference_mode():
            for at in range(0, len(texts), BATCH):
                batch = self.tokenizer(
                    texts[at : at + BATCH], padding=True, truncation=True, max_length=LENGTH, return_tensors="pt"
                )
                mask = batch["attention_mask"]
                states = self.model(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
                mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
                vectors.append(torch.nn.functional.normalize(mean.float(), dim=-1).numpy())
        return np.concatenate(vectors)
