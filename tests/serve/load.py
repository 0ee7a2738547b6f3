"""Many streaming requests at once, each checked to the last event."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import aiohttp


@dataclass
class Answer:
    """What one request came to. `version` is the X-Adapter-Version."""

    model: str
    status: int
    version: str = ""
    text: str = ""
    whole: bool = False
    started: float = 0.0


async def stream(session: aiohttp.ClientSession, url: str, model: str, prompt: str, tokens: int = 24) -> Answer:
    """One streamed chat answer, greedy."""
    request = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
    }
    started = asyncio.get_running_loop().time()
    try:
        async with session.post(f"{url}/v1/chat/completions", json=request) as reply:
            answer = Answer(model, reply.status, reply.headers.get("x-adapter-version", ""), started=started)
            async for line in reply.content:
                data = line.removeprefix(b"data: ").strip()
                if data == b"[DONE]":
                    answer.whole = True
                elif data.startswith(b"{"):
                    chunk = json.loads(data)
                    if "error" in chunk:
                        answer.status = 503
                        break
                    assert chunk["model"] == model
                    answer.text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
            return answer
    except (aiohttp.ClientError, OSError):
        return Answer(model, 0, started=started)
