------------------------------ MODULE MCRound -------------------------------
(***************************************************************************)
(* Rounds alone: the job is joined and keyed.                              *)
(***************************************************************************)
EXTENDS RoundProperties, Views, TLC

vars == <<cohortVars, ledgerVars, storageVars, roundVars>>

\* Verify, Refuse, HearVouch and AcceptShare only change what their member will do, and stay
\* enabled within a stage: they can be done at the moment of use.
VerifiesNow(m, o) ==
  LET root == My(m).current.commits[o] IN
  root # None /\ root.member = o /\ CanFetch(root) /\ Sound(root, My(m).ranged)
RefusesNow(m, o) ==
  LET root == My(m).current.commits[o] IN
  root # None /\ (root.member # o \/ (CanFetch(root) /\ Unsound(root, My(m).ranged)))
AcceptsNow(m, o)  == o \in My(m).current.shares \cap Honest
HearsNow(m, o)    == o # m /\ Vouches(m, o)
AttestsAll(m)     == {<<Attestable(m), Refusable(m)>>}

\* Steps that nobody else notices, or would wait for: done at once.
Quiet(m) == Train(m) \/ SumUp(m) \/ Vouch(m) \/ Combine(m) \/ CatchUp(m) \/ EndRound(m) \/ BurnRound(m)
Loud(m)  == Upload(m) \/ SubmitCommit(m) \/ Release(m) \/ SubmitShare(m) \/ SubmitResult(m)

Init == CohortInit /\ LedgerInit /\ StorageInit /\ RoundInit

Next ==
  IF \E m \in Honest : ENABLED Quiet(m)
  THEN \E m \in Honest : Quiet(m)
  ELSE \/ \E m \in Honest : \/ Loud(m) \/ Votes(m) \/ RoundReads(m)
                            \/ RoundIncludes(m) \/ RoundFaults(m) \/ Restart(m)
       \/ \E b \in Byzantine : RoundByzantine(b)

Spec == Init /\ [][Next]_vars

\* Every step on its own, nothing merged.
FineSpec == Init /\ [][RoundNext]_vars

\* Every member that is up goes on, and a record that it keeps resending is
\* included in the end.  Without the first a member may stop for ever, without
\* the second the ledger may.  Nothing is assumed of faults and of Byzantine
\* members.  Weak fairness is enough: no step is ever undone.
Fair(m) == \/ Quiet(m) \/ Loud(m) \/ Votes(m) \/ RoundReads(m) \/ Restart(m)
           \/ up[m] /\ RoundIncludes(m)
FairSpec == Spec /\ \A m \in Honest : WF_vars(Fair(m))

\* Some of these behaviours, where all would be too many: what a member does
\* of itself it does at once, one member after the other.  Who votes when and
\* who vanishes when is as open as ever.
Duty(m) == Quiet(m) \/ Loud(m) \/ RoundReads(m) \/ (up[m] /\ RoundIncludes(m))
Prompt ==
  \/ IF \E m \in Honest : ENABLED Duty(m)
     THEN Duty(CHOOSE m \in Honest : ENABLED Duty(m))
     ELSE \E m \in Honest : Votes(m)
  \/ \E m \in Honest : Vanish(m)
  \/ \E b \in Byzantine : RoundByzantine(b)

\* What Byzantine members write in them: enough to be sealed and then withhold;
\* a copy of any root, even before its maker's Commit is confirmed.
Withholder(b, h) == {Commit(b, h.round, Root(b, h.round, 0)), Attest(b, h.round, Committed(h), {})}
Copier(b, h)     == {Commit(b, h.round, root) : root \in stored}

PromptSpec == Init /\ [][Prompt]_vars /\ \A m \in Honest : WF_vars(Fair(m))

Symmetric == Permutations(Honest)

(* Each of these must be violated: what the properties speak of happens. ---*)
NeverOpened       == \A r \in RoundNumbers : TheHistory.models[r] = None
NeverBurned       == \A m \in Honest : \A r \in RoundNumbers : ~(round[m] > r /\ TheHistory.models[r] = None)
NeverReopened     == TheHistory.current.opening < 2
NeverExpired      == TheHistory.stage = "sealed" => TheHistory.current.expired = {}
NeverOut          == TheHistory.out = {}
NeverDiscarded    == TheHistory.discarded = {}
NeverLeftOut      == \A r \in RoundNumbers : TheHistory.sealed[r] # None =>
                       Cardinality(TheHistory.sealed[r]) = Cardinality(Members)
NeverRefused      == \A m \in Honest : refused[m] = {}
NeverRecovered    == \A m \in Honest : ~(up[m] /\ pc[m] = "Releasing" /\ crashes > 0 /\ upload[m] = None)
NeverRetrained    == \A m \in Honest : uploads[m] < 2
NeverCopied       == \A m \in Members : LET root == TheHistory.current.commits[m] IN
                       root = None \/ root.member = m
=============================================================================
