------------------------------- MODULE Round --------------------------------
(***************************************************************************)
(* One training round after another, as a member lives them.               *)
(*                                                                         *)
(*  Idle -> Training -> Uploaded -> Committed                              *)
(*       -> Aggregating -> Releasing -> Sharing -> Combined -> Idle        *)
(*                                                                         *)
(* The first line while the round is open, the second once it is sealed;   *)
(* whoever reads the seal aggregates, contributor or not.  Every guard     *)
(* reads the member's own view of the order, which may be stale.           *)
(***************************************************************************)
EXTENDS Ledger, Storage

VARIABLES
  round,     \* durable: [Honest -> the round it is in]
  pc,        \* its control state there (volatile; Recovered after a restart)
  upload,    \* volatile: the root it uploaded, or None
  uploads,   \* uploads it made in this round: a fresh one has a fresh root
  verified,  \* volatile: members whose blob it fetched and found sound
  refused,   \* volatile: members whose blob or share proved to be wrong
  vouched,   \* durable: [Honest -> the last round whose seal it vouched for]
  heard,     \* volatile: members that it knows to vouch for the seal
  doubts,    \* durable: honest members that do not trust what they read
  accepted,  \* volatile: members whose share it checked
  released,  \* durable: [Honest -> [rounds -> the aggregate it opens, or None]]
  adopted,   \* durable: [Honest -> [rounds -> the model it adopted, or None]]
  given      \* every share an honest member ever gave: [member, round, aggregate]

vouchVars == <<vouched, heard, doubts>>
roundVars == <<round, pc, upload, uploads, verified, refused, accepted, released, adopted, given, vouchVars>>

RoundNumbers == 1 .. RoundLimit
PCs == {"Idle", "Training", "Uploaded", "Committed",
        "Aggregating", "Releasing", "Sharing", "Combined"}
BeforeSeal == {"Idle", "Training", "Uploaded", "Committed"}

\* A member that restarts trains again at most once per crash.
Roots == {Root(m, r, v) : m \in Members, r \in RoundNumbers, v \in 0 .. MaxCrashes}
         \cup {Root(m, r, v) : m \in Byzantine, r \in RoundNumbers, v \in {Bad, Poison}}

\* Deadlines are nondeterministic; a patient model never lets them pass.
AttestDeadline(m)  == TRUE    \* late commits are not waited for any longer,
ExpireDeadline(m)  == TRUE    \* nor late attestations,
OpenDeadline(m)    == TRUE    \* nor the sum to be opened

\* Byzantine members that vouch whenever it suits them.
Vouching == Byzantine

\* V: how many must vouch for the order up to the seal before a share is
\* released in it.  See module Vouching.
Vouchers(m) ==
  IF m \in doubts THEN Larger(OneHonest, (Cardinality(Members) + Colluders) \div 2 + 1) ELSE OneHonest

RoundInit ==
  /\ round = [m \in Honest |-> 1]
  /\ pc = [m \in Honest |-> "Idle"]
  /\ upload = [m \in Honest |-> None]
  /\ uploads = [m \in Honest |-> 0]
  /\ verified = [m \in Honest |-> {}]
  /\ refused = [m \in Honest |-> {}]
  /\ accepted = [m \in Honest |-> {}]
  /\ released = [m \in Honest |-> [r \in RoundNumbers |-> None]]
  /\ adopted = [m \in Honest |-> [r \in RoundNumbers |-> None]]
  /\ given = {}
  /\ vouched = [m \in Honest |-> 0]
  /\ heard = [m \in Honest |-> {}]
  /\ doubts = {}

(* What a member knows ----------------------------------------------------*)
In(m)     == up[m] /\ My(m).phase = "running" /\ My(m).round = round[m]
Open(m)   == In(m) /\ My(m).stage = "open"
Sealed(m) == In(m) /\ My(m).stage = "sealed"
EndedFor(m) == up[m] /\ round[m] < My(m).round

Aggregate(m) == My(m).sealed[round[m]]
Goto(m, s)   == pc' = [pc EXCEPT ![m] = s]

\* An honest member that attested a blob keeps it and serves it.
Keepers(owner) == {h \in Honest : up[h] /\ owner \in TheHistory.current.verified[h]}

CanFetch(root)   == Fetchable(root, root.member, Keepers(root.member))
HasVerified(m, o) == o \in verified[m]
HasRefused(m, o)  == o \in refused[m]
HasAccepted(m, o) == o \in accepted[m]
HasHeard(m, o)    == o \in heard[m]

Waits(m)   == My(m).current.waited
Opening(m) == My(m).current.opening

\* Nothing can be sealed any more.
IsLost(m) == Closed(My(m)) /\ ~CanSeal(My(m))

(* Steps while the round is open ------------------------------------------*)
Train(m) ==
  /\ Open(m) /\ pc[m] = "Idle"
  /\ m \in Waits(m)
  /\ Goto(m, "Training")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, released, adopted, given, vouchVars>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

Upload(m) ==
  /\ up[m] /\ pc[m] = "Training"
  /\ LET root == Root(m, round[m], uploads[m]) IN
       /\ Put(root)
       /\ upload' = [upload EXCEPT ![m] = root]
  /\ uploads' = [uploads EXCEPT ![m] = @ + 1]
  /\ Goto(m, "Uploaded")
  /\ UNCHANGED <<round, verified, refused, accepted, released, adopted, given, vouchVars>>
  /\ UNCHANGED <<cohortVars, ledgerVars>>

SubmitCommit(m) ==
  /\ Open(m) /\ pc[m] = "Uploaded"
  /\ m \in Waits(m)
  /\ Submit(m, Commit(m, round[m], upload[m]))
  /\ Goto(m, "Committed")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, released, adopted, given, vouchVars>>
  /\ UNCHANGED <<cohortVars, storageVars>>

\* A root names its maker; one that another member copied proves nothing.
Verify(m, o) ==
  /\ Open(m) /\ o # m
  /\ LET root == My(m).current.commits[o] IN
       root # None /\ root.member = o /\ CanFetch(root) /\ Sound(root, My(m).ranged)
  /\ verified' = [verified EXCEPT ![m] = @ \cup {o}]
  /\ UNCHANGED <<round, pc, upload, uploads, refused, accepted, released, adopted, given, vouchVars>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

Refuse(m, o) ==
  /\ Open(m) /\ o # m
  /\ LET root == My(m).current.commits[o] IN
       root # None /\ (root.member # o \/ (CanFetch(root) /\ Unsound(root, My(m).ranged)))
  /\ refused' = [refused EXCEPT ![m] = @ \cup {o}]
  /\ UNCHANGED <<round, pc, upload, uploads, verified, accepted, released, adopted, given, vouchVars>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

\* Its own blob needs no fetching.
Holds(m, o) == IF o = m THEN My(m).current.commits[m].member = m ELSE HasVerified(m, o)

\* Commits that it checked and has not spoken of yet.
Unsaid(m)     == Committed(My(m)) \ Settled(My(m), m)
Attestable(m) == {o \in Unsaid(m) : Holds(m, o)}
Refusable(m)  == {o \in Unsaid(m) : o # m /\ HasRefused(m, o)}

NobodyMissing(m) ==
  /\ Waits(m) \subseteq Committed(My(m))
  /\ \A o \in Unsaid(m) : Holds(m, o) \/ HasRefused(m, o)

AttestChoices(m) == (SUBSET Attestable(m)) \X (SUBSET Refusable(m))

SubmitAttest(m, holds, fails) ==
  /\ Open(m)
  /\ holds \subseteq Attestable(m) /\ fails \subseteq Refusable(m)
  /\ holds \cup fails # {} /\ holds \cap fails = {}
  /\ NobodyMissing(m) \/ AttestDeadline(m)
  /\ Submit(m, Attest(m, round[m], holds, fails))
  /\ UNCHANGED <<roundVars, cohortVars, storageVars>>

\* Its deadlines have passed: a vote of its own, so that no attestation cuts.
SubmitExpire(m) ==
  /\ Open(m)
  /\ ExpireDeadline(m)
  /\ m \notin My(m).current.expired
  /\ Submit(m, Expire(m, round[m]))
  /\ UNCHANGED <<roundVars, cohortVars, storageVars>>

SubmitSeal(m) ==
  /\ Open(m)
  /\ CanSeal(My(m))
  /\ Submit(m, Seal(m, round[m]))
  /\ UNCHANGED <<roundVars, cohortVars, storageVars>>

\* An open round with nothing to seal is burned.  A sealed one never is: its sum
\* is tried again, or the job ends.
SubmitAbandon(m) ==
  /\ \/ Open(m) /\ IsLost(m)
     \/ Sealed(m) /\ OpenDeadline(m)
  /\ m \notin My(m).current.votes
  /\ Submit(m, Abandon(m, round[m], Opening(m)))
  /\ UNCHANGED <<roundVars, cohortVars, storageVars>>

(* Steps once it is sealed ------------------------------------------------*)
SumUp(m) ==
  /\ Sealed(m) /\ pc[m] \in BeforeSeal
  /\ \A root \in Aggregate(m) : CanFetch(root)
  /\ Goto(m, "Aggregating")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, released, adopted, given, vouchVars>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

\* Durably, before others can hear of it: this is the order that it read.
Vouch(m) ==
  /\ Sealed(m) /\ vouched[m] < round[m]
  /\ vouched' = [vouched EXCEPT ![m] = round[m]]
  /\ UNCHANGED <<round, pc, upload, uploads, verified, refused, accepted, released, adopted, given>>
  /\ UNCHANGED <<heard, doubts, cohortVars, ledgerVars, storageVars>>

\* Of an honest member only what it said; in one order that is always the same.
Vouches(m, o) == IF o \in Byzantine THEN o \in Vouching ELSE vouched[o] >= round[m]

HearVouch(m, o) ==
  /\ Sealed(m) /\ o # m /\ Vouches(m, o)
  /\ heard' = [heard EXCEPT ![m] = @ \cup {o}]
  /\ UNCHANGED <<round, pc, upload, uploads, verified, refused, accepted, released, adopted, given>>
  /\ UNCHANGED <<vouched, doubts, cohortVars, ledgerVars, storageVars>>

\* Part of what it reads came from other members.
MayDoubt(m) == TRUE
DoubtLog(m) ==
  /\ up[m] /\ m \notin doubts /\ MayDoubt(m)
  /\ doubts' = doubts \cup {m}
  /\ UNCHANGED <<round, pc, upload, uploads, verified, refused, accepted, released, adopted, given>>
  /\ UNCHANGED <<vouched, heard, cohortVars, ledgerVars, storageVars>>

EnoughVouchers(m) ==
  /\ vouched[m] = round[m]
  /\ Cardinality({o \in Members : o = m \/ HasHeard(m, o)}) >= Vouchers(m)

\* At most one aggregate per round, for ever: the intention is durable first.
Release(m) ==
  /\ Sealed(m) /\ pc[m] = "Aggregating"
  /\ released[m][round[m]] = None
  /\ EnoughVouchers(m)
  /\ released' = [released EXCEPT ![m][round[m]] = Aggregate(m)]
  /\ Goto(m, "Releasing")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, adopted, given, vouchVars>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

SubmitShare(m) ==
  /\ Sealed(m) /\ pc[m] = "Releasing"
  /\ LET aggregate == released[m][round[m]] IN
       /\ given' = given \cup {[member |-> m, round |-> round[m], aggregate |-> aggregate]}
       /\ Submit(m, Share(m, round[m], aggregate))
  /\ Goto(m, "Sharing")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, released, adopted, vouchVars>>
  /\ UNCHANGED <<cohortVars, storageVars>>

AcceptShare(m, o) ==
  /\ Sealed(m) /\ pc[m] \notin BeforeSeal
  /\ o \in My(m).current.shares
  /\ accepted' = [accepted EXCEPT ![m] = @ \cup {o}]
  /\ UNCHANGED <<round, pc, upload, uploads, verified, refused, released, adopted, given, vouchVars>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

\* Its proof fails.  An honest member's never does.
RefuseShare(m, o) ==
  /\ Sealed(m) /\ pc[m] \notin BeforeSeal
  /\ o \in My(m).current.shares \cap Byzantine
  /\ refused' = [refused EXCEPT ![m] = @ \cup {o}]
  /\ UNCHANGED <<round, pc, upload, uploads, verified, accepted, released, adopted, given, vouchVars>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

\* The member's own partial decryption counts from SubmitShare on.
Combine(m) ==
  /\ Sealed(m) /\ pc[m] = "Sharing"
  /\ Cardinality({o \in Members : o = m \/ HasAccepted(m, o)}) >= T
  /\ Goto(m, "Combined")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, released, adopted, given, vouchVars>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

SubmitResult(m) ==
  /\ Sealed(m) /\ pc[m] = "Combined"
  /\ Cardinality(My(m).current.shares) >= T
  /\ My(m).current.results[m] = None
  /\ LET outcome == Outcome(My(m), released[m][round[m]]) IN
       Submit(m, Result(m, round[m], outcome.model, outcome.discarded))
  /\ UNCHANGED <<roundVars, cohortVars, storageVars>>

(* The end ----------------------------------------------------------------*)
Leave(m) ==
  /\ round' = [round EXCEPT ![m] = @ + 1]
  /\ pc' = [pc EXCEPT ![m] = "Idle"]
  /\ upload' = [upload EXCEPT ![m] = None]
  /\ uploads' = [uploads EXCEPT ![m] = 0]
  /\ verified' = [verified EXCEPT ![m] = {}]
  /\ refused' = [refused EXCEPT ![m] = {}]
  /\ accepted' = [accepted EXCEPT ![m] = {}]
  /\ heard' = [heard EXCEPT ![m] = {}]
  /\ UNCHANGED <<released, given, vouched, doubts, cohortVars, ledgerVars, storageVars>>

\* Fetched from a peer by the digest that T members announced.  One of them
\* is honest and serves it; that it stays reachable is an assumption.
CatchUp(m) ==
  /\ EndedFor(m) /\ My(m).models[round[m]] # None
  /\ pc[m] # "Combined"
  /\ Goto(m, "Combined")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, released, adopted, given, vouchVars>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

\* Of rounds that it missed only the last one's model must be at hand.
EndRound(m) ==
  /\ EndedFor(m) /\ My(m).models[round[m]] # None
  /\ pc[m] = "Combined" \/ \E q \in RoundNumbers : q > round[m] /\ My(m).models[q] # None
  /\ adopted' = [adopted EXCEPT ![m][round[m]] = My(m).models[round[m]]]
  /\ Leave(m)

BurnRound(m) ==
  /\ EndedFor(m) /\ My(m).models[round[m]] = None
  /\ Leave(m)
  /\ UNCHANGED adopted

(* Faults -----------------------------------------------------------------*)
\* The state a journal leads back to.
Recovered(m) ==
  IF \E x \in journal[m] : x.kind = "Share" /\ x.round = round[m] THEN "Sharing"
  ELSE IF round[m] \in RoundNumbers /\ released[m][round[m]] # None THEN "Releasing"
  ELSE IF \E x \in journal[m] : x.kind = "Commit" /\ x.round = round[m] THEN "Committed"
  ELSE "Idle"

\* What is volatile is lost; pc is only meaningful again after Restart.
LoseVolatile(m) ==
  /\ pc' = [pc EXCEPT ![m] = Recovered(m)]
  /\ upload' = [upload EXCEPT ![m] = None]
  /\ verified' = [verified EXCEPT ![m] = {}]
  /\ refused' = [refused EXCEPT ![m] = {}]
  /\ accepted' = [accepted EXCEPT ![m] = {}]
  /\ heard' = [heard EXCEPT ![m] = {}]
  /\ UNCHANGED <<round, uploads, released, adopted, given, vouched, doubts>>

Crash(m)   == CohortCrash(m) /\ LoseVolatile(m) /\ UNCHANGED <<ledgerVars, storageVars>>
Vanish(m)  == CohortVanish(m) /\ LoseVolatile(m) /\ UNCHANGED <<ledgerVars, storageVars>>
Restart(m) == CohortRestart(m) /\ UNCHANGED <<roundVars, ledgerVars, storageVars>>

(* Byzantine members ------------------------------------------------------*)
\* Shares among accomplices need no step: NoLoneUpdate counts every Byzantine
\* member as having given one for anything.  Attesting a set is attesting its
\* members one after the other.
ByzantineRecords(b, h) ==
  LET r == h.round
      own == {Root(b, r, v) : v \in {0, Bad, Poison}}
      copied == {h.current.commits[o] : o \in Committed(h)}
      outcome == Outcome(h, h.sealed[r])
  IN {Commit(b, r, root) : root \in own \cup copied}
     \cup {Attest(b, r, {o}, {}) : o \in Members} \cup {Attest(b, r, {}, {o}) : o \in Members}
     \cup {Expire(b, r), Seal(b, r), Abandon(b, r, h.current.opening)}
     \cup (IF h.stage # "sealed" THEN {}
           ELSE {Share(b, r, h.sealed[r]), Result(b, r, WrongModel, FALSE), Result(b, r, h.base, TRUE),
                 Result(b, r, outcome.model, outcome.discarded)})

\* A blob is there before its commit, or never (as good as withheld at once).
ByzantineSend(b) ==
  /\ TheHistory.phase = "running"
  /\ \E x \in ByzantineRecords(b, TheHistory) :
       /\ IncludeByzantine(x)
       /\ stored' = IF x.kind = "Commit" THEN stored \cup {x.root} ELSE stored
  /\ UNCHANGED <<withheld, roundVars, cohortVars>>

ByzantineWithhold(b) ==
  /\ b \notin withheld
  /\ Withhold(b)
  /\ UNCHANGED <<roundVars, cohortVars, ledgerVars>>

(* Steps ------------------------------------------------------------------*)
Check(m) == \E o \in Members : \/ Verify(m, o) \/ Refuse(m, o) \/ HearVouch(m, o)
                               \/ AcceptShare(m, o) \/ RefuseShare(m, o)

\* What takes an honest member to the end of its round.
Advances(m) ==
  \/ Train(m) \/ Upload(m) \/ SubmitCommit(m)
  \/ SumUp(m) \/ Vouch(m) \/ Release(m) \/ SubmitShare(m) \/ Combine(m) \/ SubmitResult(m)
  \/ CatchUp(m) \/ EndRound(m) \/ BurnRound(m)

Votes(m) ==
  \/ \E said \in AttestChoices(m) : SubmitAttest(m, said[1], said[2])
  \/ SubmitExpire(m)
  \/ SubmitSeal(m)
  \/ SubmitAbandon(m)

RoundReads(m)    == up[m] /\ Observe(m) /\ UNCHANGED <<roundVars, cohortVars, storageVars>>
RoundIncludes(m) == Include(m) /\ UNCHANGED <<roundVars, cohortVars, storageVars>>
RoundFaults(m)   == Crash(m) \/ Vanish(m) \/ DoubtLog(m)
RoundByzantine(b) == ByzantineSend(b) \/ ByzantineWithhold(b)

RoundNext ==
  \/ \E m \in Honest : \/ Check(m) \/ Advances(m) \/ Votes(m) \/ RoundReads(m)
                       \/ RoundIncludes(m) \/ RoundFaults(m) \/ Restart(m)
  \/ \E b \in Byzantine : RoundByzantine(b)
=============================================================================
