"""Work over several devices, with two real processes: what loses its worker goes on elsewhere."""

from __future__ import annotations

from factory.verbs.fan import Device, Lost, Worker, spread

CODE = (
    "import json, os, sys; "
    "os.kill(os.getpid(), 9) if os.environ.get('FALLS') else print(json.dumps({'did': sys.argv[1]}))"
)
FALLS, STANDS = Device("falls", {"FALLS": "1"}), Device("stands", {})


def test_what_loses_its_worker_goes_on_elsewhere() -> None:
    assert spread([["a"], ["b"]], [FALLS, STANDS], Worker(CODE)) == [{"did": "a"}, {"did": "b"}]


def test_what_is_lost_again_is_said() -> None:
    (lost,) = spread([["a"]], [FALLS], Worker(CODE))
    assert isinstance(lost, Lost) and "ended with -9 on falls" in lost.why
