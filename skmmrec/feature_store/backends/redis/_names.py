"""What our own entries in Redis are called."""

from __future__ import annotations


class Names:
    """Names of one project's entries.

    The length comes before the project's name, so that no project's entries can be
    taken for those of another.
    """

    def __init__(self, project: str) -> None:
        name = project.encode()
        self._prefix = b"skmmrec/%d:%s:" % (len(name), name)
        # Leases, see `_lease`; what was written last under each has ":last" behind.
        self.publisher = self.own("publisher")
        self.recorder = self.own("recorder")
        # JSON of the snapshot that is served, of the one that is staged, and of all by
        # number.
        self.served = self.own("served")
        self.staged = self.own("staged")
        self.publications = self.own("publications")
        # Entities staged so far, by view.
        self.done = self.own("done")
        # Members "number:view" whose checksum is to be made anew.
        self.stale = self.own("stale")
        # How often rows beside the publications were changed, by view; and marks.
        self.changes = self.own("changes")
        # Events of feedback, the last number given out, and numbers by pushed key.
        self.events = self.own("events")
        self.last_event = self.own("last_event")
        self.pushed = self.own("pushed")

    def own(self, name: str) -> bytes:
        """Name an entry of this project."""
        return self._prefix + name.encode()

    def column(self, number: int, view: str, feature: str) -> bytes:
        """Name the hash of one feature of a publication: values by entity key."""
        return self.own(f"rows:{number}:{view}:{feature}")

    def packed(self, number: int) -> bytes:
        """Name the hash of the packed item vectors of a publication (`pack_rows`)."""
        return self.own(f"packed:{number}")

    def columns(self, number: int) -> bytes:
        """Name the set of a publication's columns, each as "view:feature"."""
        return self.own(f"columns:{number}")

    def later(self, view: str, feature: str) -> bytes:
        """Name the hash of one feature of rows that were written since."""
        return self.own(f"later:{view}:{feature}")

    def mark(self, view: str) -> bytes:
        """Name what tells that rows of a view were written since."""
        return f"{view}:".encode()

    def later_columns(self) -> bytes:
        """Name the set of the columns of rows that were written since, and marks."""
        return self.own("later")
