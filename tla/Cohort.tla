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
  Colluders,    \* how many may be: c; more than c of any kind have an honest one
  T,            \* shares that open an aggregate; also votes that count
  Quorum,       \* contributions without which a round is not sealed
  Rounds,       \* opened rounds after which the job is finished
  RoundLimit,   \* rounds, opened or burned, after which it is finished
  MaxBurned,    \* burned rounds in a row after which it is aborted
  MaxOpenings,  \* attempts at opening one sealed sum before it is aborted
  KeyAttempts,  \* attempts at a joint key before the job is aborted
  MaxCrashes,   \* bound of a model: crashes of honest members, together
  MaxVanished,  \* bound of a model: honest members gone for good
  None          \* a model value: absence

Honest == Members \ Byzantine

ASSUME Bounds ==
  /\ Byzantine \subseteq Members
  /\ Colluders \in 0 .. Cardinality(Members) - 1
  /\ Cardinality(Byzantine) <= Colluders
  /\ MaxBurned \in Nat \ {0} /\ MaxOpenings \in Nat \ {0}
  /\ Rounds \in Nat \ {0} /\ RoundLimit \in Nat /\ RoundLimit >= Rounds
  /\ KeyAttempts \in Nat \ {0}
  /\ MaxCrashes \in Nat /\ MaxVanished \in Nat
  /\ T \in 1 .. Cardinality(Members) /\ Quorum \in 1 .. Cardinality(Members)

\* Colluders together must not open anything alone: else any single update is
\* theirs.  T >= 2 so that no member opens alone either.
ASSUME ThresholdExceedsColluders == T > Colluders /\ T >= 2

\* With fewer, a sealed sum may hold one honest addend: the colluders subtract
\* their own and have it.
ASSUME QuorumHidesHonest == Quorum >= Colluders + 2

\* More than may collude: one of them is honest.
OneHonest == Colluders + 1

\* So many that nobody among them is alone, though the colluders tell all.
Crowd == Colluders + 2

Larger(a, b) == IF a > b THEN a ELSE b

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
