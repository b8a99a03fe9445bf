"""Sigma protocols: commitment → challenge → response → verification, in one shape (paper, section 3.2)."""

from protocol.crypto.sigma.protocol import ProofRejected, Prover, Statement, prove, verify

__all__ = ["ProofRejected", "Prover", "Statement", "prove", "verify"]
