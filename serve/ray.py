"""`factory serve engine=ray`: the engines run on a Ray cluster, behind the same gateway.

Each engine is an actor that runs the same vLLM process as on this machine, on whichever node Ray finds room for it; a
cluster that scales itself starts a node for an actor that waits. When a node or an engine is lost, the pool starts the
engine again as a new actor, which Ray places on a node that lives. RAY_ADDRESS names the cluster; without it Ray starts
one on this machine.

The nodes need this package and vLLM installed, and the factory's home (bases and adapters) on storage that all of them
see under the same path. The gateway must reach the nodes' ports; every path of an engine there needs its random key.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import aiohttp

from factory.base.build import Base
from factory.errors import FactoryError
from factory.home import home
from serve import process
from serve.boot import python_path
from serve.pool import Launch
from serve.process import KEEP_ALIVE, Process, Size

ANSWERS = 15.0  # seconds an actor may take to say that it lives
PASSED_ON = ("VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND", "FAKE_TOKEN_SECONDS")


def on_ray() -> Launch:
    """Join the cluster, and return what starts an engine there. FactoryError if there is no Ray or no cluster."""
    try:
        import ray
    except ImportError:
        raise FactoryError("engine=ray needs Ray: pip install ray") from None
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"FACTORY_HOME": str(home("x").parent), "PYTHONPATH": python_path()}
    try:
        ray.init(
            address=os.environ.get("RAY_ADDRESS"),
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"env_vars": environment},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise FactoryError(f"the Ray cluster cannot be joined: {error}") from None
    return OnRay


class OnRay:
    """An engine's process as an actor (`serve.engine.EngineProcess`)."""

    def __init__(self, base: Base, size: Size, name: str, log: Path) -> None:
        self.base, self.size, self.name, self.log = base, size, name, log
        self.url = self.key = ""
        self._actor: Any = None

    async def start(self) -> None:
        """Have Ray place an actor, however long that takes, and start vLLM in it."""
        import ray

        needs = {"num_gpus": self.size.tensor} if ray.cluster_resources().get("GPU") else {"num_cpus": 1}
        self._actor = (
            ray.remote(_Host).options(**needs).remote(self.base, self.size, self.name, self.log, process.MODULE)
        )
        try:
            self.url, self.key = await self._actor.begin.remote()
        except ray.exceptions.RayError:
            self._actor = None  # `alive` will say so

    async def alive(self) -> bool:
        return bool(await self._ask("alive", False))

    async def stop(self) -> None:
        import ray

        if self._actor is not None:
            await self._ask("stop", None)
            ray.kill(self._actor)
            self._actor = None

    async def tail(self, lines: int = 12) -> str:
        return str(await self._ask("tail", "; its node is lost", lines))

    def connector(self) -> aiohttp.BaseConnector:
        return aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE / 2)

    def discard(self) -> None:
        """The actor's private folder goes with its process."""

    async def _ask(self, what: str, otherwise: Any, *words: Any) -> Any:
        """The actor's answer, or `otherwise` if it is lost."""
        import ray

        if self._actor is None:
            return otherwise
        try:
            async with asyncio.timeout(ANSWERS):
                return await getattr(self._actor, what).remote(*words)
        except (ray.exceptions.RayError, TimeoutError):
            return otherwise


class _Host(Process):
    """The actor: a process on its node, listening on the node's address."""

    def __init__(self, base: Base, size: Size, name: str, log: Path, module: str) -> None:
        import ray

        process.MODULE = module
        super().__init__(base, size, name, log, ray.util.get_node_ip_address())

    async def begin(self) -> tuple[str, str]:
        await self.start()
        return self.url, self.key

    async def stop(self) -> None:
        await super().stop()
        self.discard()
