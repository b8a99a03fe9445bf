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
(* it was opened with; of the current base model, the different sets that  *)
(* were sealed from it, whatever became of them.                           *)
(*                                                                         *)
(* A root is [member, round, version]: the digest of the blob that `member`*)
(* made for `round`.  An aggregate is the set of the roots it sums.  The   *)
(* right model is a function of the aggregate, hence written as it; {} is  *)
(* any wrong one.  A sum that cannot be honest is discarded: the model     *)
(* stays as it was.                                                        *)
(***************************************************************************)
EXTENDS Cohort, Sums

Phases == {"joining", "keying", "running", "finished", "aborted"}
Over   == {"finished", "aborted"}
Stages == {"open", "sealed"}

(* Records ----------------------------------------------------------------*)
Join(m)                   == [kind |-> "Join", member |-> m]
KeyShare(m, a, k)         == [kind |-> "KeyShare", member |-> m, attempt |-> a, key |-> k]
KeyAbandon(m, a, accused) == [kind |-> "KeyAbandon", member |-> m, attempt |-> a, accused |-> accused]
Commit(m, r, root)        == [kind |-> "Commit", member |-> m, round |-> r, root |-> root]
\* Whose blobs m fetched: those that hold, and those that are what their author
\* signed and no update.  What could not be fetched is in neither.
Attest(m, r, verified, refused) ==
  [kind |-> "Attest", member |-> m, round |-> r, verified |-> verified, refused |-> refused]
Expire(m, r)              == [kind |-> "Expire", member |-> m, round |-> r]
Seal(m, r)                == [kind |-> "Seal", member |-> m, round |-> r]
Abandon(m, r, opening)    == [kind |-> "Abandon", member |-> m, round |-> r, opening |-> opening]
Share(m, r, aggregate)    == [kind |-> "Share", member |-> m, round |-> r, aggregate |-> aggregate]
Result(m, r, model, discarded) ==
  [kind |-> "Result", member |-> m, round |-> r, model |-> model, discarded |-> discarded]
Stop(m)                   == [kind |-> "Stop", member |-> m]

KeyKinds   == {"KeyShare", "KeyAbandon"}
RoundKinds == {"Commit", "Attest", "Expire", "Seal", "Abandon", "Share", "Result"}

(* Blobs and models -------------------------------------------------------*)
Root(m, r, version) == [member |-> m, round |-> r, version |-> version]
Bad                 == 9     \* the version of a blob that proves to be no update
Poison              == 8     \* of one that fails a range proof only: it spoils the sum

ModelOf(aggregate) == aggregate
WrongModel         == {}
InitialModel       == {Root(None, 0, 0)}

\* Once a sum was discarded every update carries a range proof.
Sound(root, ranged)   == root.version # Bad /\ (ranged => root.version # Poison)
Unsound(root, ranged) == ~Sound(root, ranged)

Spoilt(h, aggregate)  == \E root \in aggregate : root.version = Poison
Outcome(h, aggregate) ==
  IF Spoilt(h, aggregate) THEN [model |-> h.base, discarded |-> TRUE]
  ELSE [model |-> ModelOf(aggregate), discarded |-> FALSE]

(* Histories --------------------------------------------------------------*)
Nobody == [m \in Members |-> None]
Fresh(waited) ==
  [waited   |-> waited,                     \* whose contribution counts and is waited for
   commits  |-> Nobody,
   verified |-> [m \in Members |-> {}],     \* whose commit each member attested,
   refused  |-> [m \in Members |-> {}],     \* and refused
   expired  |-> {},                         \* whose deadlines have passed
   votes    |-> {},                         \* to give up this attempt at the round
   opening  |-> 0,                          \* attempts at opening it; 0 before the seal
   sum      |-> {},                         \* whose contributions are sealed
   shares   |-> {},
   results  |-> Nobody]

EmptyHistory ==
  [phase     |-> "joining",
   joined    |-> {},
   attempt   |-> 1,        \* the current attempt at a key
   keys      |-> Nobody,   \* what each member announced in it
   key       |-> None,     \* the joint key, once fixed
   round     |-> 1,        \* the current round; those below are over
   stage     |-> "open",
   current   |-> Fresh(Members),  \* what the current round holds
   sealed    |-> [r \in 1 .. RoundLimit |-> None],  \* the aggregate of each round
   models    |-> [r \in 1 .. RoundLimit |-> None],  \* None once over: burned
   discarded |-> {},       \* rounds whose sum was discarded
   base      |-> InitialModel,
   spent     |-> <<>>,     \* the different sets sealed from this base, oldest first
   out       |-> {},       \* members proven to have cheated: for good
   missed    |-> [m \in Members |-> 0],  \* rounds in a row without a contribution
   burned    |-> 0,        \* burned rounds in a row
   ranged    |-> FALSE,    \* must updates carry range proofs?
   stops     |-> {}]

Committed(h)  == {m \in Members : h.current.commits[m] # None}
Settled(h, m) == h.current.verified[m] \cup h.current.refused[m]
Inside(h)     == Members \ h.out

\* Members without whom no round can be opened.
Needed == Larger(Quorum, T)

\* Commits that at least T members attested.  Of T one is honest.
Attested(h) == {o \in Inside(h) : Cardinality({m \in Members : o \in h.current.verified[m]}) >= T}

(* Who is waited for ------------------------------------------------------*)
Misses    == 2   \* rounds in a row after which a member is not waited for,
Everybody == 4   \* except in every so many rounds

Waited(h, r) ==
  LET there == {m \in Inside(h) : h.missed[m] < Misses} IN
  IF r % Everybody # 0 /\ Cardinality(there) >= Needed THEN there ELSE Inside(h)

\* Members that did what a round waits for: their contribution is attested, and,
\* waited for, they said what each is that could be had.  That is one of which
\* all but as many as may collude said so: who shows its own to some only must
\* not make others look absent.
Attended(h) ==
  LET waited == h.current.waited
      could  == {o \in Attested(h) : Cardinality({m \in waited : o \in Settled(h, m)}) + Colluders
                                       >= Cardinality(waited)}
  IN {m \in Attested(h) : m \notin waited \/ could \subseteq Settled(h, m)}

(* The cut ----------------------------------------------------------------*)
\* The round takes in no more: all who are waited for said of every commit what
\* it is, or an honest member's deadlines have passed.  No single member decides.
Closed(h) ==
  \/ Committed(h) # {} /\ \A m \in h.current.waited : Committed(h) \subseteq Settled(h, m)
  \/ Cardinality(h.current.expired) >= OneHonest

\* Who is left out first where some must be, to hide others.  Where fewer than two
\* crowds contribute nobody can be: there any rank will do.
Rank(h, m) == 0

Cut(h) ==
  IF ~Closed(h) THEN {}
  ELSE NextSum(h.spent, Attested(h), h.out, Quorum, Crowd, LAMBDA m : Rank(h, m))
CanSeal(h) == Cut(h) # {}

Count(f, v) == Cardinality({m \in Members : f[m] = v})

\* Is it certain that no outcome will be announced by T members?
Hopeless(h, results) ==
  LET silent == Cardinality({m \in Inside(h) : results[m] = None}) IN
  /\ \A m \in Members : results[m] # None => Count(results, results[m]) + silent < T
  /\ silent < T

(* Validity ---------------------------------------------------------------*)
ValidAttest(h, x) ==
  LET said == x.verified \cup x.refused IN
  /\ said # {} /\ x.verified \cap x.refused = {}
  /\ said \subseteq Committed(h) \cup h.out
  /\ said \cap Settled(h, x.member) = {}

ValidInRound(h, x) ==
  LET now == h.current IN
  /\ h.phase = "running"
  /\ x.round = h.round
  /\ CASE x.kind = "Commit"  -> /\ h.stage = "open"
                                /\ x.member \in now.waited
                                /\ now.commits[x.member] = None
       [] x.kind = "Attest"  -> h.stage = "open" /\ ValidAttest(h, x)
       [] x.kind = "Expire"  -> h.stage = "open" /\ x.member \notin now.expired
       [] x.kind = "Seal"    -> h.stage = "open" /\ CanSeal(h)
       [] x.kind = "Abandon" -> x.opening = now.opening /\ x.member \notin now.votes
       [] x.kind = "Share"   -> /\ h.stage = "sealed"
                                /\ x.aggregate = h.sealed[h.round]
                                /\ x.member \notin now.shares
       [] x.kind = "Result"  -> /\ h.stage = "sealed"
                                /\ Cardinality(now.shares) >= T
                                /\ now.results[x.member] = None
                                /\ x.discarded => x.model = h.base

Valid(h, x) ==
  /\ x.member \notin h.out
  /\ CASE x.kind = "Join"       -> h.phase = "joining" /\ x.member \notin h.joined
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
     /\ CASE x.kind = "Commit"  -> \/ h.stage = "sealed"
                                   \/ x.member \notin now.waited
                                   \/ now.commits[x.member] # None
          [] x.kind = "Attest"  -> \/ h.stage = "sealed"
                                   \/ (x.verified \cup x.refused) \cap Settled(h, x.member) # {}
          [] x.kind = "Expire"  -> h.stage = "sealed" \/ x.member \in now.expired
          [] x.kind = "Seal"    -> h.stage = "sealed"
          [] x.kind = "Abandon" -> \/ x.opening < now.opening
                                   \/ x.opening = now.opening /\ x.member \in now.votes
          [] x.kind = "Share"   -> /\ h.stage = "sealed"
                                   /\ x.aggregate # h.sealed[h.round] \/ x.member \in now.shares
          [] x.kind = "Result"  -> \/ now.results[x.member] # None
                                   \/ x.discarded /\ x.model # h.base

Dead(h, x) ==
  \/ x.member \in h.out
  \/ CASE x.kind = "Join"       -> h.phase # "joining" \/ x.member \in h.joined
       [] x.kind = "KeyShare"   -> \/ h.phase \notin {"joining", "keying"} \/ x.attempt < h.attempt
                                   \/ h.phase = "keying" /\ x.attempt = h.attempt /\ h.keys[x.member] # None
       [] x.kind = "KeyAbandon" -> h.phase \notin {"joining", "keying"} \/ x.attempt < h.attempt
       [] x.kind = "Stop"       -> h.phase \in Over \/ x.member \in h.stops
       [] x.kind \in RoundKinds -> DeadInRound(h, x)

(* Effects ----------------------------------------------------------------*)
Abort(h) == [h EXCEPT !.phase = "aborted"]

NextAttempt(h) ==
  IF h.attempt = KeyAttempts THEN Abort([h EXCEPT !.keys = Nobody])
  ELSE [h EXCEPT !.attempt = @ + 1, !.keys = Nobody]

FixKey(h, k) == [h EXCEPT !.phase = "running", !.key = k, !.keys = Nobody]

ReadKeyShare(h, x) ==
  LET keys == [h.keys EXCEPT ![x.member] = x.key] IN
  IF \E m \in Members : keys[m] = None THEN [h EXCEPT !.keys = keys]
  ELSE IF \A m \in Members : keys[m] = x.key THEN FixKey(h, x.key)
  ELSE NextAttempt(h)

\* Whoever signed a commit that enough members refuse is out: one of them is
\* honest, and anybody can check.
ReadAttest(h, x) ==
  LET said == [h EXCEPT !.current.verified[x.member] = @ \cup x.verified,
                        !.current.refused[x.member] = @ \cup x.refused]
      culprits == {o \in Committed(h) :
                     Cardinality({m \in Members : o \in said.current.refused[m]}) >= Larger(T, OneHonest)}
      next == [said EXCEPT !.out = @ \cup culprits,
                           !.current.waited = @ \ culprits,
                           !.current.commits = [m \in Members |-> IF m \in culprits THEN None ELSE @[m]]]
  IN IF culprits # {} /\ Cardinality(Inside(next)) < Needed THEN Abort(next) ELSE next

\* From here on the sum counts as opened, whatever becomes of it.
ReadSeal(h) ==
  LET sum == Cut(h) IN
  [h EXCEPT !.stage = "sealed",
            !.sealed[h.round] = {h.current.commits[o] : o \in sum},
            !.spent = Spend(@, sum),
            !.current.sum = sum, !.current.opening = 1, !.current.votes = {}]

\* The current round is over: opened with `model`, or burned when None.
EndOfRound(h, model, discarded) ==
  LET models == [h.models EXCEPT ![h.round] = model]
      spoilt == IF discarded THEN h.discarded \cup {h.round} ELSE h.discarded
      opened == Cardinality({r \in 1 .. RoundLimit : models[r] # None} \ spoilt)
      base   == IF model = None THEN h.base ELSE model
      there  == Attended(h)
      next   == [h EXCEPT
        !.models = models, !.discarded = spoilt, !.base = base,
        !.spent = IF base = h.base THEN @ ELSE <<>>,
        !.missed = [m \in Members |-> IF m \in there \cup h.out THEN 0
                                      ELSE IF @[m] < Misses THEN @[m] + 1 ELSE Misses],
        !.burned = IF model = None THEN @ + 1 ELSE 0,
        !.ranged = @ \/ discarded,
        !.round = @ + 1, !.stage = "open",
        !.phase = IF opened = Rounds \/ h.round = RoundLimit THEN "finished" ELSE @]
  \* A sum of proven ranges is out of range: somebody decrypts what it should not.
  IN IF discarded /\ h.ranged THEN Abort(next)
     ELSE [next EXCEPT !.current = Fresh(Waited(next, next.round))]

Burn(h) ==
  LET next == EndOfRound(h, None, FALSE) IN
  IF next.phase = "running" /\ next.burned >= MaxBurned THEN Abort(next) ELSE next

\* The same sum, once more: another one could be subtracted from it.
OpenAgain(h) ==
  IF h.current.opening < MaxOpenings
  THEN [h EXCEPT !.current.opening = @ + 1, !.current.votes = {}]
  ELSE Abort(h)

ReadAbandon(h, x) ==
  LET votes == h.current.votes \cup {x.member} IN
  IF Cardinality(votes) < OneHonest THEN [h EXCEPT !.current.votes = votes]
  ELSE IF h.stage = "open" THEN Burn(h)
  ELSE OpenAgain(h)

ReadResult(h, x) ==
  LET outcome == [model |-> x.model, discarded |-> x.discarded]
      results == [h.current.results EXCEPT ![x.member] = outcome]
  IN IF Count(results, outcome) >= T THEN EndOfRound(h, x.model, x.discarded)
     ELSE IF Hopeless(h, results) THEN Abort([h EXCEPT !.current.results = results])
     ELSE [h EXCEPT !.current.results = results]

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
    [] x.kind = "Attest"     -> ReadAttest(h, x)
    [] x.kind = "Expire"     -> [h EXCEPT !.current.expired = @ \cup {x.member}]
    [] x.kind = "Seal"       -> ReadSeal(h)
    [] x.kind = "Abandon"    -> ReadAbandon(h, x)
    [] x.kind = "Share"      -> [h EXCEPT !.current.shares = @ \cup {x.member}]
    [] x.kind = "Result"     -> ReadResult(h, x)
    [] x.kind = "Stop"       -> ReadStop(h, x)

Read(h, x) == IF Valid(h, x) THEN Effect(h, x) ELSE h
=============================================================================
