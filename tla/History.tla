------------------------------ MODULE History -------------------------------
(***************************************************************************)
(* The deterministic reading of the ledger's order.                        *)
(*                                                                         *)
(* The ledger validates nothing.  Every member folds the confirmed records *)
(* with Read; a record that is not Valid when its turn comes is ignored,   *)
(* by everyone and for ever.  This module has no variables: the same order *)
(* gives the same history to whoever reads it.                             *)
(*                                                                         *)
(* Of a round that is over a history keeps what was sealed and the model   *)
(* it was opened with; the rest can no longer matter.                      *)
(*                                                                         *)
(* A root is [member, round, version]: the digest of the blob that `member`*)
(* made for `round`.  An aggregate is the set of the roots it sums.  The   *)
(* right model is a function of the aggregate, hence written as it; {} is  *)
(* any wrong one.                                                          *)
(***************************************************************************)
EXTENDS Cohort

Phases == {"joining", "keying", "running", "finished", "aborted"}
Over   == {"finished", "aborted"}
Stages == {"open", "sealed"}

(* Records ----------------------------------------------------------------*)
Join(m)                   == [kind |-> "Join", member |-> m]
KeyShare(m, a, k)         == [kind |-> "KeyShare", member |-> m, attempt |-> a, key |-> k]
KeyAbandon(m, a, accused) == [kind |-> "KeyAbandon", member |-> m, attempt |-> a, accused |-> accused]
Commit(m, r, root)        == [kind |-> "Commit", member |-> m, round |-> r, root |-> root]
Attest(m, r, verified)    == [kind |-> "Attest", member |-> m, round |-> r, verified |-> verified]
Seal(m, r)                == [kind |-> "Seal", member |-> m, round |-> r]
Abandon(m, r)             == [kind |-> "Abandon", member |-> m, round |-> r]
Share(m, r, aggregate)    == [kind |-> "Share", member |-> m, round |-> r, aggregate |-> aggregate]
Result(m, r, model)       == [kind |-> "Result", member |-> m, round |-> r, model |-> model]
Stop(m)                   == [kind |-> "Stop", member |-> m]

KeyKinds   == {"KeyShare", "KeyAbandon"}
RoundKinds == {"Commit", "Attest", "Seal", "Abandon", "Share", "Result"}

ModelOf(aggregate) == aggregate
WrongModel         == {}

(* Histories --------------------------------------------------------------*)
Nobody == [m \in Members |-> None]
Fresh  == [commits |-> Nobody, attested |-> [m \in Members |-> {}], votes |-> {},
           shares |-> {}, results |-> Nobody]

EmptyHistory ==
  [phase    |-> "joining",
   joined   |-> {},
   attempt  |-> 1,        \* the current attempt at a key
   keys     |-> Nobody,   \* what each member announced in it
   key      |-> None,     \* the joint key, once fixed
   round    |-> 1,        \* the current round; those below are over
   stage    |-> "open",
   current  |-> Fresh,    \* what the current round holds
   sealed   |-> [r \in 1 .. RoundLimit |-> None],  \* the aggregate of each round
   models   |-> [r \in 1 .. RoundLimit |-> None],  \* None once over: burned
   stops    |-> {}]

Committed(h) == {m \in Members : h.current.commits[m] # None}

\* The cut: commits that at least T members attested.  Of T one is honest.
Cut(h) == {o \in Members : Cardinality({m \in Members : o \in h.current.attested[m]}) >= T}

CutRoots(h) == {h.current.commits[o] : o \in Cut(h)}
CanSeal(h)  == Cardinality(Cut(h)) >= Quorum

Count(f, v) == Cardinality({m \in Members : f[m] = v})

\* Is it certain that no model digest will be announced by T members?
Hopeless(results) ==
  /\ \A m \in Members : results[m] # None => Count(results, results[m]) + Count(results, None) < T
  /\ Count(results, None) < T

(* Validity ---------------------------------------------------------------*)
ValidInRound(h, x) ==
  LET now == h.current IN
  /\ h.phase = "running"
  /\ x.round = h.round
  /\ CASE x.kind = "Commit"  -> h.stage = "open" /\ now.commits[x.member] = None
       [] x.kind = "Attest"  -> /\ h.stage = "open"
                                /\ x.verified \subseteq Committed(h)
                                /\ ~(x.verified \subseteq now.attested[x.member])
       [] x.kind = "Seal"    -> h.stage = "open" /\ CanSeal(h)
       [] x.kind = "Abandon" -> x.member \notin now.votes
       [] x.kind = "Share"   -> /\ h.stage = "sealed"
                                /\ x.aggregate = h.sealed[h.round]
                                /\ x.member \notin now.shares
       [] x.kind = "Result"  -> /\ h.stage = "sealed"
                                /\ Cardinality(now.shares) >= T
                                /\ now.results[x.member] = None

Valid(h, x) ==
  CASE x.kind = "Join"       -> h.phase = "joining" /\ x.member \notin h.joined
    [] x.kind = "KeyShare"   -> h.phase = "keying" /\ x.attempt = h.attempt /\ h.keys[x.member] = None
    [] x.kind = "KeyAbandon" -> h.phase = "keying" /\ x.attempt = h.attempt
    [] x.kind = "Stop"       -> h.phase \notin Over /\ x.member \notin h.stops
    [] x.kind \in RoundKinds -> ValidInRound(h, x)
    [] OTHER                 -> FALSE    \* whatever else there is on a ledger

\* Will x be invalid in every extension of h?  (Histories only grow.)
DeadInRound(h, x) ==
  LET now == h.current IN
  \/ h.phase \in Over
  \/ x.round < h.round
  \/ /\ h.phase = "running" /\ x.round = h.round
     /\ CASE x.kind = "Commit"  -> h.stage = "sealed" \/ now.commits[x.member] # None
          [] x.kind = "Attest"  -> h.stage = "sealed" \/ x.verified \subseteq now.attested[x.member]
          [] x.kind = "Seal"    -> h.stage = "sealed"
          [] x.kind = "Abandon" -> x.member \in now.votes
          [] x.kind = "Share"   -> /\ h.stage = "sealed"
                                   /\ x.aggregate # h.sealed[h.round] \/ x.member \in now.shares
          [] x.kind = "Result"  -> now.results[x.member] # None

Dead(h, x) ==
  CASE x.kind = "Join"       -> h.phase # "joining" \/ x.member \in h.joined
    [] x.kind = "KeyShare"   -> \/ h.phase \notin {"joining", "keying"} \/ x.attempt < h.attempt
                                \/ h.phase = "keying" /\ x.attempt = h.attempt /\ h.keys[x.member] # None
    [] x.kind = "KeyAbandon" -> h.phase \notin {"joining", "keying"} \/ x.attempt < h.attempt
    [] x.kind = "Stop"       -> h.phase \in Over \/ x.member \in h.stops
    [] x.kind \in RoundKinds -> DeadInRound(h, x)

(* Effects ----------------------------------------------------------------*)
NextAttempt(h) ==
  IF h.attempt = KeyAttempts
  THEN [h EXCEPT !.phase = "aborted", !.keys = Nobody]
  ELSE [h EXCEPT !.attempt = @ + 1, !.keys = Nobody]

FixKey(h, k) == [h EXCEPT !.phase = "running", !.key = k, !.keys = Nobody]

ReadKeyShare(h, x) ==
  LET keys == [h.keys EXCEPT ![x.member] = x.key] IN
  IF \E m \in Members : keys[m] = None THEN [h EXCEPT !.keys = keys]
  ELSE IF \A m \in Members : keys[m] = x.key THEN FixKey(h, x.key)
  ELSE NextAttempt(h)

\* The current round is over: opened with `model`, or burned when None.
EndOfRound(h, model) ==
  LET models == [h.models EXCEPT ![h.round] = model]
      opened == Cardinality({r \in 1 .. RoundLimit : models[r] # None})
  IN [h EXCEPT !.models = models, !.round = @ + 1, !.stage = "open", !.current = Fresh,
               !.phase = IF opened = Rounds \/ h.round = RoundLimit THEN "finished" ELSE @]

ReadResult(h, x) ==
  LET results == [h.current.results EXCEPT ![x.member] = x.model] IN
  IF Count(results, x.model) >= T THEN EndOfRound(h, x.model)
  ELSE IF Hopeless(results) THEN [h EXCEPT !.phase = "aborted", !.current.results = results]
  ELSE [h EXCEPT !.current.results = results]

ReadAbandon(h, x) ==
  LET votes == h.current.votes \cup {x.member} IN
  IF Cardinality(votes) >= T THEN EndOfRound(h, None) ELSE [h EXCEPT !.current.votes = votes]

ReadJoin(h, x) ==
  LET joined == h.joined \cup {x.member} IN
  [h EXCEPT !.joined = joined, !.phase = IF joined = Members THEN "keying" ELSE @]

ReadStop(h, x) ==
  LET stops == h.stops \cup {x.member} IN
  [h EXCEPT !.stops = stops, !.phase = IF Cardinality(stops) >= T THEN "aborted" ELSE @]

Effect(h, x) ==
  CASE x.kind = "Join"       -> ReadJoin(h, x)
    [] x.kind = "KeyShare"   -> ReadKeyShare(h, x)
    [] x.kind = "KeyAbandon" -> NextAttempt(h)
    [] x.kind = "Commit"     -> [h EXCEPT !.current.commits[x.member] = x.root]
    [] x.kind = "Attest"     -> [h EXCEPT !.current.attested[x.member] = @ \cup x.verified]
    [] x.kind = "Seal"       -> [h EXCEPT !.stage = "sealed", !.sealed[h.round] = CutRoots(h)]
    [] x.kind = "Abandon"    -> ReadAbandon(h, x)
    [] x.kind = "Share"      -> [h EXCEPT !.current.shares = @ \cup {x.member}]
    [] x.kind = "Result"     -> ReadResult(h, x)
    [] x.kind = "Stop"       -> ReadStop(h, x)

Read(h, x) == IF Valid(h, x) THEN Effect(h, x) ELSE h
=============================================================================
