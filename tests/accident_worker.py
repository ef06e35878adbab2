"""A worker module that has every accident on request; the pools of test_simulators_processes.py load it by its name."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import time
from typing import Any

_STARTED_WITH: dict[str, Any] = {}
_ANSWERED = 0


def start(options: dict[str, Any]) -> None:
    """Remembers the options; has the accident they name."""
    _STARTED_WITH.update(options)
    if options.get("start") == "fail":
        raise RuntimeError("nothing to load")
    if options.get("start") == "hang":
        time.sleep(3600)


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Does what the request says."""
    global _ANSWERED
    _ANSWERED += 1
    what = request["do"]
    if what == "echo":
        return {"value": request["value"], "pid": os.getpid(), "answered": _ANSWERED, "options": _STARTED_WITH}
    if what == "crash":
        ctypes.string_at(0)
    if what == "crash_once":
        marker = request["marker"]
        if not os.path.exists(marker):
            os.mkdir(marker)
            os.abort()
        return {"pid": os.getpid()}
    if what == "hang":
        time.sleep(3600)
    if what == "spin":
        while True:
            pass
    if what == "sleep":
        time.sleep(request["seconds"])
        return {"pid": os.getpid()}
    if what == "hang_with_child":
        subprocess.Popen(["sleep", "3600"])
        time.sleep(3600)
    if what == "raise":
        raise ValueError("a bad request")
    if what == "recycle":
        return {"recycle": True, "pid": os.getpid()}
    if what == "eat":
        bytearray(request["bytes"])
        return {}
    if what == "print":
        for _ in range(1000):
            print("noise", flush=True)
            print('{"answer": "noise"}', file=sys.stderr, flush=True)
        os.write(1, b"noise\n")
        return {"pid": os.getpid()}
    if what == "environment":
        return {
            "environment": dict(os.environ),
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "file": resource.getrlimit(resource.RLIMIT_FSIZE),
            "memory": resource.getrlimit(resource.RLIMIT_AS),
            "processes": resource.getrlimit(resource.RLIMIT_NPROC),
            "session": os.getsid(0),
            "pid": os.getpid(),
            "modules": sorted(sys.modules),
        }
    if what == "write":
        with open(request["path"], "w") as file:
            file.write("anything")
        return {}
    raise KeyError(what)
