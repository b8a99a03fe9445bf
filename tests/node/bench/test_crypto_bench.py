"""The benchmark measures what it says: verdicts, keys made by processes, and a whole run."""

import json
import time

import pytest

from node.bench import keys, targets
from node.bench.clock import Cost, Metered, cost
from node.bench.crypto import main
from node.bench.report import Baseline, Facts, Generations, Measured, Operations, Run
from node.crypto.spread import workers
from protocol.crypto.kernel import gmp


def seconds(cpu: float) -> Cost:
    return Cost(cpu, cpu, cpu)


def operations(kernel: float, fallback: float, verify: float) -> Operations:
    """Costs per ciphertext, where phe takes a second for everything."""
    baseline = Baseline(seconds(1), seconds(1), seconds(1))
    costs = {"verify": seconds(verify), "prove range": seconds(0.0062), "verify range": seconds(verify)}
    measured = [
        Measured(name, 1, {"encrypt": seconds(cpu), "partial decrypt": seconds(cpu)} | costs)
        for name, cpu in (("ifma", kernel), ("gmp", fallback))
    ]
    measured[1].plaintext_proof, measured[1].blob = 4096, 6_001
    measured[1].range_proof = 29_000
    return Operations(Facts(2048, 3, 2, 1000, 10), baseline, baseline, baseline, measured)


def test_targets_are_judged_by_their_measured_ratios():
    verdicts = {
        t.claim: (t.measured, t.reached) for t in targets.of_operations(operations(0.01, 0.06, 0.018))
    }
    assert verdicts == {
        "encryption with the kernel, faster than phe as shipped": (pytest.approx(10_000), True),
        "encryption with the kernel, faster than phe with our packing": (pytest.approx(100), True),
        "encryption with the fallback, faster than phe as shipped": (pytest.approx(5000 / 3), True),
        "encryption with the fallback, faster than phe with our packing": (
            pytest.approx(16.7, abs=0.1),
            True,
        ),
        "partial decryption with the kernel, faster than gmpy2.powmod": (pytest.approx(100), True),
        "verification of an update's proof, of its encryption, fallback": (pytest.approx(0.3), True),
        "proof of an update": (4096, True),
        "proof of an update's ranges, fallback": (pytest.approx(62), True),
        "check of an update's ranges, fallback": (pytest.approx(180), False),
        "range proof of an update": (29, True),
        "update in the bucket": (6.001, False),
    }
    missed = [t.claim for t in targets.of_operations(operations(0.25, 0.25, 0.1)) if not t.reached]
    assert len(missed) == 8


def test_key_generation_is_judged_by_its_median():
    runs = [Run(wall, [10.0, 20.0, 30.0], 1, 1, 1) for wall in (50.0, 61.0, 90.0)]
    walls = [(t.measured, t.reached) for t in targets.of_keys([Generations(3, 2048, runs)])]
    assert walls == [(61.0, False), (30.0, True)]
    assert list(targets.of_keys([Generations(5, 2048, runs)])) == []


def work() -> int:
    begun = time.thread_time()
    while time.thread_time() - begun < 0.02:
        pass
    return 7


def test_the_cost_of_workers_is_counted_and_their_longest_path_told_apart():
    with Metered(workers(gmp, 2)) as metered:
        assert metered.submit(work).result() == 7

        def both() -> None:
            for future in [metered.submit(work) for _ in range(4)]:
                future.result()

        measured = cost(both, runs=1, workers=metered)
        with pytest.raises(ZeroDivisionError):
            metered.submit(divmod, 1, 0).result()
    assert measured.cpu >= 0.08
    assert 0.02 <= measured.path <= measured.cpu


@pytest.mark.parametrize("members", [2, 3])
def test_members_make_a_key_in_processes_of_their_own(members):
    stages: list[str] = []
    made = keys.generate(members, 384, 1, stages.append)
    (run,) = made.runs
    assert len(run.cpu) == members
    assert run.wall > 0
    assert run.sent > 0
    assert made.cpu >= max(run.cpu)
    assert any("candidates tried" in stage for stage in stages)


@pytest.mark.slow
def test_a_whole_run_prints_json(capsys):
    assert main(["--json", "--parameters", "300"]) in (0, 1)
    report = json.loads(capsys.readouterr().out)
    assert report["operations"]["facts"]["ciphertexts"] == 3
    assert {each["cores"] for each in report["operations"]["measured"]} == {1, 2}
    assert all(target["measured"] > 0 for target in report["targets"])


def test_nothing_is_measured_for_a_key_nobody_can_make(capsys):
    assert main(["--only-keys", "--keys", "100"]) == 2
    assert "256 to 1024" in capsys.readouterr().err
