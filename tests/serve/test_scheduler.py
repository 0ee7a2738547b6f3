"""The engine's scheduler on a CPU: what one step reads, asked of vLLM's own scheduler, with keys and values to spare
and without."""

import time
from collections.abc import Callable

import pytest

from factory.base.build import Base

Asked = tuple[int, int]  # tokens of the prompt, and places that its sender holds


@pytest.fixture
def steps(base: Base) -> Callable[..., list[dict[str, int]]]:
    """What each of some steps reads or writes of requests, named by their number, until all have an answer's token,
    or with `longest` tokens all have ended."""
    import torch
    from vllm.config import CacheConfig, DeviceConfig, ModelConfig, SchedulerConfig, VllmConfig, set_current_vllm_config
    from vllm.sampling_params import SamplingParams
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.outputs import ModelRunnerOutput
    from vllm.v1.request import Request
    from vllm.v1.structured_output import StructuredOutputManager

    from serve.scheduler import ShortFirst

    cache = CacheConfig(block_size=16, enable_prefix_caching=False)
    scheduling = SchedulerConfig(
        max_num_batched_tokens=512,
        long_prefill_token_threshold=64,
        max_num_seqs=32,
        max_model_len=2048,
        policy="priority",
        async_scheduling=False,
        is_encoder_decoder=False,
    )
    model = ModelConfig(
        model=str(base.folder), dtype="float32", max_model_len=2048, hf_overrides={"quantization_config": None}
    )
    config = VllmConfig(
        scheduler_config=scheduling, model_config=model, cache_config=cache, device_config=DeviceConfig("cpu")
    )

    def run(batches: list[list[Asked]], blocks: int = 10_000, longest: int = 1000) -> list[dict[str, int]]:
        """Each batch comes when the one before has been seen in one step."""
        spec = FullAttentionSpec(block_size=16, num_kv_heads=1, head_size=1, dtype=torch.float32)
        cache.num_gpu_blocks = blocks
        held = KVCacheConfig(
            num_blocks=blocks, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)]
        )
        with set_current_vllm_config(config):
            scheduler = ShortFirst(
                vllm_config=config,
                kv_cache_config=held,
                structured_output_manager=StructuredOutputManager(config),
                block_size=16,
                hash_block_size=16,
                log_stats=False,
            )

        def step() -> SchedulerOutput:
            output = scheduler.schedule()
            named = list(output.num_scheduled_tokens)
            said = [
                [7] if not scheduler.requests[n].is_prefill_chunk else []  # one token for who has read all
                for n in named
            ]
            told = ModelRunnerOutput(
                req_ids=named,
                req_id_to_index={name: number for number, name in enumerate(named)},
                sampled_token_ids=said,
                logprobs=None,
                prompt_logprobs_dict={},
                pooler_output=[],
            )
            answered.update(name for name, tokens in zip(named, said, strict=True) if tokens)
            scheduler.update_from_output(output, told)
            seen.append(output.num_scheduled_tokens)
            return output

        seen: list[dict[str, int]] = []
        answered: set[str] = set()
        number = 0
        for batch in batches:
            for tokens, places in batch:
                params = SamplingParams(max_tokens=longest, ignore_eos=True)
                params.update_from_generation_config({}, 1)
                request = Request(str(number), [1] * tokens, params, None, time.time() + number, priority=places)
                scheduler.add_request(request)
                number += 1
            step()
        while len(answered) < number or (longest < 1000 and scheduler.has_unfinished_requests()):
            step()
            assert len(seen) < 200, "somebody is never read"
        return seen

    return run


def test_a_short_prompt_of_who_holds_least_is_read_at_once_while_long_ones_wait_and_answers_go_on(
    steps: Callable[..., list[dict[str, int]]],
) -> None:
    seen = steps([[(20, 9)], [(1500, 10), (1500, 11)], [(300, 1)]])
    assert seen[0] == {"0": 20}
    assert seen[1] == {"0": 1, "1": 64, "2": 64}
    assert seen[2] == {"0": 1, "3": 300}
    assert seen[3] == {"0": 1, "3": 1, "1": 64, "2": 64}


def test_prompts_of_one_sender_share_a_step_and_none_is_cut(steps: Callable[..., list[dict[str, int]]]) -> None:
    seen = steps([[(150, places) for places in range(4, 9)]])
    assert seen[0] == {"0": 150, "1": 150, "2": 150}
    assert {seen[1]["3"], seen[1]["4"]} == {150}


def test_nobody_waits_for_ever_where_keys_and_values_have_no_room(steps: Callable[..., list[dict[str, int]]]) -> None:
    seen = steps([[(600, 10)], [(400, 1), (300, 2)]], blocks=45, longest=3)
    assert sum(step.get("0", 0) for step in seen) >= 600


def test_who_holds_least_does_not_wait_for_the_memory_of_long_answers(
    steps: Callable[..., list[dict[str, int]]],
) -> None:
    """Nor do those come to nothing: what had to begin again ends too."""
    seen = steps([[(300, 10)], [(300, 11)], [(200, 1)]], blocks=45, longest=40)
    assert seen[2] == {"0": 1, "2": 200}
    assert sum(step.get("1", 0) for step in seen) >= 600
