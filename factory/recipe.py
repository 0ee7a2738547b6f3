"""How one adapter is made: `adapters/defaults.yaml`, then `adapters/<task>/recipe.yaml`, then the command line.

A recipe is read strictly, is frozen, and has a hash: whatever is built from it can say exactly what it was built from.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from factory.data.label import alike, visible
from factory.decoding import Decoding, own_schema
from factory.errors import InputError, Problem
from factory.home import digest, project, shown
from factory.kinds import TASK, Kind
from factory.sections import Card as Card  # noqa: PLC0414 (others take them from here)
from factory.sections import Gate as Gate  # noqa: PLC0414
from factory.strict import Layer, Strict, check, leaves, merge, nearest, overrides, read_yaml
from factory.train.methods import METHODS, Sft, Stages


class Endpoint(Strict):
    """An OpenAI-compatible endpoint. `key_env` names the variable with its key; prices are per million tokens."""

    url: str
    model: str
    key_env: str = ""
    concurrency: int = Field(8, ge=1, le=256)
    timeout: float = Field(60, gt=0, description="seconds")
    price_in: float = Field(0, ge=0)
    price_out: float = Field(0, ge=0)


class Quality(Strict):
    """A judge's grade of each row, 1 (useless) to 4 (excellent), reason first; rows below `threshold` are dropped."""

    endpoint: Endpoint
    threshold: int = Field(3, ge=1, le=4)


class Replay(Strict):
    """General rows mixed in against forgetting: `share` of the training rows, drawn from `files`."""

    share: float = Field(0.05, ge=0, le=0.5)
    files: str | list[str] = []
    max_tokens: int = Field(
        128, ge=1, description="of a reply by the base; a longer one is left out, for it breaks off"
    )


class Synth(Strict):
    """Rows to make: `n` of them, from the texts, seeds or labels in `files` (the training rows where empty)."""

    endpoint: Endpoint | None = None
    n: int = Field(100, ge=1)
    files: str | list[str] = []
    per_chunk: int = Field(3, ge=1, le=20, description="pairs from one chunk of a document")


class Data(Strict):
    """Where the rows come from (files, globs or hub:owner/name[:split]) and what they must pass.

    Without `eval`, `eval.jsonl` beside the recipe is used, else `eval_share` of the rows is split off; without `tune`,
    `tune_share`. `format` and `columns` (prompt=question) settle what the keys of the rows leave open. `near` and
    `semantic` are similarities from which a row counts as a copy; 0 leaves near copies in. `require` is `json` or a
    pattern for the whole answer.
    """

    train: str | list[str] = "train.jsonl"
    pairs: str | list[str] = Field("pairs.jsonl", description="chosen and rejected answers; ratings: what people rated")
    thumbs: str | list[str] = Field("thumbs.jsonl", description="answers with a yes or no (stage kto)")
    texts: str | list[str] = Field("texts/*", description="raw text, one a line or whole files (stage pretrain)")
    eval: str | list[str] = []
    tune: str | list[str] = []
    fill: dict[str, str] = {}
    format: str = ""
    columns: dict[str, str] = {}
    encoding: str = ""
    strict: bool = False
    learn: Literal["last", "all"] = Field(
        "last", description="answers of a conversation that are learned; turns with a weight of their own win"
    )
    reasoning: bool = Field(False, description="a turn's reasoning_content is learned, as <think>…</think> before it")
    labels_fold: bool = Field(False, description="labels that look alike (case, width, invisible characters) are one")
    answer_tokens: tuple[int, int] = Field((1, 100_000), description="fewest and most tokens of an answer")
    refusals: bool = Field(False, description="keep answers that refuse")
    undesirable: bool = Field(False, description="keep answers labelled as undesirable: the stage kto does")
    whole: bool = Field(False, description="rows are texts, learned from their first token: the stage pretrain does")
    exclude: list[str] = []
    require: str = ""
    near: float = Field(0.7, ge=0, le=1)
    encoder: str = Field("", description="folder of a local text encoder for semantic deduplication")
    semantic: float = Field(0.95, gt=0, le=1)
    quality: Quality | None = None
    group: str = Field("", description="key whose equal values stay on one side of the split")
    eval_share: float = Field(0.1, gt=0, lt=1)
    salt: str = Field("", description="draws other eval and tune rows; fixed once versions were graded")
    tune_share: float = Field(
        0.1, ge=0, lt=1, description="of the training rows, kept aside for early stopping and sweeps"
    )
    weights: dict[str, float] = Field(
        {}, description="how often the rows of a file are taken: 2 twice, 0.5 half of them"
    )
    replay: Replay = Replay()
    synth: Synth = Synth()


class Lora(Strict):
    """The adapter's form. Defaults: all linear layers, r=16, alpha=32 (METHODS of the LoRA papers: alpha = 2r)."""

    r: int = Field(16, ge=1, le=512)
    alpha: float = Field(32, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: str | list[str] = "all-linear"
    layers: float = Field(1.0, gt=0, le=1, description="the upper share of the base's layers that the adapter is on")
    rslora: bool = False
    init: Literal["default", "gaussian"] = "default"
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}


class Train(Strict):
    """How it learns. Lengths in tokens, `batch` in rows per optimizer step, `warmup` as a share of all steps."""

    epochs: float = Field(3, gt=0, allow_inf_nan=False)
    lr: float | Literal["auto"] = "auto"
    batch: int = Field(16, ge=1)
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    loraplus: float | None = Field(None, gt=0, description="lr of B over lr of A (LoRA+, arXiv 2402.12354)")
    max_length: int = Field(1024, ge=16)
    evals: int = Field(4, ge=1, description="how many times the eval loss is taken over the run")
    patience: int = Field(2, ge=0, description="evals without improvement before it stops; 0 never stops early")
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    use_liger_kernel: bool = Field(False, description="fused Triton kernels on a GPU")
    precision: Literal["auto", "bf16", "fp32"] = Field("auto", description="auto: what the machine computes fast")
    report_to: Literal["none", "trackio", "wandb", "tensorboard", "mlflow", "comet"] = "none"
    seed: int = Field(0, ge=-(2**63), lt=2**63)

    @field_validator("lr")
    @classmethod
    def _positive(cls, value: Any) -> Any:
        if value != "auto" and not 0 < value <= 10:
            raise ValueError("must be auto or a number above 0 and at most 10")
        return value


class Recipe(Strict):
    """One adapter's recipe, complete. `folder` is where its files lie, `system` the text of its prompt file."""

    task: str
    kind: Kind
    description: str = ""
    base: str = "auto"
    prompt: str = "prompt.md"
    labels: list[str] = []
    rubric: str = ""
    data: Data = Data()
    lora: Lora = Lora()
    train: Train = Train()
    plans: dict[str, Stages] = Field({}, description="lists of stages by name, for stages=<name>")
    stages: Stages = []
    decoding: Decoding = Decoding()
    gate: Gate = Gate()
    card: Card = Card()
    folder: Path = Field(exclude=True)
    system: str = Field("", exclude=True)

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: list[str]) -> list[str]:
        if len(set(labels)) < len(labels):
            raise ValueError("a label is given twice")
        if unclear := alike(labels, case=False):  # of two that differ in case, whoever lists both has said so
            raise ValueError(f"these labels look the same: {', '.join(map(visible, unclear[0]))}")
        if bad := [label for label in labels if label != label.strip()]:
            raise ValueError(f"space around the label {visible(bad[0])}")
        return labels

    @field_validator("plans")
    @classmethod
    def _no_method(cls, plans: dict[str, Stages]) -> dict[str, Stages]:
        if taken := [name for name in plans if name in METHODS or not name.isidentifier()]:
            raise ValueError(f"a plan cannot be called {taken[0]!r}: a word that is no method")
        return plans

    @field_validator("stages", mode="before")
    @classmethod
    def _plan(cls, stages: Any, info: ValidationInfo) -> Any:
        """The stages of a plan that is named in their place."""
        plans = info.data.get("plans", {})
        if not isinstance(stages, str) or stages in METHODS or "," in stages:
            return stages
        if stages not in plans:
            there = ", ".join(plans) or "it has none"
            raise ValueError(f"must be methods, or a plan of this task ({there}){nearest(stages, [*plans, *METHODS])}")
        return plans[stages]

    @model_validator(mode="after")
    def _usual_rate(self) -> Self:
        if any(isinstance(stage, Sft) and stage.lr == "auto" for stage in self.stages):
            Sft.usual_rate(self.train.lr)
        return self

    def system_prompt(self) -> str:
        """The text that travels with every version and is put in where a caller sends no system message."""
        return self.system

    def hash(self) -> str:
        """Of all that decides one training. Stages, plans and the rows that only stages have are no part of it: a stage
        is the recipe with what the stage changes. A key of later releases counts once it is set.
        """
        unset = set() if self.data.tune else {"tune"}
        rows = {"pairs", "thumbs", "undesirable", "texts", "whole"} | unset
        left_out: Any = {"plans": True, "stages": True, "data": rows}
        return digest([self.model_dump(mode="json", exclude=left_out), self.system])


def tasks() -> list[str]:
    """The names of all tasks of the project."""
    return sorted(path.parent.name for path in (project() / "adapters").glob("*/recipe.yaml"))


def load(task: str, changes: dict[str, str] | None = None) -> Recipe:
    """The recipe of `task` with the command line's `changes` on top. Errors: all at once, with file and line."""
    folder = project() / "adapters" / task
    path = folder / "recipe.yaml"
    if task not in tasks():
        raise InputError(f"no task {task!r}{nearest(task, tasks())} (make one: factory new task={task or 'name'})")
    recipe = read_yaml(path)
    layer = merge(defaults(), recipe, overrides(changes or {}))
    name = "a task's name is small letters, digits, - and _: call its folder so, or it could not be served"
    problems = [] if TASK.fullmatch(task) else [Problem(name, shown(folder))]
    for key in sorted({"task", "folder", "system"} & set(layer.values)):
        problems.append(Problem("is not set by hand: it follows from the folder", *layer.places[(key,)], key))
    for table in ("judges", "bases"):
        if table in recipe.values:
            problems.append(Problem("belongs into adapters/defaults.yaml", *recipe.places[(table,)], table))
        layer.values.pop(table, None)
    layer.values |= {"task": task, "folder": folder}
    layer.values.setdefault("rubric", task)
    problems += own_schema(layer)
    try:
        layer.values["system"] = _prompt(layer, folder)
    except InputError as error:
        problems += error.problems
    try:
        made = check(Recipe, layer, shown(path))
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(*problems)
    return made


def load_all(names: str, changes: dict[str, str]) -> list[Recipe]:
    """The recipes of `summary`, `summary,identity` or `all`, with the errors of all of them at once."""
    wanted = tasks() if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
    problems, found = [], []
    for task in dict.fromkeys(wanted or [names]):
        try:
            found.append(load(task, changes))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*dict.fromkeys(problems))
    return found


def defaults() -> Layer:
    """`adapters/defaults.yaml`: what all recipes share, and the tables of bases and judges."""
    return read_yaml(project() / "adapters" / "defaults.yaml")


def keys() -> list[tuple[str, str]]:
    """Every dotted key that the command line can set, with its default as text."""
    found = []
    for name, field in leaves(Recipe):
        default = field.get_default(call_default_factory=True)
        if name != "task":
            found.append((name, "" if field.is_required() or default is None else str(default)))
    return found


def _prompt(layer: Layer, folder: Path) -> str:
    name = layer.values.get("prompt")
    path = folder / str(name or "prompt.md")
    if path.exists():
        try:
            return path.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else f"not UTF-8 at byte {error.start}"
            raise InputError(str(why), file=shown(path)) from None
    if name:
        raise InputError(Problem(f"no such file: {shown(path)}", *layer.places[("prompt",)], "prompt"))
    return ""
