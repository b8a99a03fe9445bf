----------------------------- MODULE Lifecycle ------------------------------
(***************************************************************************)
(* A job from its proposal to its settlement.                              *)
(*                                                                         *)
(* Proposed -> accepted by every operator -> head open -> joined by all    *)
(* -> (joint key, rounds) -> finished or aborted -> head closed -> settled *)
(*                                                                         *)
(* The head opens only when each party has committed to it on L1, and its  *)
(* contestation period makes the closing snapshot the latest one: both are *)
(* what Hydra guarantees, assumed here.                                    *)
(***************************************************************************)
EXTENDS Ledger

VARIABLES
  proposed,   \* was a manifest proposed?
  consented,   \* durable: honest members whose operator accepted it
  declined,   \* durable: honest members whose operator did not, or no longer
  opened,     \* honest members that know the head is open
  head,       \* "none", "open" or "closed"
  ended,      \* durable: [Honest -> how it saw the job end, or None]
  settled     \* honest members that checked what the fan-out left on L1

lifeVars == <<proposed, consented, declined, opened, head, ended, settled>>

\* Operators may stop a job, or close a head that stalls, at any time.
StopWanted(m)  == TRUE
CloseWanted(m) == TRUE

LifeInit ==
  /\ proposed = FALSE /\ consented = {} /\ declined = {} /\ opened = {}
  /\ head = "none"
  /\ ended = [m \in Honest |-> None]
  /\ settled = {}

\* Who proposes accepts.
ProposeJob(m) ==
  /\ up[m] /\ m \notin declined
  /\ proposed' = TRUE
  /\ consented' = consented \cup {m}
  /\ UNCHANGED <<declined, opened, head, ended, settled, cohortVars, ledgerVars>>

\* A Byzantine member's proposal is not seen, only its effect.
Proposed == proposed \/ Byzantine # {}

AcceptJob(m) ==
  /\ up[m] /\ Proposed /\ m \notin declined
  /\ consented' = consented \cup {m}
  /\ UNCHANGED <<proposed, declined, opened, head, ended, settled, cohortVars, ledgerVars>>

\* Also a job that was accepted, while this member knows of no head for it.
DeclineJob(m) ==
  /\ up[m] /\ Proposed /\ m \notin opened
  /\ declined' = declined \cup {m}
  /\ UNCHANGED <<proposed, consented, opened, head, ended, settled, cohortVars, ledgerVars>>

\* A member may learn that the head is open when another is closing it already.
OpenHead(m) ==
  /\ up[m] /\ Honest \subseteq consented /\ m \notin declined
  /\ head' = IF head = "none" THEN "open" ELSE head
  /\ opened' = opened \cup {m}
  /\ UNCHANGED <<proposed, consented, declined, ended, settled, cohortVars, ledgerVars>>

SubmitJoin(m) ==
  /\ up[m] /\ m \in opened
  /\ My(m).phase = "joining" /\ m \notin My(m).joined
  /\ Submit(m, Join(m))
  /\ UNCHANGED <<lifeVars, cohortVars>>

SubmitStop(m) ==
  /\ up[m] /\ m \in opened
  /\ My(m).phase \notin Over /\ m \notin My(m).stops
  /\ StopWanted(m)
  /\ Submit(m, Stop(m))
  /\ UNCHANGED <<lifeVars, cohortVars>>

EndJob(m, phase) ==
  /\ up[m] /\ My(m).phase = phase
  /\ ended' = [ended EXCEPT ![m] = phase]
  /\ UNCHANGED <<proposed, consented, declined, opened, head, settled, cohortVars, ledgerVars>>

FinishJob(m) == EndJob(m, "finished")
AbortJob(m)  == EndJob(m, "aborted")

\* A head may open for a job that a member declines meanwhile: it is closed again.
Done(m) == ended[m] # None \/ declined # {}

CloseHead(m) ==
  /\ up[m] /\ m \in opened
  /\ Done(m) \/ CloseWanted(m)
  /\ head' = "closed"
  /\ UNCHANGED <<proposed, consented, declined, opened, ended, settled, cohortVars, ledgerVars>>

\* The final datums commit to each member's last record: what a member
\* settles is the whole order.
SettleJob(m) ==
  /\ up[m] /\ head = "closed" /\ AllRead(log, view[m])
  /\ settled' = settled \cup {m}
  /\ UNCHANGED <<proposed, consented, declined, opened, head, ended, cohortVars, ledgerVars>>

ByzantineLifeSend(b) ==
  /\ head = "open"
  /\ \/ IncludeByzantine(Join(b)) \/ IncludeByzantine(Stop(b))
  /\ UNCHANGED <<lifeVars, cohortVars>>

\* Any party of a head can close it.
ByzantineClose ==
  /\ Byzantine # {} /\ head = "open"
  /\ head' = "closed"
  /\ UNCHANGED <<proposed, consented, declined, opened, ended, settled, cohortVars, ledgerVars>>

\* What a member does of itself, and what it does because its operator says so.
LifeSteps(m)  == OpenHead(m) \/ SubmitJoin(m) \/ FinishJob(m) \/ AbortJob(m) \/ SettleJob(m)
                 \/ (Done(m) /\ CloseHead(m))
Operator(m)   == ProposeJob(m) \/ AcceptJob(m) \/ DeclineJob(m) \/ SubmitStop(m) \/ CloseHead(m)

(* Properties -------------------------------------------------------------*)
LifeTypeOK ==
  /\ proposed \in BOOLEAN
  /\ consented \subseteq Honest /\ declined \subseteq Honest
  /\ opened \subseteq Honest /\ settled \subseteq Honest
  /\ head \in {"none", "open", "closed"}
  /\ ended \in [Honest -> {None} \cup Over]

\* No machine takes part in a job that its operator did not accept.
Consent ==
  /\ TheHistory.joined \cap Honest \subseteq consented
  /\ opened \subseteq consented
  /\ opened \cap declined = {}

\* Members that saw the job end saw the same end.
EndAgreement == \A m \in Honest : ended[m] # None => ended[m] = TheHistory.phase

\* What a member settled on L1 is everything that was ever confirmed.
Settlement == \A m \in settled : head = "closed" /\ AllRead(log, view[m])

\* A job that everyone accepted, and nobody declines before it begins, ends and
\* is settled by whoever stays; and so is every head that opens.
LifeProgress == \A m \in Honest :
  /\ (Honest \subseteq consented) ~> (m \in gone \cup settled \/ declined # {})
  /\ (head = "open") ~> (m \in gone \cup settled \cup declined)
=============================================================================
