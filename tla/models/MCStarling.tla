----------------------------- MODULE MCStarling -----------------------------
(***************************************************************************)
(* The composition, from the proposal to the settlement.                   *)
(***************************************************************************)
EXTENDS Starling, Views, TLC

VerifiesNow(m, o) ==
  LET root == My(m).current.commits[o] IN
  root # None /\ root.member = o /\ CanFetch(root) /\ Sound(root, My(m).ranged)
RefusesNow(m, o) ==
  LET root == My(m).current.commits[o] IN
  root # None /\ (root.member # o \/ (CanFetch(root) /\ Unsound(root, My(m).ranged)))
AcceptsNow(m, o)  == o \in My(m).current.shares \cap Honest
HearsNow(m, o)    == o # m /\ Vouches(m, o)
AttestsAll(m)     == {<<Attestable(m), Refusable(m)>>}

\* As in MCRound: Verify and AcceptShare are done at the moment of use.
Merged ==
  \/ \E m \in Honest :
       \/ LifeStep(m) \/ KeyStep(m) \/ Reads(m) \/ Includes(m) \/ Fails(m) \/ Returns(m)
       \/ keyed[m] # None /\ (Advances(m) \/ Votes(m)) /\ UNCHANGED <<keyVars, lifeVars>>
  \/ \E b \in Byzantine : Misbehaves(b)
MergedSpec == Init /\ [][Merged]_vars

FairSpec == MergedSpec /\ \A m \in Honest :
  /\ WF_vars(\/ LifeSteps(m) /\ UNCHANGED <<storageVars, roundVars, keyVars>>
             \/ KeyStep(m) \/ Reads(m) \/ Returns(m) \/ (up[m] /\ Includes(m))
             \/ keyed[m] # None /\ (Advances(m) \/ Votes(m)) /\ UNCHANGED <<keyVars, lifeVars>>)
  /\ WF_vars(CloseHead(m) /\ UNCHANGED <<storageVars, roundVars, keyVars>>)

Symmetric == Permutations(Honest)

NeverAllSettled == ~(settled = Honest /\ \A m \in Honest : ended[m] = "finished")
=============================================================================
