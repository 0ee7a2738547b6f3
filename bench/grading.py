"""How fast grading goes: 1,000 outputs x 5 dimensions against a local endpoint that answers in 50 ms.

`grading.of_ideal` is the share of the time that the calls alone would take, calls x 50 ms / concurrency; the rest is
what building prompts, reading replies and keeping them costs. The endpoint is a process of its own and answers in time.
"""

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time

from aiohttp import web

from evals import judge as judging
from evals import tables
from evals.judges import Judge, Member
from evals.rubric import load

OUTPUTS, DELAY, CONCURRENCY = 1000, 0.05, 16


def run(outputs: int = OUTPUTS, concurrency: int = CONCURRENCY) -> dict[str, float]:
    """Grade once, then again from what is kept. Returns figures by name; seconds, calls a second, or shares."""
    rubric = load("summary")
    texts = {str(i): (f"The sync moves to room {i} on Friday.", f"Sync: room {i}, Friday.") for i in range(outputs)}
    endpoint = subprocess.Popen([sys.executable, "-m", "bench.grading"], stdout=subprocess.PIPE, text=True)
    try:
        assert endpoint.stdout
        url = f"http://127.0.0.1:{endpoint.stdout.readline().strip()}/v1"
        judge = Member("bench", Judge(model="bench", base_url=url, concurrency=concurrency))
        with tempfile.TemporaryDirectory() as folder:
            engine = tables.open_database(f"sqlite:///{folder}/ratings.db")
            _, tally = judging.grade(judge, rubric, texts, engine)
            started = time.monotonic()
            _, again = judging.grade(judge, rubric, texts, engine)
            resumed = time.monotonic() - started
    finally:
        endpoint.kill()
        endpoint.wait()
    assert tally.abstained == 0 and again.calls == 0, (tally, again)
    return {
        "grading.calls": tally.calls,
        "grading.seconds": round(tally.seconds, 2),
        "grading.calls_per_second": round(tally.calls / tally.seconds, 1),
        "grading.of_ideal": round(tally.calls * DELAY / concurrency / tally.seconds, 4),
        "grading.resume_seconds": round(resumed, 2),
    }


def _serve() -> None:
    """The endpoint: says after DELAY that everything is as good as can be."""

    async def reply(request: web.Request) -> web.Response:
        due = asyncio.get_running_loop().time() + DELAY
        asked = await request.json()
        best = asked["response_format"]["json_schema"]["schema"]["properties"]["level"]["enum"][-1]
        grade = json.dumps({"evidence": [], "reason": "no fault", "level": best})
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        return web.json_response({"choices": [{"message": {"content": grade}}], "usage": usage})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", reply)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        web.run_app(app, sock=listener, print=None, access_log=None)


if __name__ == "__main__":
    _serve()
