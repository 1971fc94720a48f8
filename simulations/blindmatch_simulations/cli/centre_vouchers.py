"""`blindmatch centre vouchers`: what is held of them, what a subject is told of that, and erasing it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import typer
from blindmatch_protocol.account_name import is_account
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from rich.table import Table

from blindmatch_simulations.cli.centre_decisions import DAY_MS, plain
from blindmatch_simulations.cli.commands import Commands, Found, found
from blindmatch_simulations.cli.console import day, moment, table
from blindmatch_simulations.testbed.deployment.devices import now_ms
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.operators import ask_centre

vouchers_app = Commands(
    help="Vouchers: what is held, what a subject is told of it, erasing it.", no_args_is_help=True
)
LONGEST: Final = 10_000
AccountArgument = Annotated[str, typer.Argument(help="An account, e.g. alice.")]
NOT_TOLD: Final = (
    "which pictures matched, or how many, before or after anything opened: whoever is told that could send "
    "pictures, ask again, and so learn what is listed"
)


@vouchers_app.command("list")
def list_vouchers(deployment: Deployment) -> Found:
    """List what is held by account and period: how many vouchers, how many hidden, visible and opened.

    Lines below say whose last attempt to open them was given up, and why.
    """
    held = _held(deployment)
    return Found(
        [_pile(one) for one in held.piles], (_table(held), *_problems(held), f"held for {held.days} days")
    )


@vouchers_app.command("show")
def show_vouchers(deployment: Deployment, account: AccountArgument) -> Found:
    """Show what is held of one account, of each hidden voucher a digest alone, and what was erased."""
    held = _held(deployment, account)
    result = {
        "account": account,
        "days": held.days,
        "periods": [_pile(one) for one in held.piles],
        "erasures": list(map(plain, held.erasures)),
    }
    lines = [f"{moment(one.at_ms)} {one.actor}: {one.erased} erased: {one.reason}" for one in held.erasures]
    return Found(result, (_table(held), *_problems(held), *lines))


@vouchers_app.command("answer")
def answer(deployment: Deployment, account: AccountArgument) -> Found:
    """What the holder of an account is told who asks: that, since when and how long vouchers are held.

    Whether any picture matched is not told. It is the same answer for whoever sent as many pictures then.
    """
    result = told(account, _held(deployment, account))
    periods = [
        f"{one['design']}: {one['held']} since {day(one['first_at_ms'])}, "
        f"erased from {day(one['erased_from_ms'])} on"
        for one in result["periods"]
    ]
    erased = [f"{day(one['at_ms'])}: {one['erased']}" for one in result["erasures"]]
    shown = result | {"periods": "\n".join(periods) or "none", "erasures": "\n".join(erased) or "none"}
    return found(f"answer to {account}", result, shown)


def told(account: str, held: pb.VouchersHeld) -> dict[str, Any]:
    """The answer to a subject: a function of how many vouchers it handed in, when, and what was erased."""
    return {
        "account": account,
        "days": held.days,
        "periods": [
            {
                "design": one.design,
                "held": one.held,
                "first_at_ms": one.first_at_ms,
                "erased_from_ms": one.first_at_ms + held.days * DAY_MS,
            }
            for one in held.piles
        ],
        "erasures": [
            {"at_ms": one.at_ms, "erased": one.erased} for one in held.erasures if one.account == account
        ],
        "not_told": NOT_TOLD,
    }


@vouchers_app.command("erase")
def erase(
    deployment: Deployment,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the centre's log of erasures.")],
    account: Annotated[str, typer.Option(help="Of this account alone.")] = "",
    period: Annotated[str, typer.Option(help="Of this period alone: hex, as list prints it.")] = "",
    days: Annotated[
        int, typer.Option(min=0, max=LONGEST, help="Held longer than this alone; 0: however long.")
    ] = 0,
) -> Found:
    """Erase vouchers, hidden and visible, with what was opened of them; at least one bound must be given."""
    if not re.fullmatch("([0-9a-f]{2})*", period):
        raise typer.BadParameter("--period: must be hex digits, as list prints them")
    if account:
        _check(account)
    before = now_ms() - days * DAY_MS if days else 0
    request = pb.EraseVouchersRequest(
        account=account, period=bytes.fromhex(period), before_ms=before, reason=reason
    )
    erased = ask_centre(deployment, "EraseVouchers", request, pb.VoucherErasure)
    nothing = "" if erased.erased else ": nothing of that is held (blindmatch centre vouchers list)"
    return Found(plain(erased), (f"{erased.erased:,} vouchers erased{nothing}",))


def _check(account: str) -> None:
    if not is_account(account):
        raise ProtocolError("centre/vouchers", "account: must be 1 to 32 of a-z 0-9 _ -", "account")


def _held(deployment: Deployment, account: str | None = None) -> pb.VouchersHeld:
    if account is not None:
        _check(account)
    return ask_centre(deployment, "ReadVouchers", pb.VouchersRequest(account=account or ""), pb.VouchersHeld)


def _pile(one: pb.VoucherPile) -> dict[str, Any]:
    return plain(one) | {"hidden": one.held - one.visible}


def _problems(held: pb.VouchersHeld) -> list[str]:
    return [f"{one.account}, not opened: {one.problem}" for one in held.piles if one.problem]


def _table(held: pb.VouchersHeld) -> Table:
    columns = ("account", "design", "period", "held", "hidden", "visible", "opened")
    rows = [tuple(_pile(one)[name] for name in columns) for one in held.piles]
    return table("vouchers at the centre", columns, rows, whole=("period",))
