"""Every verb of the command line: what it does, where it lies, its keys. A new verb is a function and an entry here."""

from dataclasses import dataclass, field

from factory.errors import InputError


@dataclass(frozen=True)
class Verb:
    """One verb: what it does, its own keys, and whether it also takes the recipe's keys (`train.lr=2e-4`)."""

    does: str
    module: str
    keys: dict[str, str] = field(default_factory=dict)
    recipe: bool = False
    needs: tuple[str, ...] = ()
    bare: str = ""  # the key that a text without `key=` is for
    actions: tuple[str, ...] = ()  # `factory key new …`: one of these words must follow the verb


def whole(key: str, text: str, least: int = 1, most: int = 10**9) -> int:
    """The value of a key that takes a whole number. InputError if it is none, or out of bounds."""
    if not text.isdecimal() or not least <= int(text) <= most:
        raise InputError(f"{key}={text}: must be a whole number from {least} to {most}")
    return int(text)


TASK = "a task's name, several with commas, or all"
VERSION = "summary, summary@v2, summary@canary or summary@<sha>"
PLACE = "hub:<namespace>/<repo>, file:<folder> or s3://<bucket>/<folder>"
VERBS = {
    "new": Verb(
        "a task folder that already trains",
        "data",
        {"task": "the new task's name", "kind": "summary, classification, identity or general"},
        needs=("task", "kind"),
    ),
    "data": Verb(
        "build a task's data set and report it",
        "data",
        {
            "task": TASK,
            "synth": "make rows instead: self-instruct, evolve, from-documents, from-labels, summarise or personas",
        },
        True,
        ("task",),
    ),
    "train": Verb(
        "data → train → grade → register; several tasks over one base",
        "train",
        {
            "task": TASK,
            "sweep": "lora.r:8,16 train.lr:1e-4,3e-4 and the like: variants of the one task, the best is kept",
            "devices": "GPUs (without any: processes) to spread tasks or a sweep's variants over, or one task's base",
        },
        True,
        ("task",),
    ),
    "grade": Verb(
        "a version's scorecard beside another's, and the gate's verdict",
        "grade",
        {
            "version": VERSION,
            "against": "prod (if there is one), another version, or base",
            "label": "open the batch for people: random, or uncertain (first what the judge is unsure of)",
        },
        True,
        ("version",),
    ),
    "serve": Verb(
        "all promoted versions behind one OpenAI-compatible address",
        "serve",
        {
            "port": "default 8000; 0 takes a free one",
            "host": "default 127.0.0.1",
            "admin_port": "default: a free one",
            "base": "serve this base too",
            "replicas": "engines per base, default 1; on machines with GPUs each on its own while there are enough",
            "tensor_parallel": "GPUs that each engine is split over, default 1",
            "memory": "share of a GPU's memory that each engine takes (0.5); default: what is free there",
            "engine": "local (default), or ray: a Ray cluster places the engines (RAY_ADDRESS)",
            "manifests": "print Kubernetes manifests with this image instead of serving",
            "registry": f"follow what prod and canary mean there: a list (follow.yaml), hub:<namespace> or {PLACE}",
            "gate": "own (default) takes what was graded here and promoted; theirs what a signer on the list promoted",
        },
    ),
    "ask": Verb(
        'put a question to a database: factory ask task=sql db=shop "How many customers live in Porto?"',
        "ask",
        {
            "task": "a task that writes queries: sql, sql@v2",
            "db": "one of the task's schemas, or an SQLite file",
            "question": "the question; its key may be left out",
            "user": "who <current_user> is; 3 in the task's own databases",
            "team": "what <current_team> is",
            "company": "what <current_company> is",
            "today": "the day that counts as today (2026-11-29); in the task's own databases that one",
            "dialect": "show the query for this one too: postgres, mysql, clickhouse or duckdb",
        },
        needs=("task", "db", "question"),
        bare="question",
    ),
    "key": Verb(
        "keys of callers: what they may use, and how much",
        "serve",
        {
            "name": "who the key is for",
            "tasks": "tasks the key may use, with commas; left out: all, or none for a key with admin",
            "rpm": "requests a minute",
            "tpm": "tokens a minute",
            "concurrent": "requests at once",
            "admin": "scopes of the admin listener, with commas: read, load, promote",
        },
        actions=("new", "revoke", "list"),
    ),
    "quickstart": Verb(
        "train, compare, promote and serve the three shipped tasks, and ask each a question", "quickstart", recipe=True
    ),
    "demo": Verb(
        "a page to try every version, side by side",
        "pages",
        {
            "url": "an OpenAI address; the server that runs here if left out",
            "key_env": "environment variable with its key",
            "admin": "address of the admin API, for promote and roll back",
            "port": "default 7860; 0 takes a free one",
            "host": "default 127.0.0.1",
        },
    ),
    "rate": Verb(
        "the page on which people grade answers, blind; and its users",
        "pages",
        {
            "add_user": "a name; asks for the password, or makes one if it is empty",
            "role": "rater (default) or lead",
            "remove_user": "a name",
            "proxy_header": "header in which a proxy on this machine names who signed in",
            "port": "default 7861; 0 takes a free one",
            "host": "default 127.0.0.1",
        },
    ),
    "promote": Verb(
        "let a version be what its task's name means",
        "registry",
        {
            "version": VERSION,
            "canary": "a share of the callers, such as 10%, instead of all",
            "force": "why the gate is overridden, in words; it is recorded",
            "as": "anchor: promote nothing, but hold later versions against this one too",
        },
        needs=("version",),
    ),
    "shadow": Verb(
        "send a copy of a task's requests to another version, for the record only",
        "registry",
        {"task": "a task's name", "version": "left out: no shadow any more"},
        needs=("task",),
    ),
    "rollback": Verb("go back to the version before", "registry", {"task": "a task's name"}, needs=("task",)),
    "retire": Verb(
        "take a task out of production; rollback brings it back", "registry", {"task": "a task's name"}, needs=("task",)
    ),
    "list": Verb(
        "all tasks and their versions",
        "registry:listing",
        {"task": "only this task", "registry": f"those of another registry: {PLACE}"},
    ),
    "show": Verb("everything known of one version", "registry", {"version": VERSION}, needs=("version",)),
    "push": Verb(
        "bring versions to the Hub or to a folder, with card, scores and proofs",
        "hub:push_",
        {
            "task": "what prod and canary of this task mean here; there they will mean the same",
            "version": f"or one version: {VERSION}",
            "to": PLACE,
            "private": "default true: who may see a new repository",
            "with_data": "default false: true also pushes the rows",
            "sign": "a key of ssh: who promotes signs, for servers that follow with gate=theirs",
        },
        needs=("to",),
    ),
    "pull": Verb(
        "fetch a version from the Hub or a folder, check it, keep it",
        "hub:pull_",
        {"from": f"{PLACE}@prod, @v3 or @<sha>"},
        needs=("from",),
    ),
    "adopt": Verb(
        "take in a plain PEFT adapter: check it, grade it, register it",
        "exchange",
        {
            "from": "hub:<namespace>/<repo>[@revision] or file:<folder>",
            "task": "the task that it is for",
            "weights": "folder or Hub id of the base that it names, to prove that it is the task's",
        },
        True,
        ("from", "task"),
    ),
    "export": Verb(
        "write a version in another form, checked against the adapter",
        "exchange",
        {"version": VERSION, "form": "merged-bf16, gguf-lora or gptq", "to": "the folder; default in the home"},
        needs=("version", "form"),
    ),
    "base": Verb(
        "prepare a base in 4 bits, or inspect it",
        "base",
        {"base": "smollm2-135m, qwen3-4b …, a Hub id or a folder; default: what this machine can train"},
    ),
    "top": Verb("a live view of the running server", "serve"),
    "bench": Verb(
        "measure against what one would otherwise do",
        "bench",
        {
            "only": "with commas: training, preference, gain, ways, dialogues, serving, precision, data, grading, "
            "answers, pages, gate, gpu, memory",
            "small": "true: training and serving with fewer rows, adapters and rounds, for two cores",
            "experiments": "how many of each kind the simulation of the gate makes, default 1000",
            "steps": "of GRPO: in preference default 2, from some twenty on its accuracy tells something; in gain 40",
            "task": "for gain (default: one made for it) and ways (default summary); its recipe's keys can be set too",
            "soak": "minutes of moderate load on the server after the rest of serving",
            "peers": "llamafactory: install it into a throw-away environment and train the same with it",
        },
        recipe=True,
    ),
    "doctor": Verb("what is missing here, and how to get it", "doctor"),
}
