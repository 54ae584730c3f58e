"""A system whose microphone by default is the one that the user has chosen."""

from contextlib import AbstractContextManager

from sordino.live.ports import Sink, Source
from sordino.live.systems import LOUDSPEAKER, MICROPHONE, Device, System


class Choice(System):
    """Lets a running session change over to another microphone, and keep the virtual one.

    A session looks for its microphone again whenever devices change.  To it, a new choice is
    such a change; so meeting programs notice nothing but the other sound.

    Args:
        system: does all the work.
        input: name or label of the microphone; None: the system's own default.
    """

    def __init__(self, system: System, input: str | None) -> None:
        self._system, self._input = system, input
        self._choices = 0

    @property
    def name(self) -> str:
        """See `System`."""
        return self._system.name

    @property
    def input(self) -> str | None:
        """Name or label of the microphone that is chosen; None: the system's own default."""
        return self._input

    @input.setter
    def input(self, name: str | None) -> None:
        self._input = name
        self._choices += 1

    def find_input(self, name: str | None) -> Device:
        """See `System`; None stands for the choice."""
        return self._system.find_input(self._input if name is None else name)

    def open_input(self, name: str | None, rate: int) -> Source:
        """See `System`; None stands for the choice."""
        return self._system.open_input(self._input if name is None else name, rate)

    def changes(self) -> int:
        """See `System`; a new choice counts as a change."""
        return self._system.changes() + self._choices

    def devices(self) -> list[Device]:
        """See `System`."""
        return self._system.devices()

    def find_output(self, name: str | None) -> Device:
        """See `System`."""
        return self._system.find_output(name)

    def open_output(self, name: str | None, rate: int) -> Sink:
        """See `System`."""
        return self._system.open_output(name, rate)

    def virtual_microphone(self, label: str = MICROPHONE) -> AbstractContextManager[str]:
        """See `System`."""
        return self._system.virtual_microphone(label)

    def virtual_loudspeaker(self, label: str = LOUDSPEAKER) -> AbstractContextManager[str]:
        """See `System`."""
        return self._system.virtual_loudspeaker(label)

    def clean_up(self) -> list[str]:
        """See `System`."""
        return self._system.clean_up()

    def close(self) -> None:
        """See `System`."""
        self._system.close()
