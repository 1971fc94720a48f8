"""The servers of one deployment: started, stopped, killed, and what they counted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct, field

from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.hosting import parties_of
from blindmatch_simulations.testbed.deployment.operators import counters
from blindmatch_simulations.testbed.deployment.processes import ServerProcess, check_alive, running_servers
from blindmatch_simulations.testbed.deployment.registry import portable_reference
from blindmatch_simulations.testbed.deployment.transparency import read_log
from blindmatch_simulations.testbed.scenario.operations import ScenarioError
from blindmatch_simulations.testbed.scenario.threads import threaded_servers


class Servers(Redacted, Struct):
    """A deployment and those of its servers that run.

    Attributes:
        reference: what its design is called: a name or path.py:NAME.
        servers: those that run as processes, by party.
        running: whose servers were started, in their order.
    """

    deployment: Deployment
    reference: str
    design: AnyDesign
    servers: dict[Party, ServerProcess] = field(default_factory=dict)
    running: tuple[Party, ...] = ()
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def parties(self) -> tuple[Party, ...]:
        """Whose servers this design has."""
        return parties_of(self.design)

    @property
    def log_parties(self) -> tuple[Party, ...]:
        """The log and its witnesses; nobody without a log."""
        log = read_log(self.deployment)
        return log.parties if log else ()

    def start(
        self, parties: Sequence[Party] | None = None, threads: bool = False, reference: str | None = None
    ) -> None:
        """Start servers, by default all of the design's that do not run.

        Args:
            parties: whose; by default the log's, too, if there is one.
            threads: in a thread of this process; else each is a process of its own.
            reference: of what processes serve, if not this design.

        Raises:
            DeploymentError: if the design is not published, or one runs already.
            ProcessError: if one does not come up.
        """
        every = (*self.log_parties, *self.parties)
        chosen = tuple(parties or [one for one in every if one not in self.running])
        if threads:
            self._stack.enter_context(threaded_servers(self.deployment, self.design, chosen))
        else:
            options = ("--design", portable_reference(reference or self.reference))
            started = self._stack.enter_context(running_servers(self.deployment, chosen, options))
            self.servers |= {server.party: server for server in started}
        self.running += chosen

    def stop(self) -> None:
        """Stop all servers that run; their state stays."""
        self.servers.clear()
        self.running = ()
        self._stack.close()

    def kill(self, party: Party) -> None:
        """End a server's process as a power failure does (SIGKILL).

        Raises:
            ScenarioError: if it does not run as a process.
        """
        if party not in self.servers:
            raise ScenarioError(f"the {party.server} does not run as a process")
        process = self.servers.pop(party).process
        self.running = tuple(one for one in self.running if one != party)
        process.kill()
        process.wait()

    def check_alive(self) -> None:
        """Raises `ProcessError` if a server's process has ended by itself."""
        check_alive(list(self.servers.values()))

    def counted(self) -> dict[Party, list[pb.Counter]]:
        """What every server counted: calls and bytes by method and account.

        Raises:
            OperatorError: if one cannot be asked.
        """
        return {party: counters(self.deployment, party) for party in self.parties}
