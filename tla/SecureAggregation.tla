------------------------- MODULE SecureAggregation --------------------------
(***************************************************************************)
(* The ideal functionality that Round refines: a trusted party that        *)
(* collects one input per member and round, locks a quorum of them once,   *)
(* and hands out nothing but the sum of what it locked.                    *)
(***************************************************************************)
EXTENDS Naturals, FiniteSets

CONSTANTS Members, Honest, Quorum, Numbers, Inputs, None

VARIABLES
  offered,   \* [Numbers -> [Members -> input or None]]  while the round collects
  locked,    \* [Numbers -> set of inputs, or None]
  output     \* [Honest -> [Numbers -> the sum it was given, or None]]

idealVars == <<offered, locked, output>>

Nothing == [m \in Members |-> None]

IdealInit ==
  /\ offered = [r \in Numbers |-> Nothing]
  /\ locked = [r \in Numbers |-> None]
  /\ output = [m \in Honest |-> [r \in Numbers |-> None]]

Contribute(r, m, input) ==
  /\ locked[r] = None /\ offered[r][m] = None
  /\ offered' = [offered EXCEPT ![r][m] = input]
  /\ UNCHANGED <<locked, output>>

\* What proves to be no input is forgotten.
Exclude(r, set) ==
  /\ locked[r] = None
  /\ offered' = [offered EXCEPT ![r] = [m \in Members |-> IF m \in set THEN None ELSE @[m]]]
  /\ UNCHANGED <<locked, output>>

\* The inputs of `set` are locked, the others are forgotten.
Lock(r, set) ==
  /\ locked[r] = None
  /\ \A m \in set : offered[r][m] # None
  /\ LET inputs == {offered[r][m] : m \in set} IN
       /\ Cardinality(inputs) >= Quorum
       /\ locked' = [locked EXCEPT ![r] = inputs]
  /\ offered' = [offered EXCEPT ![r] = Nothing]
  /\ UNCHANGED output

\* A round without a quorum: every input is forgotten.
Discard(r) ==
  /\ locked[r] = None
  /\ offered' = [offered EXCEPT ![r] = Nothing]
  /\ UNCHANGED <<locked, output>>

Deliver(r, m) ==
  /\ locked[r] # None /\ output[m][r] = None
  /\ output' = [output EXCEPT ![m][r] = locked[r]]
  /\ UNCHANGED <<offered, locked>>

IdealNext ==
  \E r \in Numbers :
    \/ \E m \in Members, input \in Inputs : Contribute(r, m, input)
    \/ \E set \in SUBSET Members : Exclude(r, set) \/ Lock(r, set)
    \/ Discard(r)
    \/ \E m \in Honest : Deliver(r, m)

IdealSpec == IdealInit /\ [][IdealNext]_idealVars
=============================================================================
