"""FakeJudgeEndpoint: an OpenAI-compatible chat endpoint on loopback that grades by rule, late, and as badly as asked.

Runs in a process of its own, so that it does not take the tested side's time:

    python tests/fakes/judge_endpoint.py '{"delay": 0.05, "faults": {"http500": 0.3}, "log": "/tmp/x/calls.jsonl"}'

prints its port and serves until it is killed. Every answered call is a line in `log`: its sha256 and its fault.
`faults` maps a fault to its share of calls; what a call gets depends on its hash and how often it was asked before.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

STALL = 3600.0


class FakeJudgeEndpoint:
    def __init__(
        self, delay: float = 0.0, faults: dict[str, float] | None = None, log: str = "", level: str = "", until: int = 0
    ) -> None:
        self.delay, self.faults, self.level = delay, faults or {}, level
        self.log = Path(log).open("a", buffering=1) if log else None  # noqa: SIM115
        self.asked: Counter[str] = Counter()
        self.storm_left = until

    async def serve(self) -> None:
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, backlog=2048)
        print(server.sockets[0].getsockname()[1], flush=True)
        async with server:
            await server.serve_forever()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(re.search(rb"content-length: (\d+)", head, re.I).group(1))  # type: ignore[union-attr]
                status, body, extra = await self._answer(await reader.readexactly(size))
                data = json.dumps(body).encode() if not isinstance(body, bytes) else body
                lines = [
                    f"HTTP/1.1 {status} X",
                    "content-type: application/json",
                    f"content-length: {len(data)}",
                    *extra,
                ]
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, raw: bytes) -> tuple[int, Any, list[str]]:
        request = json.loads(raw)
        request.pop("seed", None), request.pop("temperature", None)
        key = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
        self.asked[key] += 1
        await asyncio.sleep(self.delay)
        fault = self._fault(key)
        if self.log:
            self.log.write(json.dumps({"key": key, "fault": fault}) + "\n")
        if fault == "http500":
            return 500, {"error": {"message": "internal"}}, []
        if fault == "http429":
            return 429, {"error": {"message": "slow down"}}, ["retry-after: 0.05"]
        if fault == "http401":
            return 401, {"error": {"message": "no such key"}}, []
        if fault == "stall":
            await asyncio.sleep(STALL)
        if fault == "garbage":
            return 200, b"<html>proxy says hello</html>", []
        usage = {"prompt_tokens": 1000, "completion_tokens": 50}
        return 200, {"choices": [{"message": {"content": self._text(request, fault)}}], "usage": usage}, []

    def _fault(self, key: str) -> str:
        if self.storm_left > 0:
            self.storm_left -= 1
            return "http429"
        draw = int(hashlib.sha256(f"{key} {self.asked[key]}".encode()).hexdigest()[:8], 16) / 16**8
        for fault, share in self.faults.items():
            if draw < share:
                return fault
            draw -= share
        return ""

    def _text(self, request: dict[str, Any], fault: str) -> str:
        """The worst level when the output holds BAD, else the best; or always `level`, as a biased judge would."""
        text = request["messages"][-1]["content"]
        choices = request["response_format"]["json_schema"]["schema"]["properties"]["level"]["enum"]
        outputs = re.findall(r"<(\w+) [0-9a-f]{12}>\n(.*?)\n</\1 [0-9a-f]{12}>", text, re.S)
        graded = outputs[-1][1]
        level = self.level or (choices[0] if "BAD" in graded else choices[-1])
        if choices == ["first", "second", "tie"] and not self.level:
            bad = ["BAD" in body for _, body in outputs[1:]]
            level = "tie" if bad[0] == bad[1] else choices[bad[0]]
        whole = json.dumps({"evidence": graded.split()[:2][:1], "reason": "by rule", "level": level})
        return {
            "cut": whole[: len(whole) // 2],
            "enum": whole.replace(f'"{level}"', '"splendid"'),
            "prose": f"Sure! Here is my verdict: {whole} Hope that helps.",
            "empty": "",
            "quote": whole.replace('"evidence": [', '"evidence": ["these words stand nowhere", ').replace(", ]", "]"),
        }.get(fault, whole)


if __name__ == "__main__":
    asyncio.run(FakeJudgeEndpoint(**json.loads(sys.argv[1])).serve())
