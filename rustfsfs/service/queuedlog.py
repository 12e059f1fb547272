"""A log that nobody waits for: a thread of its own writes the records, and only that waits for who reads them."""

import logging
import logging.handlers
import os
import select
import threading
from queue import SimpleQueue

RECORDS_MAX = 2000  # that wait to be written; what comes beyond them is lost, and counted
FLUSH_S_MAX = 5.0  # for what waits at the end
STDERR = 2


class QueuedHandler(logging.handlers.QueueHandler):
    """Gives each record to `target`, in order. `emit` never waits.

    A record's text is made at once, with its traceback, since what it speaks of may change. `close`, which the
    interpreter's end calls too, returns when all is written, or after FLUSH_S_MAX.
    """

    queue: "SimpleQueue[logging.LogRecord | None]"  # None: the end

    def __init__(self, target: logging.Handler) -> None:
        super().__init__(SimpleQueue())
        self._target = target
        self._lost = 0
        self._is_closed = False
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        if self.queue.qsize() >= RECORDS_MAX:
            self._lost += 1
            return
        self._tell_lost()
        self.queue.put(record)

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            text = f"the log was not read: the {lost} records before this one are lost"
            self.queue.put(logging.LogRecord("rustfsfs", logging.WARNING, __file__, 0, text, (), None))

    def _write(self) -> None:
        """Of the target only `emit` is called: its lock, held by a write without end, would hold the interpreter's."""
        while (record := self.queue.get()) is not None:
            self._target.emit(record)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._tell_lost()
            self.queue.put(None)
            self._thread.join(FLUSH_S_MAX)
            if not self._thread.is_alive():
                self._target.close()
        super().close()


class StderrHandler(logging.Handler):
    """Lines to descriptor 2, past sys.stderr: the interpreter waits at its end for that buffer's lock."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
            while data:
                select.select([], [STDERR], [])  # whoever shares it may have made it one that does not block
                data = data[os.write(STDERR, data) :]
        except OSError:
            pass  # it is full, or nobody is there
        except Exception:
            self.handleError(record)
