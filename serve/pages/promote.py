"""Promote and roll back from the demo: the user's own admin token goes to the server's admin API and is not kept."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr
import httpx
from markupsafe import Markup

from evals import decisions
from factory.errors import FactoryError
from factory.registry import aliases
from serve.pages.ask import told
from serve.pages.markup import tag
from serve.pages.texts import say
from serve.pages.versions import Known

LIMIT = 180.0  # seconds: the server loads and warms a version before it lets it go live
Wire = Callable[[Any, list[Any], list[Any], dict[str, Any]], None]


def offered(tasks: dict[str, list[Known]]) -> list[Any]:
    """What can be promoted, and what can be rolled back."""
    names = [version.name for found in tasks.values() for version in found]
    return [gr.update(choices=names), gr.update(choices=list(tasks))]


def controls(language: str, admin: str) -> tuple[list[Any], Wire]:
    """A token, a version to promote, a task to roll back; without the address of an admin API a line says so. Returns
    the widgets that hang on the registry, and what connects them once all others exist."""
    with gr.Column(elem_id="move", elem_classes="sheet", visible=bool(admin)):
        gr.HTML(tag("p", say(language, "move_title"), class_="move-title"), padding=False)
        token = gr.Textbox(label=say(language, "token"), type="password", elem_id="token")
        with gr.Row():
            with gr.Row():
                version = gr.Dropdown(label=say(language, "version"), elem_id="to-promote", min_width=160)
                promote = gr.Button(say(language, "promote"), variant="primary", elem_id="promote", min_width=110)
            with gr.Row():
                task = gr.Dropdown(label=say(language, "task"), elem_id="to-roll-back", min_width=160)
                back = gr.Button(say(language, "rollback"), elem_id="rollback", min_width=110)
    said = gr.HTML("" if admin else tag("p", say(language, "no_admin"), class_="quiet"), elem_id="moved", padding=False)

    async def move(what: str, value: str | None, secret: str) -> Markup:
        if not value or not secret:
            return tag("p", say(language, "move_needs"), class_="hint warn", role="alert")
        if what == "promote" and (refusal := await asyncio.to_thread(_gate, value)):
            return tag("p", say(language, "gate_refused"), " ", tag("small", refusal), class_="hint warn", role="alert")
        body = {"version" if what == "promote" else "task": value}
        return await _move(language, admin, what, body, secret)

    def wire(choices: Any, given: list[Any], hang: list[Any], quiet: dict[str, Any]) -> None:
        for button, what, chosen in ((promote, "promote", version), (back, "rollback", task)):
            moved = button.click(partial(move, what), [chosen, token], said, **quiet)
            moved.then(choices, given, hang, **quiet)

    return [version, task], wire


def _gate(name: str) -> str:
    """Why the gate does not let this version go live; empty if it does. Overriding it is for the command line."""
    try:
        decisions.admit(aliases.resolve(name))
    except FactoryError as error:
        return str(error)
    return ""


async def _move(language: str, admin: str, what: str, body: dict[str, str], token: str) -> Markup:
    """Ask the admin API; its answer in words."""
    try:
        async with httpx.AsyncClient(base_url=admin, timeout=httpx.Timeout(LIMIT, connect=5)) as client:
            reply = await client.post(f"admin/{what}", json=body, headers={"authorization": f"Bearer {token}"})
    except (httpx.HTTPError, UnicodeError):
        return tag("p", say(language, "admin_away"), class_="hint warn", role="alert")
    if reply.status_code == 200:
        return tag("p", say(language, f"{what}_done", what=next(iter(body.values()))), class_="hint", role="status")
    known = {401: "token_wrong", 403: "token_weak"}
    return tag("p", say(language, known.get(reply.status_code, "move_refused")), " ", tag("small", told(reply.content)),
               class_="hint warn", role="alert")  # fmt: skip
