"""How the state is written: all of a change or nothing of it, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from . import generations, journal
from .directory import OpenDirectory, StateDirectory, reason, way_out_of
from .errors import StateWriteFailed
from .locking import DEFAULT_WAIT, locked


@contextmanager
def writer(directory: StateDirectory, wait: float = DEFAULT_WAIT) -> Iterator[OpenDirectory]:
    """Be the one writer: the directory created, the lock held, what a stopped writer left behind finished."""
    with directory.created() as opened, locked(opened, wait):
        recover(opened)
        yield opened


def recover(directory: OpenDirectory) -> None:
    """Finish what a stopped writer decided, and remove what it did not; only the holder of the lock may."""
    try:
        journal.finish(directory)
        for name in filter(journal.is_staged, directory.names()):
            directory.unlink(name)
    except OSError as error:
        raise StateWriteFailed(
            f"Cannot finish in {directory.path} what a stopped command began: {reason(error)}"
        ) from None


def commit(
    directory: OpenDirectory,
    contents: Mapping[str, bytes],
    damaged: Mapping[str, tuple[str, bytes]] | None = None,
    outdated: Mapping[str, int] | None = None,
) -> None:
    """
    Write files, all of them or none; only the holder of the lock may.

    The new contents are complete on disk before the first name changes. One file needs one rename. For
    several, a journal says which renames belong together, and the next command finishes what this one could
    not. Raises :class:`StateWriteFailed`, which says what holds then.

    The present version of a file becomes its newest earlier one; of a ``damaged`` file the content is kept
    under the name given with it instead. An ``outdated`` one is of the older schema given with it, and is kept under
    a name that says so as well.
    """
    change = _Change(directory, contents, damaged or {}, outdated or {})
    try:
        change.prepare()
        change.carry_out()
    except OSError as error:
        paths = " and ".join(str(directory.path / name) for name in contents)
        raise StateWriteFailed(
            f"Cannot write {paths}: {reason(error)}. {change.give_up()}", way_out_of(error, directory.path)
        ) from None
    except BaseException:
        change.give_up()
        raise
    for name in contents:
        generations.prune(directory, name)


class _Change:
    """A change on its way to the disk."""

    def __init__(
        self,
        directory: OpenDirectory,
        contents: Mapping[str, bytes],
        damaged: Mapping[str, tuple[str, bytes]],
        outdated: Mapping[str, int],
    ) -> None:
        self._directory = directory
        self._contents = contents
        self._damaged = damaged
        self._outdated = outdated
        self._steps = [
            journal.Step(name, journal.staged_name(name), journal.digest(content)) for name, content in contents.items()
        ]
        self._renaming = False

    def prepare(self) -> None:
        """Do everything that can fail without a trace."""
        for step in self._steps:
            self._directory.write_new(step.staged, self._contents[step.target])
        for step in self._steps:
            if step.target in self._damaged:
                self._set_aside(*self._damaged[step.target])
            else:
                generations.keep(self._directory, step.target)
            if step.target in self._outdated:
                generations.keep_schema(self._directory, step.target, self._outdated[step.target])
        if self._damaged:
            self._directory.sync()
        if self._needs_journal:
            journal.publish(self._directory, self._steps)

    def _set_aside(self, name: str, content: bytes) -> None:
        # Under another name first: nobody shall take half of it for all that was there.
        staged = journal.staged_name("damaged")
        self._directory.write_new(staged, content)
        self._directory.replace(staged, name)

    def carry_out(self) -> None:
        """Give the new contents their names."""
        self._renaming = True
        for step in self._steps:
            self._directory.replace(step.staged, step.target)
        if self._needs_journal:
            journal.close(self._directory)
        else:
            self._directory.sync()

    def give_up(self) -> str:
        """Take back what can be taken back, and say what holds now."""
        try:
            if not self._is_under_way():
                self._take_back()
                return "Nothing was changed"
            recorded = journal.exists(self._directory)
        except OSError:
            recorded = True
        if recorded:
            return "The change is recorded in the journal, and the next command completes it"
        return "The change was made, but may not survive a power failure"

    @property
    def _needs_journal(self) -> bool:
        return len(self._steps) > 1

    def _is_under_way(self) -> bool:
        return self._renaming and self._directory.status(self._steps[0].staged) is None

    def _take_back(self) -> None:
        # The journal goes first, and durably, because it promises that the staged files are there.
        if journal.exists(self._directory):
            journal.close(self._directory)
        for name, _ in self._damaged.values():
            self._directory.unlink(name)
        for name in filter(journal.is_staged, self._directory.names()):
            self._directory.unlink(name)
