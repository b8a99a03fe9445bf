"""A member that poisons, on the path of its daemon alone: its updates have a digit beyond its clip.

The rest of its daemon is the product's. Where a range has to be proved it proves one as well as it can.
"""

import sys
from pathlib import Path

if sys.argv[:1] == ["-m"] and "node.daemon" in sys.orig_argv:
    from support.forger import forge_update, poison_update

    from node.crypto import desk, service
    from protocol.aggregation import Aggregation
    from protocol.keyring import StoredShare
    from protocol.manifest import Manifest

    honest = service.CryptoWorker.ask

    async def ask(self, request):
        if request["do"] != "contribute":
            return await honest(self, request)
        key = StoredShare.from_bytes(self._secret).key.key()
        aggregation = Aggregation(Manifest.from_bytes(self._opening["manifest"]), key)
        me, number = self._opening["me"], request["round"]
        if request["ranged"]:
            shape = aggregation.ranged_codec.shape(me)
            digits = [[1 << shape.width, *[0] * (shape.slots - 1)], *[[0] * shape.slots] * (shape.count - 1)]
            data, blob = forge_update(aggregation, me, digits, number=number)
        else:
            packing = aggregation.codec.packing
            leftover = 1 << packing.slots * packing.width  # which no honest digits can make good again
            data, blob = poison_update(aggregation, me, [leftover] * aggregation.codec.plaintexts, number)
        Path(request["out"]).write_bytes(data)
        return desk._blob_to(blob)

    service.CryptoWorker.ask = ask
