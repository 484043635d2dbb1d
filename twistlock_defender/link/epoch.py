"""The highest epoch that this Defender has seen, kept on disk over its restarts."""

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


class HighestEpoch:
    """Remembers in *path*; 0 before any Console was seen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.value = int(path.read_text())
        except (FileNotFoundError, ValueError):
            self.value = 0

    def admits(self, epoch: int) -> bool:
        """Whether a Console with this *epoch* may be obeyed; remembers a higher one.

        A lower epoch is that of a Console which lost its role and may not know it.
        """
        if epoch < self.value:
            return False
        if epoch > self.value:
            self.value = epoch
            try:
                self._keep(epoch)
            except OSError as error:
                log.error("epoch %d holds until a restart only: %s", epoch, error)  # noqa: TRY400
        return True

    def _keep(self, epoch: int) -> None:
        new = self._path.with_suffix(".new")
        with new.open("w") as file:
            file.write(f"{epoch}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
