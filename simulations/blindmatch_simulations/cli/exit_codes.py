"""Exit codes of the command (docs/reference/commands.md): part of its interface, so they do not change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blindmatch_server.hosting import exit_codes as server_codes

if TYPE_CHECKING:
    from blindmatch_protocol.codec.errors import BlindmatchError

OK: Final = server_codes.OK
WRONG: Final = server_codes.FAILED
USAGE: Final = 2
PORT_TAKEN: Final = server_codes.PORT_TAKEN
BAD_STATE: Final = server_codes.BAD_STATE
DRAIN_TIMED_OUT: Final = server_codes.DRAIN_TIMED_OUT
REFUSED_INPUT: Final = 6
UNREACHABLE: Final = 7
INTERRUPTED: Final = 130


def code_of(error: BlindmatchError) -> int:
    """The exit code for an error. What raises errors is loaded here, for no command needs all of it."""
    from blindmatch_client.errors import ServiceError, StoreError
    from blindmatch_server.hosting.authority import AuthorityError, IdentityError

    from blindmatch_simulations.testbed.deployment.addresses import DeploymentError, ManifestError
    from blindmatch_simulations.testbed.deployment.operators import OperatorError
    from blindmatch_simulations.testbed.deployment.processes import ProcessError

    match error:
        case IdentityError():
            return REFUSED_INPUT
        case ProcessError(code=code) if code > OK:
            return code
        case ServiceError() | ProcessError() | OperatorError():
            return UNREACHABLE
        case DeploymentError() | ManifestError() | AuthorityError() | StoreError():
            return BAD_STATE
        case _ if isinstance(error.__cause__, OSError):
            return BAD_STATE

    from blindmatch_protocol.codec.errors import SetFileError
    from blindmatch_server.curator.source import ListFileError
    from blindmatch_server.epochs.published import PublicationError
    from blindmatch_server.storage.errors import StateError

    damaged = isinstance(error, ListFileError | PublicationError | SetFileError | StateError)
    return BAD_STATE if damaged else REFUSED_INPUT
