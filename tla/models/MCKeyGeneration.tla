-------------------------- MODULE MCKeyGeneration ---------------------------
(***************************************************************************)
(* Key generation alone: everyone joined, no rounds.                       *)
(***************************************************************************)
EXTENDS KeyGeneration, Views, TLC

vars == <<cohortVars, ledgerVars, keyVars>>

Init == CohortInit /\ LedgerInit /\ KeyInit

Reads(m)    == up[m] /\ Observe(m) /\ UNCHANGED <<cohortVars, keyVars>>
Includes(m) == Include(m) /\ UNCHANGED <<cohortVars, keyVars>>
Fails(m)    == (CohortCrash(m) \/ CohortVanish(m)) /\ UNCHANGED <<ledgerVars, keyVars>>
Returns(m)  == CohortRestart(m) /\ UNCHANGED <<ledgerVars, keyVars>>

Next == \/ \E m \in Honest : KeySteps(m) \/ Reads(m) \/ Includes(m) \/ Fails(m) \/ Returns(m)
        \/ \E b \in Byzantine : ByzantineKeySend(b)
Spec == Init /\ [][Next]_vars

\* As in MCRound.
FairSpec == Spec /\ \A m \in Honest :
  WF_vars(KeySteps(m) \/ Reads(m) \/ Returns(m) \/ (up[m] /\ Includes(m)))

Symmetric == Permutations(Honest)

NeverKeyed   == \A m \in Honest : keyed[m] = None
NeverAborted == TheHistory.phase # "aborted"
NeverSecond  == TheHistory.key # None => TheHistory.key.attempt = 1
=============================================================================
