"""A `python` for the tests that has imported the libraries already.

A stage of a tiny line works for a second and imports for ten. `interpreter` starts one process that has imported what stages import from other projects,
nothing of Segline, and makes a folder with a `python` in it: a client, which hands its arguments, folder, environment and standard streams to that process.
A fork of it runs the script as the interpreter would; the client waits, passes signals on, and ends as the script has ended. Anything but
`python <script> …` is run by the real interpreter. `make repro` runs the whole line without any of this.

This file is the client and the server as well, so it imports nothing but the standard library.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

# Not onnxruntime: it starts a thread of its own, which a fork lacks and waits for at its end.
LIBRARIES = (
    "torch",
    "torchvision.transforms.v2",
    "segmentation_models_pytorch",
    "lightning.pytorch",
    "albumentations",
    "mlflow",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "onnx",
    "pandas",
    "pyarrow.ipc",
    "pycocotools.mask",
    "scipy.signal",
    "scipy.ndimage",
)
SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "NO_ALBUMENTATIONS_UPDATE": "1"}
"""Read at the import; else they would ask or tell the network something, from a thread."""

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interpreter(folder: Path) -> Iterator[Path]:
    """The folder to put first on PATH. The process lives as long as the block. Where a process cannot be watched as on Linux, it is the real interpreter's."""
    if not hasattr(os, "pidfd_open"):
        yield Path(sys.executable).parent
        return
    address = folder / "socket"
    command = folder / "bin" / "python"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{__file__}" "{address}" "$@"\n')
    command.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(address))
        listening.listen(64)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "MLFLOW_"))} | SILENT
        serving = [sys.executable, __file__, "--serve", str(listening.fileno())]
        server = subprocess.Popen(serving, env=environment, pass_fds=[listening.fileno()])
    try:
        yield command.parent
    finally:
        server.terminate()
        server.wait()


def serve(listening: socket.socket) -> list[str] | None:
    """Fork for each request. Returns only in the forks: the script and its arguments, with everything set as the client has it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the minders are not waited for
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _mind(connection)
        connection.close()


def _mind(connection: socket.socket) -> list[str] | None:
    """One request: a fork that becomes the script, while this process tells the client of its end, and ends it when the client is killed."""
    message, streams, _, _ = socket.recv_fds(connection, 4, 3)
    body = connection.makefile("rb").read(int.from_bytes(message, "big"))
    request = json.loads(body)
    script = os.fork()
    if script == 0:
        connection.close()
        _become(request, streams)
        arguments: list[str] = request["arguments"]
        return arguments
    for stream in streams:
        os.close(stream)
    connection.sendall(script.to_bytes(4, "big"))
    ended = os.pidfd_open(script)
    if connection in select.select([connection, ended], [], [])[0]:
        os.kill(script, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(script, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(status.to_bytes(4, "big", signed=True))
    os._exit(0)


def _become(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Folder, environment and standard streams of the client."""
    for stream, target in zip(streams, (0, 1, 2), strict=True):
        os.dup2(stream, target)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
    sys.stdin = os.fdopen(0, encoding=encoding, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=encoding, closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding=encoding, errors="backslashreplace", buffering=1, closefd=False)


def run(arguments: list[str]) -> NoReturn:
    """As `python <script> …` does it, but for the modules, which are not taken apart at the end: some complain of what others imported."""
    sys.argv = arguments
    sys.path[0] = str(Path(arguments[0]).resolve().parent)
    if "PYTHONPATH" in os.environ:
        sys.path[1:1] = [path for path in os.environ["PYTHONPATH"].split(os.pathsep) if path]
    code: Any = 0
    try:
        runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as ended:
        code = ended.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def ask(address: str, arguments: list[str]) -> int:
    """Have a script run; its exit code, negative for the signal that ended it."""
    waiting: list[int] = []
    script: list[int] = []

    def forward(signum: int, _frame: FrameType | None) -> None:
        if script:
            with contextlib.suppress(ProcessLookupError):
                os.kill(script[0], signum)
        else:
            waiting.append(signum)

    for signum in FORWARDED:
        signal.signal(signum, forward)
    body = json.dumps({"arguments": arguments, "folder": str(Path.cwd()), "environment": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [len(body).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(body)
        script.append(int.from_bytes(_receive(connection), "big"))
        for early in waiting:
            forward(early, None)
        return int.from_bytes(_receive(connection), "big", signed=True)


def _receive(connection: socket.socket) -> bytes:
    received = b""
    while len(received) < 4:
        part = connection.recv(4 - len(received))
        if not part:
            sys.exit("the process of the tests that has imported the libraries is gone")
        received += part
    return received


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        for library in LIBRARIES:
            importlib.import_module(library)
        if threading.active_count() > 1:
            sys.exit("a library has started a thread while it was imported; a fork would lack it")
        gc.freeze()  # else each fork would copy all pages as it looks for garbage
        wanted = serve(socket.socket(fileno=int(sys.argv[2])))
        if wanted is not None:
            run(wanted)
    else:
        is_script = len(sys.argv) > 2 and sys.argv[2].endswith(".py")
        if not is_script:
            os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
        code = ask(sys.argv[1], sys.argv[2:])
        if code < 0:
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        sys.exit(code)
