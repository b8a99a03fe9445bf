----------------------------- MODULE MCRecords ------------------------------
(***************************************************************************)
(* Rounds as the order alone has them: every record is read by everybody   *)
(* at once, and nobody crashes.  What is left is what the order itself     *)
(* allows, so that several rounds of four members fit.  A step may be more *)
(* than one record, where nothing else could come in between that matters. *)
(***************************************************************************)
EXTENDS RoundProperties, Views, TLC

vars == <<cohortVars, ledgerVars, storageVars, roundVars>>

Init == CohortInit /\ LedgerInit /\ StorageInit /\ RoundInit

R == log.round

RECURSIVE ReadAll(_, _)
ReadAll(h, records) ==
  IF records = {} THEN h
  ELSE LET x == CHOOSE x \in records : TRUE IN ReadAll(Read(h, x), records \ {x})

Say(records, blobs) ==
  /\ log' = ReadAll(log, records)
  /\ stored' = stored \cup blobs
  /\ UNCHANGED <<cohortVars, view, journal, outstanding, withheld, roundVars>>

\* Any T honest members: which of them makes no difference.
Some == CHOOSE set \in SUBSET Honest : Cardinality(set) = T

(* Honest members ---------------------------------------------------------*)
MayCommit(m) == log.stage = "open" /\ m \in log.current.waited /\ log.current.commits[m] = None
Commits(m)   == MayCommit(m) /\ Say({Commit(m, R, Root(m, R, 0))}, {Root(m, R, 0)})

\* A Byzantine member's blob may be out of reach.
Verifies(m) == {o \in Committed(log) \ Settled(log, m) :
                  LET root == log.current.commits[o] IN root.member = o /\ Sound(root, log.ranged)}
Refuses(m)  == Committed(log) \ (Settled(log, m) \cup Verifies(m))
Attests(m, lost) ==
  /\ log.stage = "open" /\ (Verifies(m) \ lost) \cup (Refuses(m) \ lost) # {}
  /\ log.current.waited \subseteq Committed(log) \/ AttestDeadline(m)
  /\ Say({Attest(m, R, Verifies(m) \ lost, Refuses(m) \ lost)}, {})

Expires ==
  /\ log.stage = "open" /\ \E m \in Honest : m \notin log.current.expired /\ ExpireDeadline(m)
  /\ Say({Expire(m, R) : m \in Honest \ log.current.expired}, {})

Seals    == CanSeal(log) /\ Say({Seal(CHOOSE m \in Honest : TRUE, R)}, {})
Abandons == /\ log.stage = "open" /\ Closed(log) /\ ~CanSeal(log)
            /\ Say({Abandon(m, R, 0) : m \in Some}, {})

\* The sealed sum is opened by any T members, and all see what it is.
Opens ==
  /\ log.stage = "sealed"
  /\ LET sum     == log.sealed[R]
         shared  == ReadAll(log, {Share(m, R, sum) : m \in Some})
         outcome == Outcome(log, sum)
     IN log' = ReadAll(shared, {Result(m, R, outcome.model, outcome.discarded) : m \in Some})
  /\ UNCHANGED <<cohortVars, view, journal, outstanding, storageVars, roundVars>>

Reopens ==
  /\ log.stage = "sealed" /\ \E m \in Honest : OpenDeadline(m)
  /\ Say({Abandon(m, R, log.current.opening) : m \in Some}, {})

(* Byzantine members ------------------------------------------------------*)
Misbehaves(b) ==
  \E x \in ByzantineRecords(b, log) :
    /\ Valid(log, x)
    /\ Say({x}, IF x.kind = "Commit" THEN {x.root} ELSE {})

\* What one may write of everything that it could.
Poisoner(b, h) ==
  {Commit(b, h.round, Root(b, h.round, v)) : v \in {Bad, Poison}}
    \cup {Attest(b, h.round, Committed(h) \ Settled(h, b), {}), Expire(b, h.round)}
Framer(b, h) ==
  {Commit(b, h.round, Root(b, h.round, 0)), Expire(b, h.round), Abandon(b, h.round, 0)}
    \cup {Attest(b, h.round, {}, {o}) : o \in Committed(h) \ Settled(h, b)}
Mute(b, h) == {}
Sleeper(b, h) ==
  IF h.round < 4 THEN {}
  ELSE {Commit(b, h.round, Root(b, h.round, 0)), Attest(b, h.round, Committed(h) \ Settled(h, b), {})}

Next ==
  /\ log.phase = "running"
  /\ \/ \E m \in Honest : Commits(m) \/ \E lost \in {{}, Byzantine} : Attests(m, lost)
     \/ Expires \/ Seals \/ Abandons \/ Opens \/ Reopens
     \/ \E b \in Byzantine : Misbehaves(b)

Spec == Init /\ [][Next]_vars

\* Patient members' deadlines pass where nobody honest has anything to do.
AllCommitted(m) == \A n \in Honest : ~MayCommit(n)
AllSaid(m)      == AllCommitted(m) /\ \A n \in Honest : Committed(log) \cap Honest \subseteq Settled(log, n)

\* Those of others pass where a quorum has come so far.
EnoughCommitted(m) == Cardinality(Committed(log)) >= Quorum
EnoughAttested(m)  == Cardinality(Attested(log)) >= Quorum

Symmetric == Permutations(Honest)

(* Properties -------------------------------------------------------------*)
\* A round waits for enough members, every fourth one for all that are not out.
WaitsForEnough ==
  /\ Cardinality(log.current.waited \cup log.out) >= Needed
  /\ log.round % 4 = 0 => log.current.waited = Inside(log)

\* What was said of the open round does not count for the sealed one (where nobody
\* but the Framer votes).
FreshVotes == log.stage = "sealed" => log.current.votes = {}

\* Whoever contributed to a round is waited for in the next one.
WaitsAgain ==
  [][log'.round = log.round + 1 =>
       \A m \in log.current.sum \cap Inside(log') :
         Committed(log) \subseteq Settled(log, m) => m \in log'.current.waited]_log

\* While the job runs some honest member has something to do.  Each record counts
\* once, so no run goes on for ever: with this every job comes to its end ...
MaySpeak(m) ==
  /\ Committed(log) \ Settled(log, m) # {}
  /\ log.current.waited \subseteq Committed(log) \/ AttestDeadline(m)
MayExpire(m) == m \notin log.current.expired /\ ExpireDeadline(m)
JobEnds ==
  log.phase = "running" =>
    \/ log.stage = "sealed"
    \/ \E m \in Honest : MayCommit(m) \/ MaySpeak(m) \/ MayExpire(m)
    \/ CanSeal(log) \/ (Closed(log) /\ ~(Some \subseteq log.current.votes))

\* ... and not by giving up.
JobFinishes == log.phase # "aborted"

(* Each of these must be violated. ----------------------------------------*)
NeverUnwaited  == log.current.waited = Inside(log)
NeverDiscarded == log.discarded = {}
NeverAgain     == ~(log.discarded # {} /\ log.models[R - 1] # None /\ R - 1 \notin log.discarded)
=============================================================================
