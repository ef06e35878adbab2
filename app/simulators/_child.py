"""The inside of a worker process: ``python -m app.simulators._child MODULE`` with its settings as a JSON argument.

One JSON document a line goes over two private pipes, so whatever the module's libraries print cannot disturb it.
Limits are set before the module is loaded. Knows nothing of what the module does.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from typing import Any

_PR_SET_PDEATHSIG = 1


def _die_with(parent: int) -> None:
    """The kernel kills this process when `parent` ends, however that ends (Linux; elsewhere end of file has to do)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _set_limit(which: int, value: int | None) -> None:
    """Soft and hard limit `which` are at most `value`; a lower limit that the system already sets stays."""
    if value is None:
        return
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _set_limits(limits: Mapping[str, Any]) -> None:
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_AS, limits["memory_bytes"])
    _set_limit(resource.RLIMIT_FSIZE, limits["file_bytes"])
    _set_limit(resource.RLIMIT_NPROC, limits["processes"])


def _arm_cpu_limit(seconds: int | None) -> None:
    """From now on this process may use `seconds` of CPU time, then the kernel ends it with SIGXCPU."""
    if seconds is None:
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def main(arguments: list[str]) -> int:
    """Answers requests until the pipe ends or the module asks for a fresh process."""
    settings = json.loads(arguments[1])
    _die_with(settings["parent"])
    limits = settings["limits"]
    _set_limits(limits)
    with (
        os.fdopen(settings["requests"], "r", encoding="utf-8") as requests,
        os.fdopen(settings["answers"], "w", encoding="utf-8") as answers,
    ):

        def send(document: Mapping[str, Any]) -> None:
            answers.write(json.dumps(document) + "\n")
            answers.flush()

        try:
            module = importlib.import_module(arguments[0])
            start = getattr(module, "start", None)
            if start is not None:
                start(settings["options"])
        except Exception as error:  # the parent turns any reason into one sentence
            send({"failed": f"{type(error).__name__}: {error}"})
            return 1
        # Nothing can be written into a folder that no longer exists, and nothing has to be swept up after a kill.
        with contextlib.suppress(OSError):
            os.rmdir(os.getcwd())
        send({"ready": True})
        for line in requests:
            _arm_cpu_limit(limits["cpu_s"])
            try:
                answer = module.handle(json.loads(line))
            except Exception as error:  # one bad request must not pass for a crash
                send({"failed": f"{type(error).__name__}: {error}"})
                return 1
            send({"answer": answer})
            if answer.get("recycle"):
                return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
