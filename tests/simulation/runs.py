"""One seed's run and what is to be said of it."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from simulation.checks import Broken
from simulation.lines import Lines
from simulation.scenario import Wishes, draw
from simulation.world import World


@dataclass(frozen=True)
class Report:
    """What came of a seed; `broken` names the invariant that does not hold, '' if all do."""

    seed: int
    wishes: Wishes
    broken: str = ""
    how: str = ""
    phase: str = ""
    opened: int = 0
    burned: int = 0
    slots: int = 0
    seconds: float = 0.0
    covered: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        if not self.broken:
            return (
                f"seed {self.seed}: {self.phase}, {self.opened} rounds opened and {self.burned} burned, "
                f"{self.slots} slots, {self.seconds:.0f} simulated seconds"
            )
        return f"seed {self.seed}: {self.broken}: {self.how}\n    {self.replay}"

    @property
    def replay(self) -> str:
        """The command that shows it again."""
        options = f"--seed {self.seed} --trace {self.wishes.arguments()}".rstrip()
        return f"PYTHONPATH=tests python -m simulation {options}"


def run(
    seed: int,
    wishes: Wishes | None = None,
    trace: Callable[[str], None] | None = None,
    lines: str | None = None,
) -> Report:
    """Run a seed; with `lines`, write each member's event lines into a folder of that folder."""
    wishes = wishes or Wishes()
    scenario = draw(seed, wishes)
    written = Lines(scenario) if lines else None
    world = World(scenario, trace, written.add if written else None)
    try:
        outcome = world.run()
    except Broken as broken:
        return Report(seed, wishes, broken.invariant, str(broken))
    except Exception:  # a bug of the core or the simulator fails its seed and no other
        return Report(seed, wishes, "Crash", traceback.format_exc())
    finally:
        if written and lines:
            written.write(Path(lines) / f"seed-{seed}")
    return Report(
        seed,
        wishes,
        phase=outcome.phase,
        opened=outcome.opened,
        burned=outcome.burned,
        slots=outcome.slots,
        seconds=outcome.seconds,
        covered=outcome.covered,
    )
