--------------------------- MODULE TraceStarling ----------------------------
(***************************************************************************)
(* Is what a cohort's daemons logged a behaviour of Starling?              *)
(*                                                                         *)
(* Module TraceData is generated from the logs and defines Runs.  A run has*)
(*   events : the lines of all members, merged so that a cause comes first *)
(*   order  : the confirmed records by slot, as their first reader saw them*)
(* An event is one action of the specification with the logged arguments,  *)
(* taken on the member's own view.  What no daemon can log is a silent     *)
(* step, taken only when the next event needs it: a crash before Restart,  *)
(* and the ledger's inclusion before the first Observe of a slot.          *)
(*                                                                         *)
(* Digests arrive as small numbers: roots as [member, round, version], and *)
(* aggregates and models as 0 for the one that most honest members name in *)
(* that round, which must then be the right one, or another number.        *)
(* Which sums were spoilt nobody can know but from what members made of    *)
(* them; only who is Byzantine spoils one.                                 *)
(***************************************************************************)
EXTENDS Starling, TraceData, TLC

VARIABLES
  tid,    \* the run
  next    \* the index of its next event

Events == Runs[tid].events
Order  == Runs[tid].order
E      == Events[next]

(* The order and places in it, each with its history at hand --------------*)
Alien(number)     == {Root(0, 0, number)}
Means(id, value)  == IF id = 0 /\ value # None THEN value ELSE Alien(id)
SealedIn(h, r)    == IF r \in RoundNumbers THEN h.sealed[r] ELSE None

\* The record in slot k, its digests spelt out for a reader whose history is h.
Concrete(h, x) ==
  CASE x.kind = "Share"  -> [x EXCEPT !.aggregate = Means(x.aggregate, SealedIn(h, x.round))]
    [] x.kind = "Result" -> [x EXCEPT !.model = Means(x.model, IF x.discarded THEN h.base
                                                               ELSE SealedIn(h, x.round))]
    [] OTHER             -> x
At(h, k) == Concrete(h, Order[k])

TraceEmpty        == [slots |-> 0, history |-> EmptyHistory]
TraceExtend(l, x) == [slots |-> l.slots + 1, history |-> Read(l.history, x)]
TraceHistory(l)   == l.history
TraceSeen(l, v)   == v.history
TraceAllRead(l, v) == v.slots = l.slots
TraceAdvance(l, v) ==
  IF v.slots = l.slots THEN {}
  ELSE {TraceExtend(v, At(v.history, v.slots + 1))}

RECURSIVE Prefix(_, _)
Prefix(v, k) == IF v.slots = k THEN v ELSE Prefix(TraceExtend(v, At(v.history, v.slots + 1)), k)

\* Of a journal only the current round's records are still needed.
NoteRecent(j, x) ==
  IF x.kind \in RoundKinds THEN {y \in j : y.kind \in RoundKinds /\ y.round = x.round} \cup {x}
  ELSE j \cup {x}

\* What a Byzantine blob holds is unknown; only its author can be blamed for it.
PerhapsUnsound(root, ranged) == root.member \in Byzantine
WasSpoilt(h, aggregate) ==
  h.round \in Runs[tid].spoilt /\ \E root \in aggregate : root.member \in Byzantine
Anything(h, x)          == TRUE

\* Who is left out first, computed from the digests in the logs.
RankOfRun(h, m) == Runs[tid].ranks[h.round][m]

\* A record confirmed before the head was closed may be read first after it.
UntilRead               == TRUE

(* Events -----------------------------------------------------------------*)
RoundOnly     == UNCHANGED <<keyVars, lifeVars>>
KeyOnly       == UNCHANGED <<storageVars, roundVars, lifeVars>>
LifeOnly      == UNCHANGED <<storageVars, roundVars, keyVars>>

InRound(m)    == keyed[m] # None /\ round[m] = E.round /\ RoundOnly
Right(m)      == E.aggregate = 0 /\ My(m).sealed[E.round] # None

RoundEvent(m) ==
  CASE E.event = "Train"         -> Train(m)
    [] E.event = "Upload"        -> Upload(m) /\ upload'[m] = E.root
    [] E.event = "SubmitCommit"  -> upload[m] = E.root /\ SubmitCommit(m)
    [] E.event = "Verify"        -> Verify(m, E.other)
    [] E.event = "Refuse"        -> Refuse(m, E.other)
    [] E.event = "SubmitAttest"  -> SubmitAttest(m, E.verified, E.refused)
    [] E.event = "SubmitExpire"  -> SubmitExpire(m)
    [] E.event = "SubmitSeal"    -> SubmitSeal(m)
    [] E.event = "SubmitAbandon" -> Opening(m) = E.opening /\ SubmitAbandon(m)
    [] E.event = "Reopen"        -> /\ Sealed(m) /\ Opening(m) = E.opening /\ E.opening > 1
                                    /\ UNCHANGED <<roundVars, ledgerVars, cohortVars, storageVars>>
    [] E.event = "Vouch"         -> Vouch(m)
    [] E.event = "HearVouch"     -> HearVouch(m, E.other)
    [] E.event = "Aggregate"     -> SumUp(m) /\ Right(m)
    [] E.event = "Release"       -> Release(m) /\ Right(m)
    [] E.event = "SubmitShare"   -> SubmitShare(m) /\ Right(m) /\ released[m][E.round] = My(m).sealed[E.round]
    [] E.event = "AcceptShare"   -> AcceptShare(m, E.other)
    [] E.event = "RefuseShare"   -> RefuseShare(m, E.other)
    [] E.event = "Combine"       -> Combine(m) /\ E.model = 0
    [] E.event = "SubmitResult"  -> /\ SubmitResult(m) /\ E.model = 0
                                    /\ E.discarded = Outcome(My(m), released[m][E.round]).discarded
    [] E.event = "CatchUp"       -> CatchUp(m) /\ E.model = 0
    [] E.event = "EndRound"      -> /\ EndRound(m) /\ E.model = 0
                                    /\ E.discarded = (E.round \in My(m).discarded)
    [] E.event = "BurnRound"     -> BurnRound(m)

KeyEvent(m) ==
  /\ My(m).phase = "keying" => My(m).attempt = E.attempt
  /\ CASE E.event = "BeginKey"         -> BeginKey(m)
       [] E.event = "HoldShare"        -> E.key \in Keys(E.attempt) /\ HoldShare(m, E.key)
       [] E.event = "SubmitKeyShare"   -> SubmitKeyShare(m, E.key)
       [] E.event = "SubmitKeyAbandon" -> SubmitKeyAbandon(m, E.accused)
  /\ KeyOnly

LifeEvent(m) ==
  /\ CASE E.event = "ProposeJob" -> ProposeJob(m)
       [] E.event = "AcceptJob"  -> AcceptJob(m)
       [] E.event = "DeclineJob" -> DeclineJob(m)
       [] E.event = "OpenHead"   -> OpenHead(m)
       [] E.event = "SubmitJoin" -> SubmitJoin(m)
       [] E.event = "SubmitStop" -> SubmitStop(m)
       [] E.event = "FinishJob"  -> FinishJob(m)
       [] E.event = "AbortJob"   -> AbortJob(m)
       [] E.event = "CloseHead"  -> CloseHead(m)
       [] E.event = "SettleJob"  -> SettleJob(m)
  /\ LifeOnly

\* The next slot, its record the one that others read there, judged as logged.
ObserveEvent(m) ==
  LET k == view[m].slots + 1 IN
  /\ E.slot = k /\ k <= log.slots
  /\ E.record = Order[k]
  /\ E.valid = Valid(My(m), At(My(m), k))
  /\ Reads(m)

\* A member may come back having re-read less than it had read before, or more
\* than it lived to tell.
RestartEvent(m) ==
  /\ E.slot <= log.slots
  /\ CohortRestart(m)
  /\ view' = [view EXCEPT ![m] = IF E.slot >= @.slots THEN Prefix(@, E.slot) ELSE Prefix(TraceEmpty, E.slot)]
  /\ UNCHANGED <<log, journal, outstanding, storageVars, roundVars, keyVars, lifeVars>>

RoundEvents == {"Train", "Upload", "SubmitCommit", "Verify", "Refuse", "SubmitAttest", "SubmitExpire",
                "SubmitSeal", "SubmitAbandon", "Reopen", "Vouch", "HearVouch", "Aggregate", "Release",
                "SubmitShare", "AcceptShare", "RefuseShare", "Combine", "SubmitResult", "CatchUp",
                "EndRound", "BurnRound"}
KeyEvents   == {"BeginKey", "HoldShare", "SubmitKeyShare", "SubmitKeyAbandon"}

Event ==
  LET m == E.member IN
  /\ CASE E.event = "Start"        -> up[m] /\ UNCHANGED vars
       [] E.event = "Restart"      -> RestartEvent(m)
       [] E.event = "Observe"      -> ObserveEvent(m)
       [] E.event = "AdoptKey"     -> My(m).key = E.key /\ AdoptKey(m) /\ KeyOnly
       [] E.event = "MemberOut"    -> E.other \in My(m).out /\ UNCHANGED vars
       [] E.event = "DoubtLog"     -> DoubtLog(m) /\ RoundOnly
       [] E.event = "LogForked"    -> FALSE    \* there is one order: this run has none
       [] E.event \in RoundEvents  -> InRound(m) /\ RoundEvent(m)
       [] E.event \in KeyEvents    -> KeyEvent(m)
       [] OTHER                    -> LifeEvent(m)
  /\ next' = next + 1

(* Silent steps -----------------------------------------------------------*)
IncludeOf(x) ==
  \/ /\ x.member \in Honest
     /\ outstanding[x.member] = x
     /\ RoundIncludes(x.member)
  \/ /\ IncludeByzantine(x)
     /\ stored' = IF x.kind = "Commit" THEN stored \cup {x.root} ELSE stored
     /\ UNCHANGED <<withheld, roundVars, cohortVars>>

Silent ==
  /\ \/ E.event = "Restart" /\ up[E.member] /\ Crash(E.member) /\ UNCHANGED <<keyVars, lifeVars>>
     \/ /\ E.event \in {"Observe", "Restart"} /\ E.slot > log.slots /\ log.slots < Len(Order)
        /\ IncludeOf(At(log.history, log.slots + 1)) /\ UNCHANGED <<keyVars, lifeVars>>
     \* By a Byzantine party, or by an operator past its daemon.
     \/ /\ E.event = "SettleJob" /\ head = "open"
        /\ ByzantineClose \/ \E m \in Honest : CloseHead(m)
        /\ UNCHANGED <<storageVars, roundVars, keyVars>>
  /\ UNCHANGED next

TraceInit == Init /\ next = 1 /\ tid \in 1 .. Len(Runs)
TraceNext == next <= Len(Events) /\ (Event \/ Silent) /\ UNCHANGED tid
TraceSpec == TraceInit /\ [][TraceNext]_<<vars, next, tid>>
-----------------------------------------------------------------------------
\* Prints how far each run was matched; who runs TLC takes the greatest.
Mark == PrintT(<<"matched", tid, next - 1>>)

\* Nothing above adds to the specification: without Byzantine members each step
\* of a run is one of Starling, or a restart that has to read again.
ReadsAgain ==
  /\ \E m \in Honest : CohortRestart(m)
  /\ UNCHANGED <<log, journal, outstanding, storageVars, roundVars, keyVars, lifeVars>>
StepsOfStarling == [][Next \/ ReadsAgain]_vars
=============================================================================
