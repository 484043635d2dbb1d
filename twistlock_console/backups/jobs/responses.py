"""The responses of the node API about backups, for the node and its clients."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class _Response(BaseModel):
    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True
    )

    def to_json(self) -> dict[str, object]:
        """Return the fields that are set, as JSON values."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class JobStatus(_Response):
    """The running job: *verb* is its kind, *seconds_left* is until its phase ends."""

    run: str
    verb: str
    what: str
    began: str
    phase: str
    done: int
    total: int
    seconds_left: float | None


class RunState(_Response):
    """A job that is running, with its *work*; or one that has ended."""

    state: str
    work: JobStatus | None = None
    error: str = ""
    file: str = ""


class ListedBackup(_Response):
    """A backup in the volume; *verified* is when it was sealed, None if it was not."""

    id: str
    name: str
    release: str
    time: str
    size: int
    verified: str | None
    system: bool


class BackupsOverview(_Response):
    """All backups, the running job, and the latest *results* by kind of job.

    *problem* says why the volume cannot be used; it is empty if it can.
    """

    serving: bool
    volume: str
    problem: str
    automatic: bool
    key_file: bool
    work: JobStatus | None
    backups: list[ListedBackup]
    results: dict[str, dict[str, object]]
