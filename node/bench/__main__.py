"""python -m node.bench crypto [OPTIONS]"""

from __future__ import annotations

import sys

from node.bench.crypto import main as crypto

BENCHES = {"crypto": crypto}


def main(arguments: list[str]) -> int:
    """Run the benchmark that the first argument names, with the others."""
    if not arguments or arguments[0] not in BENCHES:
        print(f"usage: python -m node.bench {{{','.join(BENCHES)}}} [OPTIONS]", file=sys.stderr)
        return 2
    return BENCHES[arguments[0]](arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
