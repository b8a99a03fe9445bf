"""TLC finds in every fast model what its entry says, and notices every fast mutant."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from node.audit.manifest import models, mutants
from node.audit.models import JOBS, LONG, Report, check_model, check_mutant
from node.audit.tlc import Limits, Verdict, run_tlc, specification

FAST_MODELS = [name for name, model in models().items() if model.fast]
FAST_MUTANTS = [name for name, mutant in mutants().items() if mutant.fast]
LONG_MUTANTS = [name for name, mutant in mutants().items() if not mutant.fast]
ROOTS = ["TraceStarling", "SecureAggregation", *sorted({model.module for model in models().values()})]


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(JOBS) as executor:
        yield executor
        executor.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def started(pool: ThreadPoolExecutor, request: pytest.FixtureRequest) -> dict[str, Future[Report]]:
    """Every chosen model and mutant, two at a time while the tests wait for the first."""
    chosen = {
        item.callspec.params["name"]
        for item in request.session.items
        if hasattr(item, "callspec") and item.path == request.path and "name" in item.callspec.params
    }
    reports = {name: pool.submit(check_model, model) for name, model in models().items() if name in chosen}
    return reports | {
        name: pool.submit(check_mutant, mutant) for name, mutant in mutants().items() if name in chosen
    }


def expect(report: Report) -> None:
    assert report.ok, f"{report.why}\n{report.outcome.tail()}"


@pytest.mark.parametrize("name", FAST_MODELS)
def test_model_finds_what_its_entry_says(name: str, started: dict[str, Future[Report]]) -> None:
    expect(started[name].result())


@pytest.mark.parametrize("name", FAST_MUTANTS)
def test_mutant_is_noticed(name: str, started: dict[str, Future[Report]]) -> None:
    expect(started[name].result())


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG_MUTANTS)
def test_slow_mutant_is_noticed(name: str, started: dict[str, Future[Report]]) -> None:
    expect(started[name].result())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["round-burns", "round-three-crash", "round-two-crash"])
def test_long_model_finds_what_its_entry_says(name: str) -> None:
    expect(check_model(models()[name], LONG))


def test_every_module_is_reached_by_a_model() -> None:
    texts = specification()
    reached: set[str] = set()
    waiting = list(ROOTS)
    while waiting:
        module = waiting.pop()
        if module in reached or f"{module}.tla" not in texts:
            continue
        reached.add(module)
        text = texts[f"{module}.tla"]
        waiting += [
            word.strip(",")
            for line in text.splitlines()
            if line.startswith("EXTENDS")
            for word in line.split()
        ]
        waiting += [
            line.split("INSTANCE")[1].split()[0] for line in text.splitlines() if "== INSTANCE" in line
        ]
    assert {f"{module}.tla" for module in reached} == set(texts)


def test_every_property_of_every_model_has_a_mutant() -> None:
    broken = {mutant.breaks for mutant in mutants().values()}
    checked = {
        name
        for model in models().values()
        if not model.violates
        for name in (*model.invariants, *model.properties)
    }
    typing = {"KeyTypeOK", "LifeTypeOK", "DeliveryTypeOK", "BucketsTypeOK"}
    implied = {"InItsOrder", "OrderStays", "RefinesLedger"}  # by what a mutant of `delivery` breaks first
    assert checked - broken <= typing | implied


def test_mutants_apply_to_the_text_as_it_is() -> None:
    for mutant in mutants().values():
        assert mutant.apply(specification())
        assert mutant.model in models()


@pytest.mark.parametrize(
    ("constant", "value", "assumption"), [("T", 1, "threshold"), ("Quorum", 2, "quorum")]
)
def test_unsafe_thresholds_are_refused(constant: str, value: int, assumption: str) -> None:
    model = models()["round-byzantine"]
    config = model.config().replace(f"{constant} = {model.constants[constant]}", f"{constant} = {value}")
    assert run_tlc(model.module, config, limits=Limits(seconds=120, short=True)).verdict is Verdict.ASSUMPTION


def test_a_broken_specification_is_not_a_violation() -> None:
    text = specification()["Round.tla"].replace("Train(m) ==", "Train(m) == /\\ nonsense")
    model = models()["round"]
    outcome = run_tlc(
        model.module, model.config(), sources={"Round.tla": text}, limits=Limits(seconds=120, short=True)
    )
    assert outcome.verdict is Verdict.BROKEN


def test_time_limit_ends_a_run() -> None:
    model = models()["round-burns"]
    assert run_tlc(model.module, model.config(), limits=Limits(seconds=3)).verdict is Verdict.TIMED_OUT
