"""A list that organisations submitted, proposed and endorsed, all by the commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from blindmatch_simulations.evaluation.attacks.loopback import drawn

from support.command import in_process


def endorse_list(
    tmp_path: Path, names: Sequence[str], pictures: Iterable[int], design: str
) -> Callable[..., str]:
    """Have each organisation submit and endorse the same generated pictures as the list `known`.

    Args:
        names: of the organisations, of which two must endorse.
        pictures: numbers of the pictures.
        design: the name of a design, or its file.

    Returns:
        What runs a command of this deployment that must end well, and returns its output.
    """
    home = tmp_path / "home"

    def run(*arguments: object) -> str:
        done = in_process(home, *arguments)
        assert done.code == 0, done.err
        return done.out

    run("certs", "init")
    run("list", "policy", 2, *names)
    files = {f"{number}.png": drawn(number) for number in pictures}
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        for file_name, data in files.items():
            (folder / file_name).write_bytes(data)
        run("list", "submit", name, folder, "known")
    run("list", "propose", "known", "--design", design)
    for name in names:
        run("list", "endorse", name, "known", "--design", design)
    return run
