"""At every load: does the adapter do anything, does it do what it did when it was made, and is the base as it was?

vLLM has served adapters whose modules it silently ignored (vllm#55193, #41754, #34186) and answered for the base with
an adapter mixed in (#42008). The log-probabilities of known prompts tell: they are the same only where the same
weights were used.
"""

from collections.abc import Sequence

from factory.probe import Messages, Scores, apart
from factory.registry.preflight import Refused
from serve.engine import Engine

SAME = 1e-4  # nats a token: what differs less is the same, but for what the base itself scatters
BASE = 0.1  # what the base may scatter between two readings, when requests beside it change the order of its sums
MADE = 0.1  # what an engine may differ from training, which adds up in another order and another precision


async def read(engine: Engine, model: str, conversations: Sequence[Messages]) -> Scores:
    """The scores of the conversations' tokens; one after the other, so that they do not scatter by each other."""
    return [await engine.read(model, messages) for messages in conversations]


async def check(
    engine: Engine, base: str, name: str, conversations: Sequence[Messages], before: Scores, made: Scores | None
) -> Scores:
    """What the adapter `name` gives; Refused with the reason unless it works as it should and the base answers as
    `before`."""
    now, after = await read(engine, name, conversations), await read(engine, base, conversations)
    scatter = apart(before, after)
    if scatter > BASE:
        raise Refused(f"since it was loaded the base itself answers otherwise (by {scatter:.2f} nats a token)")
    if apart(now, after) <= SAME + 2 * scatter:
        raise Refused("the engine answers with it as the base does alone: it uses none of its weights")
    if made is not None and (off := apart(now, made)) > max(MADE, apart(after, made) / 2):
        raise Refused(
            f"the engine does not answer with it as it did when it was made (by {off:.2f} nats a token; the base alone "
            f"is {apart(after, made):.2f} off): the engine uses only some of its weights, or other ones"
        )
    return now


async def again(engine: Engine, name: str, conversations: Sequence[Messages], before: Scores) -> None:
    """Refused unless an engine that was restarted gives for an adapter or the base what was given `before`."""
    if (off := apart(await read(engine, name, conversations), before)) > BASE:
        raise Refused(f"since the engine was restarted it answers otherwise than before (by {off:.2f} nats a token)")
