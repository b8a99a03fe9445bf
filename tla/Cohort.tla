------------------------------- MODULE Cohort -------------------------------
(***************************************************************************)
(* Who takes part, and how much may go wrong.                              *)
(*                                                                         *)
(* Honest members follow the protocol but may crash, restart, be slow, and *)
(* (Vanish) never come back.  Byzantine members do anything that does not  *)
(* break cryptography; the other modules give them their own steps.        *)
(***************************************************************************)
EXTENDS Naturals, FiniteSets

CONSTANTS
  Members,      \* the roster
  Byzantine,    \* those that do not follow the protocol
  T,            \* shares that open an aggregate; also votes that count
  Quorum,       \* contributions without which a round is not sealed
  Rounds,       \* opened rounds after which the job is finished
  RoundLimit,   \* rounds, opened or burned, after which it is finished
  KeyAttempts,  \* attempts at a joint key before the job is aborted
  MaxCrashes,   \* bound of a model: crashes of honest members, together
  MaxVanished,  \* bound of a model: honest members gone for good
  None          \* a model value: absence

Honest == Members \ Byzantine

ASSUME Bounds ==
  /\ Byzantine \subseteq Members
  /\ Rounds \in Nat \ {0} /\ RoundLimit \in Nat /\ RoundLimit >= Rounds
  /\ KeyAttempts \in Nat \ {0}
  /\ MaxCrashes \in Nat /\ MaxVanished \in Nat
  /\ T \in 1 .. Cardinality(Members) /\ Quorum \in 1 .. Cardinality(Members)

\* Byzantine members together must not open anything alone: else any single
\* update is theirs.  T >= 2 so that no member opens alone either.
ASSUME ThresholdExceedsByzantine == T > Cardinality(Byzantine) /\ T >= 2

\* With fewer, a sealed sum may hold one honest addend: the Byzantine members
\* subtract their own and have it.
ASSUME QuorumHidesHonest == Quorum >= Cardinality(Byzantine) + 2

VARIABLES
  up,        \* [Honest -> BOOLEAN]
  gone,      \* honest members that vanished for good
  crashes    \* crashes so far

cohortVars == <<up, gone, crashes>>

CohortTypeOK ==
  /\ up \in [Honest -> BOOLEAN]
  /\ gone \subseteq Honest
  /\ crashes \in 0 .. MaxCrashes

CohortInit ==
  /\ up = [m \in Honest |-> TRUE]
  /\ gone = {}
  /\ crashes = 0

CohortCrash(m) ==
  /\ up[m]
  /\ crashes < MaxCrashes
  /\ up' = [up EXCEPT ![m] = FALSE]
  /\ crashes' = crashes + 1
  /\ UNCHANGED gone

CohortVanish(m) ==
  /\ m \notin gone
  /\ Cardinality(gone) < MaxVanished
  /\ up' = [up EXCEPT ![m] = FALSE]
  /\ gone' = gone \cup {m}
  /\ UNCHANGED crashes

CohortRestart(m) ==
  /\ ~up[m]
  /\ m \notin gone
  /\ up' = [up EXCEPT ![m] = TRUE]
  /\ UNCHANGED <<gone, crashes>>
=============================================================================
