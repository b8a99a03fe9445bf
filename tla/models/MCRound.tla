------------------------------ MODULE MCRound -------------------------------
EXTENDS RoundProperties, TLC

vars == <<cohortVars, ledgerVars, storageVars, roundVars>>

\* A history just after the joint key was fixed.
Keyed == FixKey([EmptyHistory EXCEPT !.joined = Members], "key")

\* The order, represented by its reading: no action tells two orders with one
\* reading apart.
ReadLog           == Keyed
ReadExtend(l, x)  == Read(l, x)
ReadHistory(l)    == l

\* A member's place, represented by the phase, round and stage it knows of.
\* Within a stage every guard is monotone in the prefix, so of all prefixes
\* that show this stage the longest allows every step that a shorter one does
\* (SubmitAbandon aside, see AnyCannotSeal).
Mark(l)           == [phase |-> l.phase, round |-> l.round, stage |-> l.stage]
MarkUnread        == Mark(Keyed)
MarkAdvance(l, v) == {Mark(l)} \ {v}
MarkAllRead(l, v) == v = Mark(l)

\* Of a round that is over a straggler sees what was sealed: enough for all
\* that could still matter, a share.
MarkSeen(l, v) ==
  IF v = Mark(l) THEN l
  ELSE IF v.round = l.round /\ v.phase = l.phase
  THEN [l EXCEPT !.stage = v.stage, !.sealed[v.round] = None]
  ELSE [l EXCEPT !.phase = v.phase, !.round = v.round, !.stage = v.stage,
                 !.current = Fresh]

DropDead(l, x)    == IF Dead(l, x) THEN None ELSE x

\* Verify and AcceptShare only change what their member will do, and stay
\* enabled within a stage: they can be done at the moment of use.
VerifiesNow(m, o) ==
  LET root == My(m).current.commits[o] IN
  root # None /\ root.member = o /\ CanFetch(root) /\ Sound(root)
AcceptsNow(m, o)  == o \in My(m).current.shares \cap Honest
AnyCannotSeal(m)  == TRUE

\* What was verified by then.
AttestsAll(m)     == {Attestable(m)} \ {{}}
Patient(m)        == FALSE

\* A journal matters only for its own round's commitments.
NoteRound(j, x)   == IF x.kind \in {"Commit", "Share"}
                     THEN {y \in j : y.round = x.round} \cup {x} ELSE j

\* Steps that nobody else notices and that a crash undoes: done at once.
Quiet(m) == Train(m) \/ SumUp(m) \/ Combine(m) \/ CatchUp(m) \/ EndRound(m) \/ BurnRound(m)
Loud(m)  == Upload(m) \/ SubmitCommit(m) \/ Release(m) \/ SubmitShare(m) \/ SubmitResult(m)

Next ==
  IF \E m \in Honest : ENABLED Quiet(m)
  THEN \E m \in Honest : Quiet(m)
  ELSE \/ \E m \in Honest : \/ Loud(m) \/ Votes(m) \/ RoundReads(m)
                             \/ RoundIncludes(m) \/ RoundFaults(m) \/ Restart(m)
       \/ \E b \in Byzantine : RoundByzantine(b)
Init == CohortInit /\ LedgerInit /\ StorageInit /\ RoundInit
Spec == Init /\ [][Next]_vars

\* Every member that is up goes on, and a record that it keeps resending is
\* included in the end.  Without the first a member may stop for ever, without
\* the second the ledger may.  Nothing is assumed of faults and of Byzantine
\* members.  Weak fairness is enough: no step is ever undone.
Fair(m) == \/ Quiet(m) \/ Loud(m) \/ Votes(m) \/ RoundReads(m) \/ Restart(m)
           \/ up[m] /\ RoundIncludes(m)
FairSpec == Spec /\ \A m \in Honest : WF_vars(Fair(m))

Symmetric == Permutations(Honest)
=============================================================================
