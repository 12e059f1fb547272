"""Barriers: a caller waits for a sync that starts after its record was written; one sync serves all who wait."""

import logging
import queue
import threading

import trio

from rustfsfs.errors import JournalFailed
from rustfsfs.histogram import Histogram
from rustfsfs.journal.journal import Journal, SyncJob
from rustfsfs.units import MIB

FLOW_BYTES = 8 * MIB  # unsynced: then a sync is started without anyone asking (measured: DESIGN.md §14)
UNSYNCED_BYTES_MAX = 64 * MIB  # then writers wait
INLINE_S_MAX = 0.0005  # a faster fdatasync than this is done on the spot: a hop to a thread costs 0.1 ms
INLINE_BYTES_MAX = MIB
AVERAGE_WEIGHT = 0.2
SLOW_S = 0.001  # a sync that took longer counts as this much: one that met other work says little about the next

log = logging.getLogger("rustfsfs")


class Barriers:
    """The only one who syncs the journal. All methods belong to the trio thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._jobs: queue.SimpleQueue[SyncJob | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._running: SyncJob | None = None
        self._done = trio.Event()  # of the running job; replaced by each
        self._started_s = 0.0
        self.syncs = Histogram()  # of this life
        self._average_s = 0.001  # moving average of a sync; too slow for inline until measured

    @property
    def is_running(self) -> bool:
        """Is the sync thread at work?"""
        return self._running is not None

    async def barrier(self) -> None:
        """Everything appended before the call is durable on return; at once if nothing is unsynced.

        Raises JournalFailed: it is not, and never will be called so in this life (I10).
        """
        journal = self._journal
        target = journal.appended_seq
        while journal.durable_seq < target:
            if journal.failed:
                raise JournalFailed("the journal's disk failed: what was written since the last sync may be lost")
            if self._running is None:
                if self._average_s < INLINE_S_MAX and journal.unsynced_bytes < INLINE_BYTES_MAX:
                    self._sync_here()
                    continue
                self._start()
            await self._done.wait()

    def flow(self) -> None:
        """Start a sync when much is unsynced, so that a small fsync never waits behind a long stream."""
        if self._running is None and self._journal.unsynced_bytes >= FLOW_BYTES and not self._journal.failed:
            self._start()

    async def admit(self) -> None:
        """Wait while more than 64 MiB are unsynced. Raises JournalFailed."""
        while self._journal.unsynced_bytes > UNSYNCED_BYTES_MAX:
            if self._journal.failed:
                raise JournalFailed("the journal's disk failed: nothing more is accepted")
            if self._running is None:
                self._start()
            await self._done.wait()

    def _sync_here(self) -> None:
        self._journal.write_ahead()
        job = self._journal.sync_work()
        started_s = trio.current_time()
        job.run()
        self._note(trio.current_time() - started_s)
        self._journal.finish(job)

    def _note(self, seconds: float) -> None:
        self.syncs.note(seconds)
        self._average_s += AVERAGE_WEIGHT * (min(seconds, SLOW_S) - self._average_s)

    def _start(self) -> None:
        """Hand a job to the sync thread; `_land` hears of it on the trio thread."""
        if self._thread is None:
            self._token = trio.lowlevel.current_trio_token()
            self._thread = threading.Thread(target=self._work, name="journal-sync", daemon=True)
            self._thread.start()
        self._running = self._journal.sync_work()
        self._done = trio.Event()
        self._started_s = trio.current_time()
        self._jobs.put(self._running)

    def _work(self) -> None:
        assert self._token is not None
        while (job := self._jobs.get()) is not None:
            bug: Exception | None = None
            try:
                job.run()
            except Exception as exc:  # without an answer everybody would wait for ever
                bug = exc
            try:
                self._token.run_sync_soon(self._land, job, bug)
            except trio.RunFinishedError:
                return

    def _land(self, job: SyncJob, bug: Exception | None) -> None:
        self._running = None
        self._note(trio.current_time() - self._started_s)
        try:
            if bug is not None:
                raise bug
            self._journal.finish(job)
        except JournalFailed:
            pass  # `journal.failed` is set: every waiter sees it and says so
        except Exception:
            # Our own fault. Raised here it would end the loop, and with it the mount.
            log.exception("the journal could not take note of a sync; nothing more is accepted")
            self._journal.failed = True
        self._done.set()

    async def aclose(self) -> None:
        """Wait for the running sync and end the thread."""
        while self._running is not None:
            await self._done.wait()
        if self._thread is not None:
            self._jobs.put(None)
            await trio.to_thread.run_sync(self._thread.join)
            self._thread = None
