---------------------------- MODULE MCLifecycle -----------------------------
(***************************************************************************)
(* A job's life alone: key and rounds are whatever moves the phase on.     *)
(***************************************************************************)
EXTENDS Lifecycle, Views, TLC

vars == <<cohortVars, ledgerVars, lifeVars>>

Init == CohortInit /\ LedgerInit /\ LifeInit

Reads(m)    == up[m] /\ Observe(m) /\ UNCHANGED <<cohortVars, lifeVars>>
Includes(m) == head = "open" /\ Include(m) /\ UNCHANGED <<cohortVars, lifeVars>>
Fails(m)    == (CohortCrash(m) \/ CohortVanish(m)) /\ UNCHANGED <<ledgerVars, lifeVars>>
Returns(m)  == CohortRestart(m) /\ UNCHANGED <<ledgerVars, lifeVars>>

\* Key generation and rounds, abstracted: they end.
Elsewhere ==
  /\ head = "open"
  /\ \E step \in {<<"keying", "running">>, <<"keying", "aborted">>,
                  <<"running", "finished">>, <<"running", "aborted">>} :
       log.phase = step[1] /\ log' = [log EXCEPT !.phase = step[2]]
  /\ outstanding' = [m \in Honest |-> IF outstanding[m] = None THEN None ELSE Offer(log', outstanding[m])]
  /\ UNCHANGED <<view, journal, cohortVars, lifeVars>>

Next == \/ \E m \in Honest : \/ LifeSteps(m) \/ Operator(m) \/ Reads(m)
                             \/ Includes(m) \/ Fails(m) \/ Returns(m)
        \/ \E b \in Byzantine : ByzantineLifeSend(b)
        \/ ByzantineClose
        \/ Elsewhere
Spec == Init /\ [][Next]_vars

\* As in MCRound; and key and rounds come to an end (their own Progress).  An
\* operator owes nothing, but to close a head in which nothing can happen.
FairSpec ==
  /\ Spec
  /\ \A m \in Honest : WF_vars(LifeSteps(m) \/ Reads(m) \/ Returns(m) \/ (up[m] /\ Includes(m)))
  /\ \A m \in Honest : WF_vars(CloseHead(m))
  /\ WF_vars(Elsewhere)

Symmetric == Permutations(Honest)

NeverSettled  == settled = {}
NeverDeclined == declined = {}
NeverFinished == \A m \in Honest : ended[m] # "finished"
=============================================================================
