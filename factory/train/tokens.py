"""Rows to token sequences: the prompt as the server will render it, then the answer and the end-of-turn token."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory import control
from factory.data.rows import Row
from factory.home import digest, home, write_file

IGNORE = -100
FORM = 2  # of the kept token files: another number when `encode` makes other tokens


@dataclass(frozen=True)
class Example:
    """One training sequence. `labels` is IGNORE on the prompt, so that only the answer and its end are supervised.

    Those of one `group`, neighbours, are learned from in one forward pass: the chosen and rejected answers of a pair.
    `reward` is above 0 for what is to become likelier, below 0 for the rest; 0 is only measured. Of an answer that was
    drawn, `drawn` are the log-probabilities of its supervised tokens then, and `parent` those before training, where
    they are compared.
    """

    input_ids: list[int]
    labels: list[int]
    group: int | None = None
    reward: float = 1.0
    drawn: Sequence[float] = ()
    parent: Sequence[float] = ()


def grouped(examples: Sequence[Example]) -> list[list[Example]]:
    """Neighbours of one group together; each without a group by itself."""
    found: list[list[Example]] = []
    for example in examples:
        if found and example.group is not None and example.group == found[-1][0].group:
            found[-1].append(example)
        else:
            found.append([example])
    return found


def prompt_text(tokenizer: Any, turns: Sequence[dict[str, Any]]) -> str:
    """The conversation up to where the assistant starts to answer, as the server has vLLM render it: what looks like a
    control token in a turn is broken up."""
    said = control.harmless_in(turns, control.tokens(tokenizer))
    return str(tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False, enable_thinking=False))


def prompt_ids(tokenizer: Any, turns: Sequence[dict[str, Any]]) -> list[int]:
    """Its tokens."""
    return list(tokenizer(prompt_text(tokenizer, turns), add_special_tokens=False)["input_ids"])


def encode(tokenizer: Any, row: Row, max_length: int) -> Example:
    """One row, cut after `max_length` tokens. Rows that keep no label are dropped by the data steps."""
    prompt = prompt_ids(tokenizer, row.turns)
    said = control.harmless(row.answer, control.tokens(tokenizer))
    answer = [*tokenizer(said, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    ids = (prompt + answer)[:max_length]
    labels = ([IGNORE] * len(prompt) + answer)[:max_length]
    return Example(ids, labels)


def encode_whole(tokenizer: Any, rows: Sequence[Row], most: int) -> list[Example]:
    """Texts and conversations with every token supervised, in pieces of at most `most` tokens that overlap in one.
    Pieces that fit into `most` together are a group. Paragraphs of one plain text file follow one another."""

    def place(row: Row) -> Any:
        return row.file if row.file.endswith((".txt", ".md")) and not row.turns else id(row)

    made: list[Example] = []
    group, left = -1, 0
    for _, several in itertools.groupby(rows, key=place):
        (first, *others) = several
        said = control.harmless("\n\n".join(row.answer for row in (first, *others)), control.tokens(tokenizer))
        before = prompt_ids(tokenizer, first.turns) if first.turns else []
        ids = [*before, *tokenizer(said, add_special_tokens=not before, verbose=False)["input_ids"]]
        ids.append(tokenizer.eos_token_id)
        for start in range(0, len(ids) - 1, most - 1):
            piece = ids[start : start + most]
            if len(piece) > left:
                group, left = group + 1, most
            left -= len(piece)
            made.append(Example(piece, piece, group))
    return made


def encode_all(tokenizer: Any, rows: Sequence[Row], max_length: int, fingerprint: str) -> list[Example]:
    """All rows as sequences. They are kept in the home under a hash of the rows and the base whose tokenizer it is."""
    import torch
    from safetensors.torch import load_file, save

    path = home("tokens", f"{digest([FORM, fingerprint, max_length, [row.messages for row in rows]])}.safetensors")
    if not path.is_file():
        made = [encode(tokenizer, row, max_length) for row in rows]
        flat = {
            "ids": [token for example in made for token in example.input_ids],
            "lengths": [len(example.input_ids) for example in made],
            "prompts": [example.labels.count(IGNORE) for example in made],
        }
        write_file(path, save({name: torch.tensor(values, dtype=torch.int32) for name, values in flat.items()}))
    kept = load_file(path)
    pieces = [ids.tolist() for ids in kept["ids"].split(kept["lengths"].tolist())]
    return [
        Example(ids, [IGNORE] * prompt + ids[prompt:])
        for ids, prompt in zip(pieces, kept["prompts"].tolist(), strict=True)
    ]
