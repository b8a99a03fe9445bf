"""Plain federated averaging over folders of data, for comparison; one folder is training alone.

    python -m node.learning.course --task mnist --rounds 5 FOLDER [FOLDER …]

Prints the course as JSON. No protocol, no cryptography, one process.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from node.learning.baseline import federate, open_members
from node.learning.task import Resources
from protocol.errors import StarlingError


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--parameters", type=json.loads, default={}, help="a JSON object")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("folders", type=Path, nargs="+")
    chosen = parser.parse_args()
    try:
        resources = Resources(chosen.device, chosen.threads)
        members = open_members(chosen.task, chosen.parameters, chosen.folders, resources)
        course = federate(members, chosen.rounds, chosen.seed, lambda number, metrics: None)
    except StarlingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    print(json.dumps(asdict(course)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
