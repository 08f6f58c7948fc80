"""One writer at a time, on file systems that have locks; a warning on those that have none."""

from __future__ import annotations

import errno
import fcntl
import logging
from typing import IO, Any


def locked(file: IO[Any], what: str, log: logging.Logger) -> bool:
    """Lock an open file for this process; whether another one was waited for.

    Args:
        file: stays locked until it is closed.
        what: said in the log, with what the other process does: "…: another process is writing it".
        log: the stage's logger.

    Raises:
        OSError: the lock was refused for another reason than that there are none.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("%s; waiting for its end", what)
        fcntl.flock(file, fcntl.LOCK_EX)
        return True
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
            raise
        log.warning("%s: this file system has no locks; start no second job on it", file.name)
    return False
