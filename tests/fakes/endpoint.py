"""A small server that plays an OpenAI-compatible endpoint on the loopback, faults included."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[str, list[dict[str, str]], int], Any]  # form, messages, number of the request → the answer's content
Faults = Callable[[int, str], str]  # number of the request, its key → the fault it meets, or nothing


class FakeEndpoint:
    """`with FakeEndpoint(answer, faults) as endpoint:` then `endpoint.url`.

    Faults: "429", "500", "401", "stall" (`stall` seconds), "cut" (JSON that stops half-way), "length", "prose" (JSON in
    words around it), "form" (JSON of another form), "empty", "refusal", "hangup", "garbage" (a reply that is no JSON).
    """

    def __init__(self, answer: Answer, faults: Faults = lambda i, key: "", stall: float = 3.0) -> None:
        self.answer, self.faults, self.stall = answer, faults, stall
        self.asked: Counter[str] = Counter()  # answers given in full, by question
        self.requests = self.busy = self.busiest = 0
        self.lock = threading.Lock()

    def __enter__(self) -> FakeEndpoint:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with fake.lock:
                    number, fake.requests = fake.requests, fake.requests + 1
                    fake.busy += 1
                    fake.busiest = max(fake.busiest, fake.busy)
                try:
                    fake.reply(self, body, number)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                finally:
                    with fake.lock:
                        fake.busy -= 1

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        return self

    def __exit__(self, *exc: Any) -> None:
        self.server.shutdown()
        self.server.server_close()

    def reply(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], number: int) -> None:
        form = body["response_format"]["json_schema"]["name"]
        key = json.dumps([form, body["messages"], body["temperature"]])
        fault = self.faults(number, key)
        if fault in ("429", "500", "401"):
            error = json.dumps({"error": {"message": f"status {fault}, on purpose"}}).encode()
            return self.send(handler, int(fault), error, {"retry-after": "0"} if fault == "429" else {})
        if fault == "stall":
            time.sleep(self.stall)
        if fault == "hangup":
            handler.connection.close()
            return None
        if fault == "garbage":
            return self.send(handler, 200, b"<html>busy</html>", {})
        content = self.answer(form, body["messages"], number)
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        text = {
            "cut": text[: len(text) // 2],
            "prose": f"Here it is: {text} Enjoy!",
            "form": '{"other": 1}',
            "empty": "",
        }.get(fault, text)
        message = {"role": "assistant", "content": text}
        if fault == "refusal":
            message |= {"content": None, "refusal": "I would rather not"}
        if fault in ("", "stall"):
            with self.lock:
                self.asked[key] += 1
        choice = {"index": 0, "message": message, "finish_reason": "length" if fault == "length" else "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        reply = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }
        return self.send(handler, 200, json.dumps(reply).encode(), {})

    def send(self, handler: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict[str, str]) -> None:
        handler.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)
