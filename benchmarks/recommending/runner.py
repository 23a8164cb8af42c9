"""Run fits side by side in processes, within a time, and keep what is done."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Self

# A fit computes with one thread, so that its CPU seconds compare, and fits side by side
# do not wait for each other's threads.
ENVIRONMENT = dict.fromkeys(
    ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"], "1"
)


@dataclass(frozen=True)
class Task:
    """Work to be done once.

    Parameters
    ----------
    title : str
        What the user reads about it.
    facts : Path
        JSON file that tells what was found; where it is, the work is done.
    work : callable
        Does the work and returns its facts; a function of a module, or a partial one.
    """

    title: str
    facts: Path
    work: Callable[[], dict[str, Any]]

    def __call__(self) -> float:
        """Do the work, keep its facts, and return how many seconds it took."""
        start = time.perf_counter()
        write(self.facts, self.work())
        return time.perf_counter() - start


def write(path: Path, facts: dict[str, Any]) -> None:
    """Write facts whole or not at all: who is killed leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    unfinished.replace(path)


def run(tasks: Iterable[Task], jobs: int, limit: float | None = None) -> Iterator[str]:
    """Do what is not done yet, in the order given, and tell of each end.

    Parameters
    ----------
    tasks : iterable of Task
        What is to be done.
    jobs : int
        Number of processes.
    limit : float or None, default=None
        Seconds after which all that runs is stopped.

    Yields
    ------
    str
        A line for each task that ended, and what is left.

    Raises
    ------
    RuntimeError
        In the end, if a task failed: all others have been done.
    """
    tasks = list(tasks)
    todo = [task for task in tasks if not task.facts.exists()]
    yield f"{len(tasks) - len(todo)} of {len(tasks)} are kept, {len(todo)} to do"
    if not todo:
        return
    done: set[str] = set()
    failed = []
    with Workers(min(jobs, len(todo))) as workers:
        for task, result in workers.do(todo, limit):
            done.add(task.title)
            yield f"{task.title}: {result}"
            if isinstance(result, Failure):
                failed.append(task.title)
    if len(done) < len(todo):
        left = len(todo) - len(done)
        yield f"stopped after {limit:.0f} s: {left} left, the same command goes on"
    if failed:
        raise RuntimeError(f"{len(failed)} failed: {', '.join(failed)}")


class Failure(str):
    """What went wrong with a task."""


class Workers:
    """Processes that do a task each, one after the other.

    One that dies, as for lack of memory, costs its task alone: another takes its place.

    Parameters
    ----------
    n : int
        Number of processes; entering the context starts them, leaving it kills them.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.processes: dict[Connection, BaseProcess] = {}

    def __enter__(self) -> Self:
        for _ in range(self.n):
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
        for connection, process in self.processes.items():
            process.join()
            connection.close()

    def do(
        self, tasks: Iterable[Task], limit: float | None
    ) -> Iterator[tuple[Task, str]]:
        """Do tasks until the time is up, and yield each with what came of it."""
        waiting = deque(tasks)
        end = None if limit is None else time.monotonic() + limit
        busy: dict[Connection, Task] = {}
        self._give(waiting, busy)
        while busy:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not (ready := wait(list(busy), left)):
                return
            for connection in ready:
                assert isinstance(connection, Connection)
                yield busy.pop(connection), self._receive(connection)
            self._give(waiting, busy)

    def _start(self) -> None:
        context = get_context("spawn")  # what CUDA needs
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _environment(ENVIRONMENT):
            process.start()
        theirs.close()  # so that its death ends the connection
        self.processes[ours] = process

    def _give(self, waiting: deque[Task], busy: dict[Connection, Task]) -> None:
        """Give a task to each process that has none."""
        for connection in self.processes:
            if waiting and connection not in busy:
                busy[connection] = waiting.popleft()
                connection.send(busy[connection])

    def _receive(self, connection: Connection) -> str:
        try:
            return connection.recv()
        except (EOFError, ConnectionResetError):
            process = self.processes.pop(connection)
            process.join()
            self._start()
            return Failure(f"its process died with code {process.exitcode}")


def _serve(connection: Connection) -> None:
    """Do what comes, in a process of its own."""
    while True:
        task = connection.recv()
        try:
            result = f"{task():.1f} s"
        except Exception as error:  # goes to the parent, which tells of it
            result = Failure(f"{type(error).__name__}: {error}")
            traceback.print_exc()
        connection.send(result)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables that a process which starts meanwhile has."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
