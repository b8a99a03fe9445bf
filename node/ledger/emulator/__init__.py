"""An emulated Hydra head: real API, real ledger rules and signatures, one process, a simulated L1."""
