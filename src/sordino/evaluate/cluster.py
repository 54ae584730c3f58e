"""Tasks of an evaluation on a Ray cluster."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from sordino.cluster.pool import Pool, cluster_cores, connected
from sordino.errors import SordinoError
from sordino.evaluate.conditions import Condition
from sordino.evaluate.dataset import Clip
from sordino.evaluate.runner import ScoringResult, ScoringTask, measured, one_thread
from sordino.evaluate.scores import Row, check_metrics
from sordino.evaluate.systems import System

ATTEMPTS = 2  # a scorer that crashes once may have done so for want of memory


class _Part(NamedTuple):
    """A task without its system, which the workers have."""

    number: int
    system: str
    clip: Clip
    condition: Condition


@dataclass(frozen=True)
class _MakeScorer:
    """Makes what scores in a worker."""

    systems: Sequence[System]
    wanted: frozenset[str]

    def __call__(self, device: str) -> Callable[[_Part], Row]:  # noqa: ARG002
        """Hold the systems; they run on the CPU, one thread each."""
        one_thread()
        systems = {system.name: system for system in self.systems}

        def score(part: _Part) -> Row:
            return measured(
                ScoringTask(systems[part.system], part.clip, part.condition), self.wanted
            )

        return score


@dataclass(frozen=True)
class TasksOnCluster:
    """Does what `run_tasks` does, with both enhancing and scoring on the workers.

    Times compare only if the machines are alike and do nothing else.

    Args:
        address: see `sordino.cluster.pool.connected`.
    """

    address: str

    def __call__(
        self, tasks: Sequence[ScoringTask], metrics: Collection[str], jobs: int
    ) -> Iterator[ScoringResult]:
        """Yield the results in the order of the tasks.

        Args:
            tasks: What to do.
            metrics: Measures taken where the condition of a task names none.
            jobs: Workers; 0 is one a core of the cluster.

        Raises:
            SordinoError: There is no such cluster, or its workers cannot start.
        """
        if not tasks:
            return
        systems = list({task.system.name: task.system for task in tasks}.values())
        make = _MakeScorer(systems, check_metrics(metrics))
        parts = [_Part(i, t.system.name, t.clip, t.condition) for i, t in enumerate(tasks)]
        ready: dict[int, ScoringResult] = {}
        following = 0
        with connected(self.address, jobs or None):
            pool = Pool[_Part, Row](make, jobs or max(1, cluster_cores()), attempts=ATTEMPTS)
            with closing(pool):
                for finished in pool.results(parts):
                    if finished is None:
                        continue
                    part = finished.task
                    task, error = tasks[part.number], finished.error
                    text = f"{task.system.name}, {task.clip.noisy.name}: {error}" if error else ""
                    ready[part.number] = ScoringResult(task.key, finished.result or {}, text)
                    while following in ready:
                        yield ready.pop(following)
                        following += 1
        if following < len(tasks):
            raise SordinoError("the cluster ended before all was measured: run it again")
