"""How long our certificate is valid."""

from datetime import datetime

from twistlock_defender.clock import utc_now
from twistlock_defender.errors import FolderError
from twistlock_defender.folder import ENROL, Folder

SOON_DAYS = 30


def expires(folder: Folder) -> datetime:
    """When our certificate ends. Raises FolderError."""
    # Late: it takes time and memory, and only the one who looks needs it.
    from cryptography import x509

    path = folder / "certificate.pem"
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except OSError as error:
        raise FolderError(f"{path}: {error.strerror}; {ENROL}") from error
    except ValueError as error:
        raise FolderError(f"{path} is damaged; {ENROL}") from error


def fault(end: datetime) -> str | None:
    """What is wrong with a certificate that is valid until *end*, or soon will be."""
    left = end - utc_now()
    if left.total_seconds() < 0:
        return (
            f"our certificate expired on {end:%Y-%m-%d}, and no Console lets us in; "
            f"check this host's clock, or {ENROL}"
        )
    if left.days < SOON_DAYS:
        return f"our certificate expires on {end:%Y-%m-%d}; before that, {ENROL}"
    return None
