"""Why mongod ended, told from lines that real ones wrote."""

import json

import pytest

from twistlock_console.database.mongod_exit import exit_reason, start_failure_reason

ABORTING = [
    {"s": "F", "id": 23089, "msg": "Fatal assertion", "attr": {"msgid": 31339}},
    {"s": "F", "id": 23090, "msg": "\n\n***aborting after fassert() failure\n\n"},
    {"s": "F", "id": 6384300, "msg": "Writing fatal message", "attr": {"message": "6"}},
    {"s": "I", "id": 31445, "msg": "Frame", "attr": {"frame": {"a": "55F5"}}},
]
PORT = {
    "s": "F",
    "id": 31339,
    "msg": "Error listening for new connections on listen address",
    "attr": {"listenAddrs": "127.0.0.1:28101", "error": "Address already in use"},
}
KEYFILE = [
    {
        "s": "I",
        "id": 20254,
        "msg": "Read security file failed",
        "attr": {"error": {"errmsg": "permissions on /data/key are too open"}},
    },
    {
        "s": "F",
        "id": 20575,
        "msg": "Error creating service context",
        "attr": {"error": "Location5579201: Unable to acquire security key[s]"},
    },
]
DAMAGED = {
    "s": "E",
    "id": 22435,
    "msg": "WiredTiger error message",
    "attr": {"error": -31809, "message": {"error_str": "database corruption detected"}},
}
FASSERT = [
    {"s": "F", "id": 23091, "msg": "Fatal assertion", "attr": {"msgid": 28595}},
    {"s": "F", "id": 23092, "msg": "\n\n***aborting after fassert() failure\n\n"},
]
INVARIANT = [
    {"s": "F", "id": 23080, "msg": "\n\n***aborting after invariant() failure\n\n"},
    {"s": "F", "id": 6384300, "msg": "Writing fatal message", "attr": {"message": "6"}},
]


def storage(error: int, msg: str, error_str: str) -> dict[str, object]:
    """A line with the words of the storage engine."""
    noise = {"thread": "29091:0x7f5438e203c0", "category": "WT_VERB_DEFAULT"}
    message = {**noise, "msg": msg, "error_str": error_str}
    attributes = {"error": error, "message": message}
    return {
        "s": "E",
        "id": 22435,
        "msg": "WiredTiger error message",
        "attr": attributes,
    }


def failed(msg: str, **attributes: object) -> dict[str, object]:
    return {"s": "F", "id": 7, "msg": msg, "attr": attributes}


WT_ERROR = "WT_ERROR: non-specific WiredTiger error"
DUMP = storage(0, "__bm_corrupt_dump:101:{0, 8192, 4096, 0xc5a}: 00 00 0a", "")
CUT = storage(
    -31802, "__wt_block_read_off:235:WiredTiger.wt: fatal read error", WT_ERROR
)
PANIC = storage(
    -31804,
    "__wt_block_read_off:235:the process must exit and restart",
    "WT_PANIC: WiredTiger library panic",
)
LONG = storage(22, f"__config_err:19:Error parsing '{'x' * 2000}'", "Invalid argument")
REPAIR = failed("Please read the documentation for starting MongoDB with --repair here")
UNKNOWN = {"s": "E", "id": 1, "msg": "Something new", "attr": {"error": "odd"}}


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        pytest.param([PORT, *ABORTING], -6, "another program has its port", id="port"),
        pytest.param(KEYFILE, 1, "the keyfile is open to others", id="keyfile"),
        pytest.param([DAMAGED, *ABORTING], -6, "data files are damaged", id="damaged"),
        pytest.param(
            [UNKNOWN, *ABORTING], 14, "with code 14: Something new (odd)", id="unknown"
        ),
        pytest.param(
            [*[DUMP] * 30, CUT, PANIC, *ABORTING],
            -6,
            "damaged or incomplete; remove the node and let it join again, or restore "
            f"a backup: WiredTiger.wt: fatal read error: {WT_ERROR}",
            id="cut-file",
        ),
        pytest.param(
            [
                storage(
                    2,
                    "__posix_open_file:812:/db/a.wt: handle-open: open",
                    "No such file or directory",
                ),
                REPAIR,
                *FASSERT,
            ],
            14,
            "damaged or incomplete; remove the node and let it join again, or restore "
            "a backup: /db/a.wt: handle-open: open: No such file or directory",
            id="missing-file",
        ),
        pytest.param(
            [failed("Terminating.", reason="-31803: WT_NOTFOUND: item not found")],
            14,
            "data files are damaged",
            id="damaged-turtle",
        ),
        pytest.param([LONG, *FASSERT], 14, "xx: Invalid argument", id="long"),
        pytest.param(
            [
                storage(
                    28,
                    "__posix_file_write:525:/db/a.wt: pwrite",
                    "No space left on device",
                ),
                PANIC,
                *ABORTING,
            ],
            -6,
            "the disk is full; free some space: /db/a.wt: pwrite: No space left",
            id="full-disk",
        ),
        pytest.param(
            [
                storage(
                    13,
                    "__posix_open_file:812:/db/WiredTiger.wt: open",
                    "Permission denied",
                ),
                REPAIR,
                *FASSERT,
            ],
            14,
            "(chown): /db/WiredTiger.wt: open: Permission denied",
            id="permission",
        ),
        pytest.param(
            [
                failed(
                    "DBException in initAndListen, terminating",
                    error="NonExistentPath: Data directory /db not found.",
                )
            ],
            100,
            "the folder of the database is not there; see that its disk is mounted",
            id="no-folder",
        ),
        pytest.param(
            [
                failed(
                    "Invariant failure",
                    expr="isVersionInitialized()",
                    file="src/mongo/db/server_options.h",
                    line=156,
                ),
                *INVARIANT,
            ],
            -6,
            "written by another version of MongoDB; set MONGOD_BINARY to that version, "
            "and go from 6 to 7 to 8 one version at a time (docs/upgrade.md): Inv",
            id="another-version",
        ),
        pytest.param(
            [
                storage(
                    -31802,
                    "__log_open_verify:985:unsupported WiredTiger file version:"
                    " this build requires a maximum version of 5",
                    WT_ERROR,
                ),
                *INVARIANT,
            ],
            -6,
            "written by another version of MongoDB",
            id="newer-files",
        ),
        pytest.param(
            [
                failed(
                    "UPGRADE PROBLEM: Found an invalid featureCompatibilityVersion "
                    "document",
                    error='Location4926900: version: "7.0"',
                ),
                *FASSERT,
            ],
            62,
            "written by another version of MongoDB",
            id="newer-compatibility-version",
        ),
        pytest.param(
            [failed("Invariant failure", expr="a == b", file="x.cpp"), *INVARIANT],
            -6,
            "with code -6: Invariant failure (a == b x.cpp)",
            id="invariant",
        ),
        pytest.param(INVARIANT, -6, "was ended by signal 6", id="nothing-before-it"),
        pytest.param(
            [
                {
                    "s": "E",
                    "id": 22435,
                    "msg": "WiredTiger error message",
                    "attr": {"error": 5, "message": "an older form"},
                }
            ],
            14,
            "with code 14: an older form",
            id="storage-engine-in-another-form",
        ),
        pytest.param(
            [], -4, "lacks instructions that MongoDB needs", id="old-processor"
        ),
        pytest.param([PORT], -9, "mongod was killed", id="killed"),
        pytest.param([UNKNOWN], 0, "another process stopped it", id="asked"),
        pytest.param(ABORTING, -11, "was ended by signal 11", id="crashed"),
        pytest.param([], 2, "with code 2: Unrecognized option: x", id="before-its-log"),
    ],
)
def test_the_reason_is_one_sentence(
    lines: list[dict[str, object]], code: int, said: str
) -> None:
    """The line that tells is found among those that only say that all is lost."""
    log = ["", "no JSON", *(json.dumps(line) for line in lines)]

    reason = exit_reason(code, log, "\nUnrecognized option: x\ntry --help\n")

    assert said in reason
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("cannot write /run/mongod.conf: No space left on device", "free some space"),
        ("/db/mongod.lock: permission denied", "give all in the data folder"),
        ("there is no mongod on this host", "started: there is no mongod on this host"),
    ],
)
def test_what_prevents_a_start_has_advice_too(sentence: str, said: str) -> None:
    """The same words of the operating system mean the same."""
    reason = start_failure_reason(sentence)

    assert reason.startswith("mongod cannot be started: ")
    assert reason.endswith(sentence)
    assert said in reason
