"""vLLM's scheduler on a CPU, where a step takes as long as its tokens: short prompts of who holds least go first.

Chunked prefill lets every prompt read a few tokens a step, side by side, so that a short one waits as many steps as it
has chunks, each as long as everybody's reading in it. Here those who hold least (the priority that the gateway gives,
`fair.py`), and up to twice as much, read their prompts whole, as many as one step holds; in that step the others only
write. A prompt that no step holds is read in chunks beside the others, as ever. Where there is no memory left for the
keys and values of who comes, one of those that hold most has to begin again.
"""

import math
import time
from collections.abc import Iterable
from typing import Any

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request, RequestStatus

ALIKE = 2  # times what the first one holds


def whole(prompts: Iterable[Request], room: int) -> list[Request]:
    """Of the prompts that wait or are being read, those to read whole within `room` tokens: first who holds least.

    They sort by priority, then by age.
    """
    chosen: list[Request] = []
    for prompt in sorted(prompts):
        room -= unread(prompt)
        if room < 0 or (chosen and prompt.priority > ALIKE * chosen[0].priority):
            break
        chosen.append(prompt)
    return chosen


def unread(prompt: Request) -> int:
    return prompt.num_tokens - prompt.num_computed_tokens


class ShortFirst(Scheduler):
    """Not asynchronous, as vLLM on a CPU is not."""

    _asked: frozenset[str] = frozenset()  # who was to read whole in the step before

    def schedule(self, *given: Any, **named: Any) -> SchedulerOutput:
        reading = [request for request in self.running if request.is_prefill_chunk]
        ready = (RequestStatus.WAITING, RequestStatus.PREEMPTED)
        waiting = [request for request in self.waiting if request.status in ready]
        room = self.max_num_scheduled_tokens - len(self.running) + len(reading)
        chosen = whole([*reading, *waiting], room)
        self._make_room([request for request in chosen if request in waiting])
        asked = frozenset(request.request_id for request in chosen)
        # Who could not be read, for want of memory perhaps, must not hold the others up: they go on as ever.
        if not chosen or asked & self._asked:
            self._asked = frozenset()
            return super().schedule(*given, **named)
        self._asked = asked
        writing = 0
        for request in self.running:
            writing += not request.is_prefill_chunk
            if request.is_prefill_chunk and request not in chosen:
                request.next_decode_eligible_step = self.current_step + 2  # not in the step that comes now
        config, most = self.scheduler_config, self.max_num_scheduled_tokens
        chunk, config.long_prefill_token_threshold = config.long_prefill_token_threshold, 0
        self.max_num_scheduled_tokens = writing + sum(map(unread, chosen))
        try:
            return super().schedule(*given, **named)
        finally:
            config.long_prefill_token_threshold, self.max_num_scheduled_tokens = chunk, most

    def _make_room(self, waiting: list[Request]) -> None:
        """Keys and values for these from who holds much more. vLLM itself takes them for those that run already, so who
        comes waits until one of the long answers that fill the memory has ended."""
        needed = sum(math.ceil((request.num_tokens + 1) / self.block_size) for request in waiting)
        while waiting and self.running and self.kv_cache_manager.block_pool.get_num_free_blocks() < needed:
            most = max(self.running)
            if most.priority <= ALIKE * waiting[0].priority:
                return
            self.running.remove(most)
            self._preempt_request(most, time.monotonic())
