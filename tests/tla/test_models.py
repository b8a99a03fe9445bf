"""TLC finds in every fast model what its entry says, and notices every fast mutant."""

from collections.abc import Mapping

import pytest
from _pytest.mark import ParameterSet

from node.audit.manifest import Model, Mutant, models, mutants
from node.audit.models import Report, check_model, check_mutant
from node.audit.tlc import Limits, Verdict, run_tlc, specification

ROOTS = ["TraceStarling", "SecureAggregation", *sorted({model.module for model in models().values()})]
TYPING = {"KeyTypeOK", "LifeTypeOK", "DeliveryTypeOK", "BucketsTypeOK", "VouchTypeOK"}
IMPLIED = {"InItsOrder", "OrderStays", "RefinesLedger"}
"""By what a mutant of `delivery` breaks first."""


def cases(entries: Mapping[str, Model] | Mapping[str, Mutant]) -> list[ParameterSet]:
    """What was run to its end, by name: TLC must find it again."""
    return [
        pytest.param(name, marks=() if entry.fast else pytest.mark.slow)
        for name, entry in entries.items()
        if entry.fast or entry.measured
    ]


def expect(report: Report) -> None:
    assert report.ok, f"{report.why}\n{report.outcome.tail()}"


@pytest.mark.parametrize("name", cases(models()))
def test_model_finds_what_its_entry_says(name: str) -> None:
    expect(check_model(models()[name]))


@pytest.mark.parametrize("name", cases(mutants()))
def test_mutant_is_noticed(name: str) -> None:
    expect(check_mutant(mutants()[name]))


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


def test_every_property_of_every_model_has_a_fast_mutant() -> None:
    broken = {mutant.breaks for mutant in mutants().values() if mutant.fast}
    checked = {
        name
        for model in models().values()
        if not model.violates
        for name in (*model.invariants, *model.properties)
    }
    assert checked - broken <= TYPING | IMPLIED


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
