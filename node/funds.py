"""Where a member's deposit comes from: outputs that its operator names, or an emulated chain."""

from __future__ import annotations

from node.config import Ledger
from node.ledger.emulator.remote import Emulator
from node.ledger.transaction import TxIn, TxOut, UTxO
from node.ledger.wallet import Wallet
from protocol.errors import OperatorFault


class Funds:
    """L1 outputs at the wallet's address, one for the next deposit at each call."""

    def __init__(self, config: Ledger, wallet: Wallet) -> None:
        self._config = config
        self._wallet = wallet

    async def __call__(self) -> UTxO:
        """The output to deposit: plain ADA, as tokens weigh. Raises `OperatorFault` where there is none."""
        outputs = await self._outputs()
        found = {at: output for at, output in outputs.items() if not output.assets}
        if not found:
            raise OperatorFault(
                "there is no output on L1 to deposit",
                remedy="send some ADA to this member's address, then name the output under [ledger] funding",
            )
        largest = max(found, key=lambda at: found[at].lovelace)
        return {largest: found[largest]}

    async def _outputs(self) -> UTxO:
        if self._config.l1:
            return await Emulator(self._config.l1).chain_utxo(self._wallet.address)
        outputs: UTxO = {}
        for text in self._config.funding:
            place, _, lovelace = text.partition(":")
            outputs[TxIn.parse(place)] = TxOut(self._wallet.address, int(lovelace))
        return outputs
