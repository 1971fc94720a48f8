"""Figures of what a design costs: work, memory and traffic; one decorated function each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import Final

from blindmatch_protocol.contract import Learner, Party
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess.judging import NOTHING, Case, figure, matches_nothing
from blindmatch_simulations.evaluation.assess.observed import AloneRow, Lengths
from blindmatch_simulations.measure.growth import through
from blindmatch_simulations.measure.intervals import mean, number, timing
from blindmatch_simulations.measure.results import Figure

NO_ROLES: Final = f"{NOTHING}: it asks nobody"
HELD_BEFORE: Final = "it grew by less than the records kept: the process had had the memory before"

VOUCHERS: Final = f"{NOTHING}: the device makes no report: a voucher leaves with every picture (query, up)"
ALONE: Final = "alone"
SENT: Final = "sent"
BUILT: Final = "built"
UPDATED: Final = "updated"
"""Parts of a run around which the yardstick is read."""

cost = partial(figure, "feasibility")


def asks_nobody(case: Case) -> str:
    """Where no party answers."""
    return "" if case.seen.design.roles else NO_ROLES


def has_no_list(case: Case) -> str:
    """Where no set is built."""
    fetched = f"{NOTHING}: there is no list; what a device fetches is the harness's own manifest"
    return fetched if matches_nothing(case) else ""


def reads_messages(case: Case) -> str:
    """Where there is nothing to skip, since messages are not encrypted from end to end."""
    end_to_end = case.seen.design.end_to_end
    return "" if end_to_end else f"{NOTHING}: the provider reads the messages themselves"


@cost("Device CPU, picture and protocol", "ms/picture", "alone", "device CPU ms", timed=ALONE)
def phone_cpu_ms(case: Case) -> Figure:
    """Mean CPU time of the device for a picture, in one process: decoding and hashing, as far as the design
    asks for them, and the design's own steps. 0 where the provider reads the messages and matches by itself.
    """
    if not case.seen.design.end_to_end:
        return Figure(0.0, "the provider matches what it reads: the device does nothing for it")
    spent = [
        row.picture_cpu_ms + row.device_cpu_ms for row in case.seen.alone if row.picture_cpu_ms is not None
    ]
    if len(spent) < len(case.seen.alone):
        return Figure(None, "the rows are of before decoding and hashing were noted")
    return timing(spent, middle=False)


@cost("Device CPU, protocol alone", "ms/picture", "alone", timed=ALONE)
def device_cpu_ms(case: Case) -> Figure:
    """Mean CPU time of the design's own steps on the device, in one process, without decoding and hashing;
    a part of the figure above.
    """
    return timing([row.device_cpu_ms for row in case.seen.alone], middle=False)


@cost("Send, end to end", "ms/picture", "pictures", timed=SENT)
def send_ms(case: Case) -> Figure:
    """Median wall time from handing a picture over until it is sent: matching, messenger, gRPC over TLS."""
    return timing([row.wall_ms for row in case.seen.pictures])


@cost("Device memory", "MiB", "pictures")
def device_peak_mib(case: Case) -> Figure:
    """How far the device's process grew at the most while pictures were sent, less the records kept."""
    mib = case.seen.peak_mib
    # a fall beside the records says nothing of what the design takes
    return number(None, HELD_BEFORE) if mib is not None and mib < 0 else number(mib)


@cost("Query, up", "bytes/picture", "pictures", "query bytes", [reads_messages])
def query_up_bytes(case: Case) -> Figure:
    """Mean matching requests for a picture, all roles together, and the voucher that leaves with it, where a
    design has vouchers.
    """
    return timing([row.up_bytes + row.voucher_bytes for row in case.seen.pictures], middle=False)


@cost("Query, down", "bytes/picture", "pictures", blank=[reads_messages])
def query_down_bytes(case: Case) -> Figure:
    """Mean matching replies for a picture, all roles together."""
    return timing([row.down_bytes for row in case.seen.pictures], middle=False)


@cost("Report", "bytes/match", "pictures")
def report_bytes(case: Case) -> Figure:
    """Mean requests to the centre for a picture that the device reported."""
    reported = [row.report_bytes for row in case.seen.pictures if row.report_bytes]
    if reported:
        return timing(reported, middle=False)
    if list(case.seen.design.learns) == [str(Learner.SERVER)]:
        return Figure(0.0, "the server reports by itself; the device sends nothing for a report")
    if any(row.voucher_bytes for row in case.seen.pictures):
        return Figure(None, VOUCHERS)
    return Figure(None, matches_nothing(case) or "no device made a report")


@cost("Set-up", "bytes/device", column="set-up bytes", blank=[has_no_list])
def setup_bytes(case: Case) -> Figure:
    """What every device fetches once for this list, and a model where the design needs one."""
    setup = case.seen.build.setup_bytes
    model = case.seen.model_bytes
    found = number(setup + model)
    return replace(found, why=f"a model of {model:,} bytes, and a set-up of {setup:,}") if model else found


@cost("Server CPU", "ms/query", "alone", blank=[asks_nobody], timed=ALONE)
def matcher_cpu_ms(case: Case) -> Figure:
    """Mean CPU time of the roles' answers to one picture, in one process, one thread."""
    return timing([row.role_cpu_ms for row in case.seen.alone], middle=False)


@cost("Server CPU, deployed", "ms/picture", blank=[asks_nobody], timed=SENT)
def server_cpu_ms(case: Case) -> Figure:
    """CPU of the processes that play the design's roles, and of their workers, while the pictures were sent,
    a picture; to the clock tick.
    """
    playing = {Party(party).server for party in case.seen.design.roles.values()}
    spent = [one.cpu_s for one in case.seen.servers if one.party in playing]
    known = [value for value in spent if value is not None]
    if len(known) < len(spent):
        return Figure(None, "the system does not tell")
    sent = len(case.seen.pictures)
    return number(1000 * sum(known) / max(1, sent), n=sent)


def one_length(case: Case) -> str:
    """Where sessions were timed over one list alone."""
    return "" if case.seen.lengths else "timed over a list of one length"


@cost("Server CPU, in u", "u/query", blank=[asks_nobody, one_length], timed=ALONE)
def server_u(case: Case) -> Figure:
    """Mean CPU of the roles' answers to one picture over the run's list, in one process, in u; interval
    over pictures, which holds for skewed times.
    """
    found = mean([_in_u(case, row.role_cpu_ms) for row in _lengths(case).own])
    return replace(found, low=found.low and max(0.0, found.low))


@cost("Server CPU, growth", "u/1,000 entries", blank=[asks_nobody, one_length], timed=ALONE)
def server_growth_u(case: Case) -> Figure:
    """Slope of the line of that CPU through the run's list and one of a second length: differences over the
    same pictures, their interval likewise. Between both lengths the line is a model, and beyond the longer
    one nothing is known; where the second list is the shorter one the upper end is at least growth in
    proportion, since a step further up is not seen.
    """
    return _slope(case, lambda row: _in_u(case, row.role_cpu_ms))


@cost("Server CPU, one more at once", "u/query", blank=[asks_nobody, one_length], timed=ALONE)
def server_more_u(case: Case) -> Figure:
    """Slope of the line of the answers' CPU through one request and several at once: what one more takes, in
    one process.
    """
    seen = _lengths(case)
    if not seen.together:
        return Figure(None, "too dear here, or too few pictures, for several at once")
    n = seen.requests
    found = mean([_in_u(case, (at_once - apart / n) / (n - 1)) for apart, at_once in seen.together])
    alone = sum(_in_u(case, apart) for apart, _ in seen.together) / len(seen.together) / n
    words = f"through 1 and {n} at once; one alone takes {alone:.3g} u"
    return replace(found, why="; ".join(filter(None, (words, found.why))))


@cost("Device CPU, growth", "u/1,000 entries", blank=[has_no_list, one_length], timed=ALONE)
def device_growth_u(case: Case) -> Figure:
    """The same slope of the device's own steps."""
    return _slope(case, lambda row: _in_u(case, row.device_cpu_ms))


@cost("Query, growth", "bytes/1,000 entries", blank=[asks_nobody, one_length])
def query_growth_bytes(case: Case) -> Figure:
    """The same slope of a picture's requests and replies together, without envelopes."""
    return _slope(case, lambda row: row.bytes)


@cost("Set-up, growth", "bytes/1,000 entries", blank=[has_no_list, one_length])
def setup_growth_bytes(case: Case) -> Figure:
    """The same slope of what a device fetches once, exact at both lengths."""
    here, other = _lengths(case).setup_bytes
    thousands = (_lengths(case).entries - case.seen.entries) / 1000
    return Figure((other - here) / thousands + 0.0, _through(case, here != other), n=1)


def _lengths(case: Case) -> Lengths:
    assert case.seen.lengths is not None
    return case.seen.lengths


def _in_u(case: Case, ms: float) -> float:
    return 1000 * ms / _lengths(case).u_us


def _apart(case: Case) -> float:
    """Return by how many thousand entries the two lists differ, in whole steps where a step is declared."""
    step = _lengths(case).step
    own, other = (-(-entries // step) * step for entries in (case.seen.entries, _lengths(case).entries))
    return (other - own) / 1000


def _slope(case: Case, of: Callable[[AloneRow], float]) -> Figure:
    seen = _lengths(case)
    pairs = zip(seen.own, seen.other, strict=True)
    found = mean([(of(other) - of(own)) / _apart(case) for own, other in pairs])
    high = found.high
    grows = (found.low or 0) > 0
    if high is not None and _apart(case) < 0:
        high = max(high, 1000 * fmean(map(of, seen.own)) / case.seen.entries)
    return replace(found, high=high, why="; ".join(filter(None, (_through(case, grows), found.why))))


def _through(case: Case, grows: bool) -> str:
    step = _lengths(case).step
    linear = f"; the design declares that work is linear, in steps of {step:,} entries" if step > 1 else ""
    return through(case.seen.entries, _lengths(case).entries, grows) + linear


@cost("Set build", "s", blank=[has_no_list], timed=BUILT)
def build_s(case: Case) -> Figure:
    """Wall time of building and publishing the whole set."""
    return Figure(case.seen.build.seconds, _in_parts(case), n=1)


@cost("Set build, CPU", "s", blank=[has_no_list], timed=BUILT)
def build_cpu_s(case: Case) -> Figure:
    """CPU time of building and publishing the whole set."""
    return Figure(case.seen.build.cpu_s, _in_parts(case), n=1)


def _in_parts(case: Case) -> str:
    parts = case.seen.build_parts
    return f"built in {parts} parts: interrupted and taken up again" if parts > 1 else ""


@cost("Update", "s", blank=[has_no_list], timed=UPDATED)
def update_s(case: Case) -> Figure:
    """Wall time of publishing the plan's additions and removals, as a change of the set or, where the design
    cannot do that, as a whole one.
    """
    update = case.seen.update
    return Figure(update.built.seconds if update.built else None, update.why, n=1)


@cost("Update, fetched", "bytes/device", blank=[has_no_list])
def update_bytes(case: Case) -> Figure:
    """What a device fetches for that update."""
    update = case.seen.update
    return Figure(float(update.fetched_bytes) if update.built else None, update.why)
