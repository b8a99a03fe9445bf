------------------------------ MODULE Starling ------------------------------
(***************************************************************************)
(* The whole protocol: a job's life, its joint key and its rounds, over    *)
(* one ledger and the members' buckets.                                    *)
(***************************************************************************)
EXTENDS RoundProperties, KeyGeneration, Lifecycle

vars == <<cohortVars, ledgerVars, storageVars, roundVars, keyVars, lifeVars>>

Init == CohortInit /\ LedgerInit /\ StorageInit /\ RoundInit /\ KeyInit /\ LifeInit

\* A closed head confirms nothing more.
Live == head = "open"

LifeStep(m)  == (LifeSteps(m) \/ Operator(m)) /\ UNCHANGED <<storageVars, roundVars, keyVars>>
KeyStep(m)   == KeySteps(m) /\ UNCHANGED <<storageVars, roundVars, lifeVars>>

\* Nobody trains, or decrypts, without its share of the key.
RoundStep(m) == keyed[m] # None /\ (Check(m) \/ Advances(m) \/ Votes(m)) /\ UNCHANGED <<keyVars, lifeVars>>

Reads(m)     == RoundReads(m) /\ UNCHANGED <<keyVars, lifeVars>>
Includes(m)  == Live /\ RoundIncludes(m) /\ UNCHANGED <<keyVars, lifeVars>>
Fails(m)     == RoundFaults(m) /\ UNCHANGED <<keyVars, lifeVars>>
Returns(m)   == Restart(m) /\ UNCHANGED <<keyVars, lifeVars>>

Misbehaves(b) ==
  \/ Live /\ ByzantineSend(b) /\ UNCHANGED <<keyVars, lifeVars>>
  \/ Live /\ ByzantineKeySend(b) /\ UNCHANGED <<storageVars, roundVars, lifeVars>>
  \/ ByzantineLifeSend(b) /\ UNCHANGED <<storageVars, roundVars, keyVars>>
  \/ ByzantineClose /\ UNCHANGED <<storageVars, roundVars, keyVars>>
  \/ ByzantineWithhold(b) /\ UNCHANGED <<keyVars, lifeVars>>

Next ==
  \/ \E m \in Honest : \/ LifeStep(m) \/ KeyStep(m) \/ RoundStep(m) \/ Reads(m)
                       \/ Includes(m) \/ Fails(m) \/ Returns(m)
  \/ \E b \in Byzantine : Misbehaves(b)

Spec == Init /\ [][Next]_vars

\* Nothing leaves a machine before there is a key to encrypt it with.
KeyBeforeUse == \A m \in Honest : uploads[m] > 0 => keyed[m] # None
=============================================================================
