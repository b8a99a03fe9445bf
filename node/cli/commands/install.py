"""`starling install`, `starling uninstall`: the node as a service of the system."""

from __future__ import annotations

import socket
from pathlib import Path

from node.cli.invocation import Invocation
from node.cli.parser import Commands

MACHINE = Path("/")


def register(commands: Commands) -> None:
    parser = commands.add(
        "install",
        install,
        "make this node a service of the system",
        "Puts units, the user `starling`, directories, a first configuration (/etc/starling/node.toml)\n"
        "and keys in place; what is there is brought up to date, configuration and keys are kept.\n"
        "Starts nothing.\n"
        "The service runs from the environment of this command, or from a new one at --prefix.",
        examples=(
            "sudo starling install --prefix /opt/starling --name clinic-a",
            "sudo starling install --prefix /opt/starling --name clinic-a --gpu",
            "starling install --root /tmp/tree --prefix /opt/starling --name clinic-a",
        ),
    )
    parser.add_argument(
        "--name", default=socket.gethostname(), help="the member's name (default: the host's)"
    )
    parser.add_argument(
        "--prefix", type=Path, metavar="DIR", help="make an environment here, for the service"
    )
    parser.add_argument(
        "--source",
        metavar="WHAT",
        help="checkout, wheel or requirement for --prefix (default: this checkout)",
    )
    parser.add_argument(
        "--extras",
        default="learning,storj,s3",
        help="optional parts to install with it (default: learning,storj,s3)",
    )
    parser.add_argument("--gpu", action="store_true", help="let the service use an NVIDIA GPU")
    parser.add_argument(
        "--root",
        type=Path,
        default=MACHINE,
        metavar="DIR",
        help="stage the files in this folder instead of /",
    )
    gone = commands.add(
        "uninstall",
        uninstall,
        "stop the service and remove what `install` put in place",
        "Configuration, keys, logs and state stay, unless --purge; the user `starling` stays.",
        examples=("sudo starling uninstall",),
    )
    gone.add_argument(
        "--purge", action="store_true", help="remove configuration, keys, key shares and state too, for good"
    )
    gone.add_argument(
        "--root", type=Path, default=MACHINE, metavar="DIR", help="where it was staged, instead of /"
    )


def install(call: Invocation) -> None:
    from node.service.install import Wish
    from node.service.install import install as carry_out
    from node.service.layout import CONFIG, UNIT

    asked = call.arguments
    wish = Wish(asked.name, asked.root.absolute(), asked.prefix, asked.source, asked.extras, asked.gpu)
    done = carry_out(wish)
    told = {
        "prefix": str(done.prefix),
        "config": str(CONFIG),
        "files": [str(place) for place in done.files],
        "root": str(wish.root),
    }

    def tell() -> None:
        call.out.pairs([("environment", str(done.prefix))] + [("placed", str(place)) for place in done.files])
        print(f"\nLook at {CONFIG}, then check and start it:")
        print("  sudo -u starling starling config check")
        print(f"  sudo systemctl enable --now {UNIT.removesuffix('.service')}")

    call.out.show(told, tell)


def uninstall(call: Invocation) -> None:
    from node.service.layout import SETTINGS, STATE
    from node.service.uninstall import uninstall as carry_out

    removed = carry_out(call.arguments.root.absolute(), purge=call.arguments.purge)

    def tell() -> None:
        call.out.pairs([("removed", str(place)) for place in removed])
        if not call.arguments.purge:
            print(f"\nConfiguration, keys and state are still in {SETTINGS} and {STATE}.")

    call.out.show({"removed": [str(place) for place in removed]}, tell)
