"""The models of the specification and its mutants, read from `tla/models/*.toml`."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

CONSTANTS = {
    "T": 2,
    "Quorum": 2,
    "Rounds": 1,
    "RoundLimit": 1,
    "KeyAttempts": 1,
    "MaxBurned": 2,
    "MaxOpenings": 1,
    "MaxCrashes": 0,
    "MaxVanished": 0,
}
"""Constants of the specification and their values where a model does not say."""

FAIR = {"FairSpec", "PromptSpec"}
"""Specifications that promise progress."""


@dataclass(frozen=True)
class Simulation:
    """Random behaviours instead of a complete search."""

    behaviours: int
    depth: int
    seed: int


@dataclass(frozen=True)
class Model:
    """What TLC checks, within which bounds, and what it must find."""

    name: str
    about: str
    module: str
    spec: str
    members: int
    constants: Mapping[str, int | str]
    overrides: Mapping[str, str]
    invariants: tuple[str, ...]
    properties: tuple[str, ...]
    symmetric: bool
    violates: str | None
    states: int | None
    depth: int | None
    simulate: Simulation | None
    fast: bool

    @property
    def measured(self) -> bool:
        """Whether it was run to its end, and what TLC must find is known."""
        return self.states is not None or self.violates is not None

    def config(self, *, only: str | None = None) -> str:
        """The model as a configuration of TLC; with `only`, that property instead of its own."""
        invariants, properties = self.invariants, self.properties
        if only is not None:
            action = only in self.properties or only in _temporal()
            invariants, properties = ((), (only,)) if action else ((only,), ())
        names = [f"m{index}" for index in range(1, self.members + 1)]
        lines = [
            f"SPECIFICATION {self.spec}",
            "CONSTANTS",
            *(f"{name} = {name}" for name in names),
            *(f"{name} = {value}" for name, value in self.constants.items()),
            *(f"{name} <- {other}" for name, other in self.overrides.items()),
        ]
        if self.symmetric:
            lines.append("SYMMETRY Symmetric")
        lines += [f"INVARIANT {name}" for name in invariants]
        lines += [f"PROPERTY {name}" for name in properties]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Mutant:
    """A change of the specification's text, and the property that must notice it."""

    name: str
    about: str
    edits: tuple[tuple[str, str, str], ...]  # file, old, new
    model: str
    breaks: str
    constants: Mapping[str, int]
    counterexample: int | None
    fast: bool

    @property
    def measured(self) -> bool:
        """Whether it was run, and the shortest counterexample is known."""
        return self.counterexample is not None

    def apply(self, sources: Mapping[str, str]) -> dict[str, str]:
        """The changed files; ValueError unless each old text occurs exactly once."""
        changed: dict[str, str] = {}
        for file, old, new in self.edits:
            text = changed.get(file, sources[file])
            if text.count(old) != 1:
                raise ValueError(f"mutant {self.name}: {old!r} occurs {text.count(old)} times in {file}")
            changed[file] = text.replace(old, new)
        return changed


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files("tla").joinpath("models", name).read_text(encoding="utf-8"))


@cache
def _temporal() -> frozenset[str]:
    listed = _read("models.toml")
    models = [*listed["model"], *listed["module"].values()]
    return frozenset(name for model in models for name in model.get("properties", ()))


@cache
def models() -> Mapping[str, Model]:
    """Every model by name, in the order of the file."""
    listed = _read("models.toml")
    return {entry["name"]: _model(entry, listed) for entry in listed["model"]}


def _constants(entry: Mapping[str, Any]) -> dict[str, int | str]:
    def named(indices: Iterable[int]) -> str:
        return f"{{{', '.join(f'm{index}' for index in indices)}}}"

    return {
        "None": "None",
        "Members": named(range(1, entry["members"] + 1)),
        "Byzantine": named(entry.get("byzantine", ())),
        "Colluders": entry.get("Colluders", len(entry.get("byzantine", ()))),
        **{name: entry.get(name, value) for name, value in CONSTANTS.items()},
    }


def _model(entry: Mapping[str, Any], listed: Mapping[str, Any]) -> Model:
    module = listed["module"][entry["module"]]
    plain = module.get("plain", False)
    views = {} if plain else listed["views"]
    overrides = {**views, **module.get("override", {}), **entry.get("override", {})}
    violates = entry.get("violates")
    spec = entry.get("spec", module.get("spec", "Spec"))
    simulate = Simulation(**entry["simulate"]) if "simulate" in entry else None
    invariants: Sequence[str] = entry.get("invariants", module["invariants"])
    properties: Sequence[str] = entry.get("properties", module["properties"])
    if violates is not None:
        invariants, properties = ((), (violates,)) if violates in properties else ((violates,), ())
    return Model(
        name=entry["name"],
        about=entry.get("about", f"must violate {violates}"),
        module=entry["module"],
        spec=spec,
        members=entry["members"],
        constants=entry["values"] if plain else _constants(entry),
        overrides={name: other for name, other in overrides.items() if other},
        invariants=tuple(invariants),
        properties=tuple(properties),
        # Symmetry is unsound for liveness, and useless in random behaviours.
        symmetric=spec not in FAIR and simulate is None and module.get("symmetric", not plain),
        violates=violates,
        states=entry.get("states"),
        depth=entry.get("depth"),
        simulate=simulate,
        fast=entry.get("fast", False),
    )


@cache
def mutants() -> Mapping[str, Mutant]:
    """Every mutant by name, in the order of the file."""
    return {
        entry["name"]: Mutant(
            name=entry["name"],
            about=entry["about"],
            edits=tuple((edit["file"], edit["old"], edit["new"]) for edit in entry["edits"]),
            model=entry["model"],
            breaks=entry["breaks"],
            constants=entry.get("constants", {}),
            counterexample=entry.get("counterexample"),
            fast=entry.get("fast", False),
        )
        for entry in _read("mutants.toml")["mutant"]
    }
