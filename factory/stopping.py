"""Ctrl-C and SIGTERM: both end the work in order, wherever it is."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN = 0.05  # seconds after which a signal that got lost comes again
GENTLY = 10.0  # seconds that work which ends by itself may take to, once a signal has asked it
T = TypeVar("T")


class Stopped(KeyboardInterrupt):
    """A signal asked us to end; what is half done is taken back on the way out. `number` is the signal's."""

    def __init__(self, number: int) -> None:
        self.number = number


def unheard(server: T) -> T:
    """A uvicorn server that leaves signals to whoever runs the event loop."""
    vars(server)["capture_signals"] = nullcontext
    return server


@contextmanager
def stoppable() -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM end the work in order: also where a shell script has started us in the background,
    which has us ignore Ctrl-C.

    Python drops what is raised while it takes an object away (in `__del__`, in the callback of a weak reference). A
    signal that came just then comes again a moment later."""
    signals = SIGNALS if threading.current_thread() is threading.main_thread() else ()

    heard: list[int] = []

    def stop(number: int, frame: Any) -> None:
        heard.append(number)
        raise Stopped(number)

    def dropped(told: Any) -> None:
        if isinstance(told.exc_value, Stopped):
            threading.Thread(target=again, args=(told.exc_value.number,), daemon=True).start()
        else:
            telling(told)

    def again(number: int) -> None:
        if not over.wait(AGAIN):
            os.kill(os.getpid(), number)

    over, telling = threading.Event(), sys.unraisablehook
    before = {number: signal.signal(number, stop) for number in signals}
    if signals:
        sys.unraisablehook = dropped
    try:
        yield
    except Exception:
        if heard:  # some libraries make an error of their own of what interrupts them, while they are imported too
            raise Stopped(heard[0]) from None
        raise
    finally:
        over.set()
        if signals:
            sys.unraisablehook = telling
        for number, handler in before.items():
            signal.signal(number, handler)


def leaving(call: Callable[[], T]) -> T:
    """What `call` gives, from a thread that a signal leaves behind: for libraries that wait for threads of their own
    before they let one through, and those for the network. What they began may still come to its end."""
    from concurrent.futures import Future, thread

    if threading.current_thread() is not threading.main_thread():
        return call()
    found = Future[T]()

    def work() -> None:
        try:
            found.set_result(call())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=work, daemon=True).start()  # and so are the threads that it starts
    try:
        return found.result()
    except Stopped:
        pools: Any = thread
        at_end: Any = threading

        def unwaited() -> None:
            with pools._global_shutdown_lock:
                pools._shutdown = True  # none begins any more
                for left in [one for one in pools._threads_queues if one.daemon]:
                    del pools._threads_queues[left]

        at_end._register_atexit(unwaited)  # before Python waits for them
        raise


async def aside(call: Callable[[], T]) -> T:
    """What `call` gives, from a thread. Cancelled, that ends too, at the next line of Python that it comes to: an event
    loop waits for its threads before it ends."""
    import asyncio
    import ctypes

    thread: list[int] = []

    def work() -> T:
        thread.append(threading.get_ident())
        try:
            return call()
        finally:
            thread.clear()

    try:
        return await asyncio.to_thread(work)
    except asyncio.CancelledError:
        for number in thread:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(number), ctypes.py_object(KeyboardInterrupt))
        raise


def run(
    work: Coroutine[Any, Any, T],
    runner: Callable[[Coroutine[Any, Any, T]], T] | None = None,
    gently: Callable[[], None] | None = None,
) -> T:
    """Run a coroutine to its end. A signal cancels it, so that all it began is ended in order, and becomes Stopped.

    With `gently` the first signal calls that instead, for work that ends by itself then; what is left of it after
    GENTLY seconds is cancelled, or by the second signal.
    """
    import asyncio

    runner = runner or asyncio.run
    if threading.current_thread() is not threading.main_thread():
        return runner(work)
    heard: list[int] = []

    async def cancelled_by_signals() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: int) -> None:
            heard.append(number)
            assert task is not None
            if gently and len(heard) == 1:
                gently()
                loop.call_later(GENTLY, task.cancel)
            else:
                task.cancel()

        for number in SIGNALS:
            loop.add_signal_handler(number, stop, number)
        return await work

    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        return runner(cancelled_by_signals())
    except BaseException:
        if heard:
            raise Stopped(heard[0]) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
