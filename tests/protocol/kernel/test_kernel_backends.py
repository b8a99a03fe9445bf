"""Which backend computes, what happens without the fast one, and that others may run meanwhile."""

from __future__ import annotations

import copy
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from protocol.crypto.kernel import Modulus, available, backend, using

ROOT = Path(__file__).resolve().parents[3]
M = (1 << 2048) - 1942289

WITHOUT_EXTENSION = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "protocol.crypto.kernel._ifma":
            raise ImportError("no compiler was there")

sys.meta_path.insert(0, Missing())
from protocol.crypto.kernel import BackendUnavailable, Modulus, available, backend, choose
assert available() == ("gmp",) and backend() == "gmp"
try:
    choose("ifma")
except BackendUnavailable as error:
    assert "no compiler was there" in str(error)
else:
    raise SystemExit("ifma was chosen although it is missing")
assert Modulus((1 << 89) - 1).powers([3], 5) == [243]
"""

WITHOUT_INSTRUCTIONS = """
import sys, types
old_cpu = types.ModuleType("protocol.crypto.kernel._ifma")
old_cpu.supported = lambda: False
sys.modules[old_cpu.__name__] = old_cpu
from protocol.crypto.kernel import available
assert available() == ("gmp",)
"""


@pytest.mark.parametrize(
    "script", [WITHOUT_EXTENSION, WITHOUT_INSTRUCTIONS], ids=["extension", "instructions"]
)
def test_gmp_serves_where_the_kernel_cannot_run(script):
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)


def test_the_fastest_available_backend_is_the_default():
    assert backend() == available()[0]
    assert available()[-1] == "gmp"


def test_the_kernel_runs_where_it_was_built_and_the_cpu_has_the_instructions():
    built = list((ROOT / "protocol/crypto/kernel").glob("_ifma.*.so"))
    flags = Path("/proc/cpuinfo").read_text() if platform.system() == "Linux" else ""
    if not built or "avx512ifma" not in flags:
        pytest.skip("no extension built here, or no AVX-512 IFMA")
    assert available() == ("ifma", "gmp")


@pytest.mark.parametrize("name", available())
def test_other_threads_run_while_powers_are_computed(name):
    """With a switch interval longer than the test only a thread that lets go of the GIL is overtaken."""
    ring = Modulus(M)
    started, ticks_while_computing = threading.Event(), 0
    computing = True

    def compute() -> None:
        nonlocal computing
        started.set()
        for _ in range(4):
            ring.powers([3] * 8, M >> 1, secret=True)
        computing = False

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        with using(name):
            thread = threading.Thread(target=compute)
            thread.start()
            started.wait()
            while computing:
                ticks_while_computing += 1
                thread.join(timeout=0.0001)
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert ticks_while_computing > 4


@pytest.mark.parametrize("name", available())
def test_threads_share_a_table(name):
    ring, results = Modulus(M), {}
    exponents = [(1 << 200) - 1 - i for i in range(30)]
    with using(name):
        table = ring.table(5, 200)
        threads = [
            threading.Thread(target=lambda i=i: results.update({i: table.powers(exponents)}))
            for i in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    expected = [pow(5, e, M) for e in exponents]
    assert results == dict.fromkeys(range(3), expected)


@pytest.mark.parametrize("name", available())
def test_tables_and_moduli_travel(name):
    with using(name):
        table = Modulus(M).table(5, 40)
        assert table.powers([41]) == [5**41]
        assert copy.deepcopy(table).powers([41]) == [5**41]
    assert copy.deepcopy(Modulus(M)) == Modulus(M)


def test_a_table_serves_both_backends():
    table = Modulus(M).table(7, 300)
    exponents = [0, 1, (1 << 300) - 1]
    answers = []
    for name in available():
        with using(name):
            answers.append(table.powers(exponents))
    assert answers == [[pow(7, e, M) for e in exponents]] * len(answers)
