"""How the examples of an update are shared between processes, and within each between passes.

An update has the same examples on any number of processes: example k of update n is a function of
the seed, n and k alone.  So the sampler's state is the number of updates and the size of the batch,
and a run goes on on more or fewer processes as if nothing had happened.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sordino.errors import SordinoError

if TYPE_CHECKING:
    from sordino.train.recipe import LoopConfig


@dataclass(frozen=True)
class Share:
    """What one process does of every update.

    Attributes:
        size: examples of a pass through the network.
        passes: passes whose gradients are added up before the weights change.
        rank: of this process.
        world: number of processes.
    """

    size: int
    passes: int
    rank: int = 0
    world: int = 1

    @property
    def batch(self) -> int:
        """Examples of an update, over all processes."""
        return self.size * self.passes * self.world

    def first(self, index: int) -> tuple[int, int]:
        """Return which update a pass belongs to, and the number of its first example there.

        Args:
            index: of the pass, counted over all updates.

        >>> share = Share(size=2, passes=2, rank=1, world=2)
        >>> [share.first(index) for index in range(3)]
        [(0, 2), (0, 6), (1, 2)]
        """
        update, number = divmod(index, self.passes)
        return update, (number * self.world + self.rank) * self.size


def share_batch(config: "LoopConfig", rank: int, world: int, kept: int = 0) -> Share:
    """Share the examples of an update between processes.

    Args:
        config: its `batch`, `global_batch` and `chain`.
        rank: of this process.
        world: number of processes.
        kept: examples of an update so far, for a run that goes on; 0 for a new one.

    Raises:
        SordinoError: the processes cannot have equal shares of whole chains.

    >>> from sordino.train.recipe import LoopConfig
    >>> share_batch(LoopConfig(batch=8, global_batch=64), rank=0, world=2)
    Share(size=8, passes=4, rank=0, world=2)
    >>> share_batch(LoopConfig(batch=8), rank=0, world=1, kept=32).passes
    4
    """
    batch = config.global_batch or kept or config.batch * world
    each, rest = divmod(batch, world)
    chain = max(config.chain, 1)
    if rest or each % chain:
        raise SordinoError(
            f"an update has {batch} examples (train.global_batch), which {world} processes cannot "
            f"share equally in chains of {chain}: start as many as divide {batch // chain}"
        )
    sizes = range(min(config.batch, each) // chain * chain, 0, -chain)
    size = next((size for size in sizes if each % size == 0), chain)
    return Share(size, each // size, rank, world)
