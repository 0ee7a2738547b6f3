"""`factory demo`: try every version, see them side by side, say what you think of an answer, move what is live.

A Gradio app over the registry on disk, the OpenAI endpoint and the ratings database. Nothing of a user is kept in the
process: what is shown comes from the registry at each look (every two seconds), so a promotion shows without reload.
"""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from fastapi import FastAPI
from markupsafe import Markup

from factory.errors import FactoryError, InputError
from factory.registry import store
from serve.pages import app, feedback, promote, versions
from serve.pages.ask import Answer, Server, ask_all
from serve.pages.auth import Users
from serve.pages.login import ToSignIn, name_of, sign_in
from serve.pages.markup import macros, tag
from serve.pages.result import cards, databases, run_queries, show_schema
from serve.pages.texts import LANGUAGES, say
from serve.pages.versions import Known

LOOK = 2.0  # seconds between two looks at the registry and the server
MODES = ("one", "base", "two", "all")
MAX_INPUT = 20_000  # characters


@dataclass(frozen=True)
class Options:
    """Where the answers come from, where `promote` goes (empty: nobody can promote), and whether people sign in."""

    server: Server
    admin: str = ""
    sign_in: bool = False


class Pulse:
    """Whether the server is up, asked at most once per LOOK however many pages look."""

    def __init__(self, server: Server) -> None:
        self.server, self.at, self.up = server, 0.0, True

    async def beat(self) -> bool:
        if time.monotonic() - self.at > LOOK:
            self.at = time.monotonic()
            self.up = await self.server.up()
        return self.up


def make(options: Options) -> FastAPI:
    """The web application."""
    web = app.make("demo")
    pulse = Pulse(options.server)
    users = Users()
    known: dict[str, Any] = {"auth_dependency": name_of(users)} if options.sign_in else {}
    if options.sign_in:
        sign_in(web, users, "demo_title", "demo_login_lead")
        web.add_middleware(ToSignIn, users=users, pages={"", *LANGUAGES})

    def blocks(language: str) -> gr.Blocks:
        made: gr.Blocks = gr.Blocks(title=say(language, "demo_title"), fill_width=True)
        with made:
            _Page(language, options, pulse).wire(made)
        return made

    app.mount(web, "", blocks, **known)
    return web


def run(options: Options, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Show the demo until Ctrl-C or SIGTERM. Who can reach it from elsewhere has to sign in, as a user of the raters'
    page: the answers cost what its key may spend, and what is written here is kept. InputError if nobody could."""
    if host not in app.LOOPBACK:
        options = replace(options, sign_in=True)
        if not Users().all():
            raise InputError(
                f"host={host}: beyond this machine the demo asks for a sign-in, and there is no user yet; "
                "make one: factory rate add_user=name"
            )
    app.run(make(options), host, port, ready)


class _Page:
    """One language's page: what is on it, and what each of its parts does when somebody uses it."""

    def __init__(self, language: str, options: Options, pulse: Pulse) -> None:
        self.language, self.options, self.pulse = language, options, pulse
        self.asked: gr.State = gr.State(None)  # the question and the answers on show
        self.judged: gr.State = gr.State(None)  # the answer that feedback is being written for
        self.seen: gr.State = gr.State(None)  # what the choices were made from
        other = "zh" if language == "en" else "en"
        switch = tag("a", say(other, "language"), href=f"/{other}/", class_="switch", lang=other)
        head = tag("header", tag("h1", self.say("demo_title")), tag("p", self.say("demo_lead")), switch)
        gr.HTML(head, padding=False)
        self.status = gr.HTML(elem_id="status", padding=False)
        with gr.Tab(self.say("tab_try"), id="try"):
            with gr.Row(elem_id="desk"):
                with gr.Column(scale=4, min_width=320):
                    self._question()
                with gr.Column(scale=7, min_width=340):
                    self._answers()
            with gr.Accordion(self.say("about"), open=False, elem_id="about"):
                self.scores = gr.HTML(padding=False)
                with gr.Accordion(self.say("prompt"), open=False):
                    self.travels = gr.HTML(padding=False)
        with gr.Tab(self.say("tab_registry"), id="registry"):
            self.table = gr.HTML(elem_id="registry", padding=False)
            offered, self.move = promote.controls(language, options.admin)
        self.timer = gr.Timer(LOOK)
        chosen = [self.seen, self.task, self.first, self.second]
        self.hang = [*chosen, self.table, self.scores, self.travels, *offered]

    def _question(self) -> None:
        t = self.say
        self.task = gr.Dropdown(label=t("task"), elem_id="task", allow_custom_value=False)
        self.mode = gr.Radio([(t(f"mode_{m}"), m) for m in MODES], value="one", label=t("mode"), elem_id="mode")
        with gr.Row(elem_id="pick"):
            self.first = gr.Dropdown(label=t("version"), elem_id="first", min_width=140)
            self.second = gr.Dropdown(label=t("against"), elem_id="second", visible=False, min_width=140)
        self.db = gr.Dropdown(label=t("database"), elem_id="database", visible=False)
        self.example = gr.Dropdown(label=t("example"), elem_id="example", visible=False)
        self.question = gr.Textbox(
            label=t("input"), placeholder=t("input_hint"), lines=8, max_lines=16, max_length=MAX_INPUT,
            elem_id="question",
        )  # fmt: skip
        with gr.Row():
            self.go = gr.Button(t("answer"), variant="primary", elem_id="go")
            self.stop = gr.Button(t("stop"), elem_id="stop")

    def _answers(self) -> None:
        t = self.say
        self.shown = gr.HTML(
            tag("p", t("answers_here"), class_="hint"), elem_id="answers", padding=False, js_on_load=_VOTES
        )
        with gr.Column(visible=False, elem_id="feedback", elem_classes="sheet") as self.panel:
            self.heading = gr.HTML(padding=False)
            self.wrote = gr.Textbox(label=t("would_have"), lines=3, max_length=MAX_INPUT, elem_id="wrote")
            self.consent = gr.Checkbox(label=t("consent"), elem_id="consent")
            self.send = gr.Button(t("send"), elem_id="send")
        self.thanks = gr.HTML(elem_id="thanks", padding=False)

    def wire(self, blocks: gr.Blocks) -> None:
        quiet: Any = {"show_progress": "hidden", "api_visibility": "private"}
        task, first, second = picked = [self.task, self.first, self.second]
        blocks.load(self.look, [self.seen, *picked], [self.status, *self.hang], **quiet)
        self.timer.tick(self.look, [self.seen, *picked], [self.status, *self.hang], **quiet)
        changed = task.change(self.choices, picked, self.hang, **quiet)
        changed.then(self.examples, task, [self.example, self.db], **quiet)
        first.change(lambda n, a: _about(self.language, versions.known().get(n, []), a), [task, first],
                     [self.scores, self.travels], **quiet)  # fmt: skip
        self.mode.change(lambda m: (gr.update(visible=m == "two"), gr.update(visible=m != "all")), self.mode,
                         [second, first], **quiet)  # fmt: skip
        self.example.input(lambda text: text or gr.skip(), self.example, self.question, **quiet)
        asking = [task, self.mode, first, second, self.question, self.db]
        starts = (self.go.click, self.question.submit)
        runs: Any = [on(self.answer, asking, [self.shown, self.asked], **quiet) for on in starts]
        self.stop.click(None, None, None, cancels=runs, **quiet)
        self.shown.click(self.vote, self.asked, [self.panel, self.heading, self.judged, self.thanks], **quiet)
        self.send.click(self.store, [self.judged, self.wrote, self.consent], [self.panel, self.thanks], **quiet)
        self.move(self.choices, picked, self.hang, quiet)

    def say(self, key: str) -> str:
        return say(self.language, key)

    def choices(self, now: str | None, a: str | None, b: str | None) -> list[Any]:
        """All that hangs on the registry, with each choice kept where it still exists."""
        tasks = versions.known()
        now = now if now in tasks else next(iter(tasks), None)
        mine = tasks.get(now or "", [])
        names = _choices(self.language, mine)
        values = [value for _, value in names]
        a = a if a in values else next(iter(values), None)
        b = b if b in values else next((v.name for v in mine if not v.live), None)
        return [
            versions.stamp(), gr.update(choices=list(tasks), value=now), gr.update(choices=names, value=a),
            gr.update(choices=names, value=b), macros("about", self.language).registry(tasks, store.SHORT),
            *_about(self.language, mine, a), *promote.offered(tasks),
        ]  # fmt: skip

    async def look(self, before: Any, now: str | None, a: str | None, b: str | None) -> list[Any]:
        tasks = versions.known()
        now = now if now in tasks else next(iter(tasks), None)
        line = _status(self.language, await self.pulse.beat(), tasks, now, self.options)
        if before == versions.stamp():
            return [line, *(gr.skip() for _ in self.hang)]
        return [line, *self.choices(now, a, b)]

    def examples(self, now: str | None) -> tuple[Any, Any]:
        mine = versions.known().get(now or "", [])
        found = versions.examples(mine[0].version) if mine else []
        named = [(f"{' '.join(text.split())[:70]}…", text) for text in found]
        dbs = databases(now)
        return (
            gr.update(choices=named, value=None, visible=bool(found)),
            gr.update(choices=dbs, value=next(iter(dbs), None), visible=bool(dbs)),
        )

    async def answer(
        self, now: str | None, how: str, a: str | None, b: str | None, text: str, db: str | None
    ) -> AsyncIterator[tuple[Any, ...]]:
        tasks = versions.known()
        wanted = _wanted(self.language, tasks, now, how, a, b)
        if not wanted or not text.strip():
            yield tag("p", self.say("no_versions" if not wanted else "write_first"), class_="hint"), None
            return
        try:
            show_schema(wanted, now, db, text)
        except FactoryError as error:
            yield tag("p", str(error), class_="hint warn"), None
            return
        async for under_way in ask_all(self.options.server, text, wanted):
            yield cards(self.language, under_way, tasks), gr.skip()
        run_queries(self.language, wanted, now, db)
        done = cards(self.language, wanted, tasks, done=True)
        yield done, {"question": text, "answers": [vars(w) for w in wanted]}

    def vote(self, kept: Any, event: gr.EventData) -> tuple[Any, ...]:
        chosen = feedback.chosen(kept, event._data)
        if chosen is None:
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        return gr.update(visible=True), feedback.heading(self.language, chosen), chosen, ""

    def store(self, chosen: Any, own_words: str, agreed: bool, request: gr.Request) -> tuple[Any, ...]:
        if not agreed:
            return gr.skip(), tag("p", self.say("consent_first"), class_="hint warn", role="alert")
        feedback.store(chosen, own_words, request.username or "")
        return gr.update(visible=False), tag("p", self.say("thanks"), class_="hint", role="status")


_VOTES = """
element.addEventListener('click', event => {
    const button = event.target.closest('[data-vote]');
    if (button) trigger('click', {vote: button.dataset.vote, answer: button.dataset.answer});
});
"""


def _choices(language: str, mine: list[Known]) -> list[tuple[str, str]]:
    """`(label, model)`: the task's plain name first, which follows promotions, then every version."""

    def label(version: Known, *names: str) -> str:
        good = version.scorecard.get("good")
        score = say(language, "good_share", share=f"{100 * good:.0f}") if good is not None else ""
        return " · ".join(part for part in (*names, score, version.created[:10]) if part)

    found = []
    if live := versions.live(mine):
        found.append((label(live, say(language, "follows", version=f"v{live.ordinal}")), live.task))
    for version in mine:
        found.append(
            (label(version, f"v{version.ordinal}", say(language, "live") if version.live else ""), version.name)
        )
    return found


def _chosen(mine: list[Known], model: str | None) -> Known | None:
    return next((v for v in mine if v.name == model), None) or versions.live(mine) or next(iter(mine), None)


def _about(language: str, mine: list[Known], model: str | None) -> list[Markup]:
    """What a version scored and how surely, with the gate's verdict; and the prompt that travels with it."""
    if (known := _chosen(mine, model)) is None:
        return [Markup(), Markup()]
    page, version = macros("about", language), known.version
    base, gate = store.noted(version, "base_scorecard") or {}, store.noted(version, "gate")
    return [page.scorecard(known, known.scorecard, base, gate), page.prompt(known, version.facts, store.SHORT)]


def _wanted(
    language: str, tasks: dict[str, list[Known]], task: str | None, mode: str, a: str | None, b: str | None
) -> list[Answer]:
    """The models to ask, each with its title. The base gets the version's prompt too, or the comparison is unfair."""
    if mode == "all":
        return [Answer(name, name, name) for name, found in tasks.items() if versions.live(found)]
    mine = tasks.get(task or next(iter(tasks), ""), [])
    version = _chosen(mine, a)
    if version is None:
        return []
    a = a or (version.task if version.live else version.name)
    one = Answer(a, a, version.task)
    if mode == "base":
        bare = say(language, "bare_base", base=version.base_model)
        return [Answer(version.base_model, bare, version.task, version.version.facts.prompt), one]
    return [one, Answer(b, b, version.task)] if mode == "two" and b else [one]


def _status(language: str, up: bool, tasks: dict[str, list[Known]], now: str | None, options: Options) -> Markup:
    """One line: is the server there, and what does the task's name mean now."""
    if not up:
        return tag("p", say(language, "server_down", url=options.server.url), class_="status warn", role="alert")
    live = versions.live(tasks.get(now or "", []))
    what = say(language, "live_now", task=live.task, version=f"v{live.ordinal}") if live else say(language, "no_live")
    return tag("p", tag("span", class_="lamp"), what, class_="status", role="status")
