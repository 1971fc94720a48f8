"""What is called by address is looked at when it is loaded: sizes, types, and that a library is there."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.designs.he_hamming import seal
from blindmatch_protocol.group import sodium
from blindmatch_protocol.sets import fuse_map


@pytest.mark.parametrize("name", sorted(sodium._SIZES))
def test_a_libsodium_of_another_size_is_not_loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sodium, "_SIZES", sodium._SIZES | {name: sodium._SIZES[name] + 1})
    with pytest.raises(ImportError, match=f"{name}.*{sodium._SIZES[name] - 1}") as found:
        sodium._check_sizes(sodium._LIBRARY)
    assert found.value.name == sodium.CARRIER


def test_pointers_of_another_size_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.sizeof", lambda kind: 4)
    with pytest.raises(ImportError, match="c_void_p"):
        sodium._check_sizes(sodium._LIBRARY)
    with pytest.raises(ImportError, match="types or sizes"):
        fuse_map.check_library()


def test_a_larger_structure_of_the_map_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse_map, "_OPENED_WORDS", 5)
    with pytest.raises(ImportError, match="types or sizes"):
        fuse_map.check_library()


def test_a_map_that_reads_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse_map, "key_list", lambda keys: [bytes(row)[::-1] for row in keys])
    with pytest.raises(ImportError, match="types or sizes"):
        fuse_map.check_library()


def test_a_zstd_that_reads_a_known_frame_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seal._sound()
    monkeypatch.setattr(seal, "_FRAME", seal._FRAME[:5] + b"\x05" + seal._FRAME[6:])
    assert not seal._sound()
    monkeypatch.setattr(seal, "_SIZE", None)
    assert not seal._sound()
    monkeypatch.setattr(seal, "_SOUND", False)
    with pytest.raises(DesignError, match="zstd"):
        seal._decompressed(bytes(np.zeros(4, np.uint8)))


WITHOUT = """
import sys
sys.modules["_sealapi_cpp"] = None
from blindmatch_simulations.testbed.deployment.registry import (
    RegistryError, all_designs, load_design, not_installed
)
assert "he-hamming" not in all_designs() and "oprf-psi" in all_designs()
assert "pip install tenseal" in not_installed()["he-hamming"]
try:
    load_design("he-hamming")
except RegistryError as error:
    print(error)
"""


def test_without_tenseal_every_other_design_is_there() -> None:
    said = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True).stdout
    assert said == "he-hamming: not installed (pip install tenseal)\n"
