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
  refused,   \* members whose blob or share it refused, with the evidence
  accepted,  \* volatile: members whose share it checked
  released,  \* durable: [Honest -> [rounds -> the aggregate it opens, or None]]
  adopted,   \* durable: [Honest -> [rounds -> the model it adopted, or None]]
  given      \* every share an honest member ever gave: [member, round, aggregate]

roundVars == <<round, pc, upload, uploads, verified, refused, accepted, released, adopted, given>>

RoundNumbers == 1 .. RoundLimit
PCs == {"Idle", "Training", "Uploaded", "Committed",
        "Aggregating", "Releasing", "Sharing", "Combined"}
BeforeSeal == {"Idle", "Training", "Uploaded", "Committed"}

\* Blobs.  Whether one is sound is a fact about its content, hence its root.
Root(m, r, version) == [member |-> m, round |-> r, version |-> version]
Bad                 == 9     \* the version of a Byzantine member's unsound blob
Sound(root)         == root.version # Bad
Unsound(root)       == root.version = Bad

\* A member that restarts trains again at most once per crash.
Roots == {Root(m, r, v) : m \in Members, r \in RoundNumbers, v \in 0 .. MaxCrashes}
         \cup {Root(m, r, Bad) : m \in Byzantine, r \in RoundNumbers}

\* Deadlines are nondeterministic; a patient model never lets them pass.
SealDeadline(m)    == TRUE
AbandonDeadline(m) == TRUE

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

(* What a member knows ----------------------------------------------------*)
In(m)     == up[m] /\ My(m).phase = "running" /\ My(m).round = round[m]
Open(m)   == In(m) /\ My(m).stage = "open"
Sealed(m) == In(m) /\ My(m).stage = "sealed"
EndedFor(m) == up[m] /\ round[m] < My(m).round

Aggregate(m) == My(m).sealed[round[m]]
Goto(m, s)   == pc' = [pc EXCEPT ![m] = s]

\* An honest member that attested a blob keeps it and serves it.
Keepers(owner) == {h \in Honest : up[h] /\ owner \in TheHistory.current.attested[h]}

CanFetch(root)   == Fetchable(root, root.member, Keepers(root.member))
HasVerified(m, o) == o \in verified[m]
HasAccepted(m, o) == o \in accepted[m]

\* A shorter prefix of the order may not show enough attestations.
CannotSeal(m) == ~CanSeal(My(m))

(* Steps while the round is open ------------------------------------------*)
Train(m) ==
  /\ Open(m) /\ pc[m] = "Idle"
  /\ Goto(m, "Training")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, released, adopted, given>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

Upload(m) ==
  /\ up[m] /\ pc[m] = "Training"
  /\ LET root == Root(m, round[m], uploads[m]) IN
       /\ Put(root)
       /\ upload' = [upload EXCEPT ![m] = root]
  /\ uploads' = [uploads EXCEPT ![m] = @ + 1]
  /\ Goto(m, "Uploaded")
  /\ UNCHANGED <<round, verified, refused, accepted, released, adopted, given>>
  /\ UNCHANGED <<cohortVars, ledgerVars>>

SubmitCommit(m) ==
  /\ Open(m) /\ pc[m] = "Uploaded"
  /\ Submit(m, Commit(m, round[m], upload[m]))
  /\ Goto(m, "Committed")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, released, adopted, given>>
  /\ UNCHANGED <<cohortVars, storageVars>>

\* A root names its maker; one that another member copied proves nothing.
Verify(m, o) ==
  /\ Open(m) /\ o # m
  /\ LET root == My(m).current.commits[o] IN
       root # None /\ root.member = o /\ CanFetch(root) /\ Sound(root)
  /\ verified' = [verified EXCEPT ![m] = @ \cup {o}]
  /\ UNCHANGED <<round, pc, upload, uploads, refused, accepted, released, adopted, given>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

Refuse(m, o) ==
  /\ Open(m) /\ o # m
  /\ LET root == My(m).current.commits[o] IN
       root # None /\ (root.member # o \/ (CanFetch(root) /\ Unsound(root)))
  /\ refused' = [refused EXCEPT ![m] = @ \cup {o}]
  /\ UNCHANGED <<round, pc, upload, uploads, verified, accepted, released, adopted, given>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

\* Its own blob needs no fetching.
Attestable(m) ==
  LET h == My(m) IN
  {o \in Committed(h) : (IF o = m THEN h.current.commits[m].member = m ELSE HasVerified(m, o))}
    \ h.current.attested[m]

AttestChoices(m) == (SUBSET Attestable(m)) \ {{}}

SubmitAttest(m, set) ==
  /\ Open(m)
  /\ set # {} /\ set \subseteq Attestable(m)
  /\ Submit(m, Attest(m, round[m], set))
  /\ UNCHANGED <<roundVars, cohortVars, storageVars>>

EveryoneAttested(m) == \A o \in Members : My(m).current.attested[o] # {}

SubmitSeal(m) ==
  /\ Open(m)
  /\ CanSeal(My(m))
  /\ EveryoneAttested(m) \/ SealDeadline(m)
  /\ Submit(m, Seal(m, round[m]))
  /\ UNCHANGED <<roundVars, cohortVars, storageVars>>

\* Also once sealed: the blobs of the sealed set may have vanished for good.
SubmitAbandon(m) ==
  /\ \/ Open(m) /\ CannotSeal(m)
     \/ Sealed(m)
  /\ AbandonDeadline(m)
  /\ m \notin My(m).current.votes
  /\ Submit(m, Abandon(m, round[m]))
  /\ UNCHANGED <<roundVars, cohortVars, storageVars>>

(* Steps once it is sealed ------------------------------------------------*)
SumUp(m) ==
  /\ Sealed(m) /\ pc[m] \in BeforeSeal
  /\ \A root \in Aggregate(m) : CanFetch(root)
  /\ Goto(m, "Aggregating")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, released, adopted, given>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

\* At most one aggregate per round, for ever: the intention is durable first.
Release(m) ==
  /\ Sealed(m) /\ pc[m] = "Aggregating"
  /\ released[m][round[m]] = None
  /\ released' = [released EXCEPT ![m][round[m]] = Aggregate(m)]
  /\ Goto(m, "Releasing")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, adopted, given>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

SubmitShare(m) ==
  /\ Sealed(m) /\ pc[m] = "Releasing"
  /\ LET aggregate == released[m][round[m]] IN
       /\ given' = given \cup {[member |-> m, round |-> round[m], aggregate |-> aggregate]}
       /\ Submit(m, Share(m, round[m], aggregate))
  /\ Goto(m, "Sharing")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, released, adopted>>
  /\ UNCHANGED <<cohortVars, storageVars>>

AcceptShare(m, o) ==
  /\ Sealed(m) /\ pc[m] \notin BeforeSeal
  /\ o \in My(m).current.shares
  /\ accepted' = [accepted EXCEPT ![m] = @ \cup {o}]
  /\ UNCHANGED <<round, pc, upload, uploads, verified, refused, released, adopted, given>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

\* Its proof fails.  An honest member's never does.
RefuseShare(m, o) ==
  /\ Sealed(m) /\ pc[m] \notin BeforeSeal
  /\ o \in My(m).current.shares \cap Byzantine
  /\ refused' = [refused EXCEPT ![m] = @ \cup {o}]
  /\ UNCHANGED <<round, pc, upload, uploads, verified, accepted, released, adopted, given>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

\* The member's own partial decryption counts from SubmitShare on.
Combine(m) ==
  /\ Sealed(m) /\ pc[m] = "Sharing"
  /\ Cardinality({o \in Members : o = m \/ HasAccepted(m, o)}) >= T
  /\ Goto(m, "Combined")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, released, adopted, given>>
  /\ UNCHANGED <<cohortVars, ledgerVars, storageVars>>

SubmitResult(m) ==
  /\ Sealed(m) /\ pc[m] = "Combined"
  /\ Cardinality(My(m).current.shares) >= T
  /\ My(m).current.results[m] = None
  /\ Submit(m, Result(m, round[m], ModelOf(released[m][round[m]])))
  /\ UNCHANGED <<roundVars, cohortVars, storageVars>>

(* The end ----------------------------------------------------------------*)
Leave(m) ==
  /\ round' = [round EXCEPT ![m] = @ + 1]
  /\ pc' = [pc EXCEPT ![m] = "Idle"]
  /\ upload' = [upload EXCEPT ![m] = None]
  /\ uploads' = [uploads EXCEPT ![m] = 0]
  /\ verified' = [verified EXCEPT ![m] = {}]
  /\ accepted' = [accepted EXCEPT ![m] = {}]
  /\ UNCHANGED <<refused, released, given, cohortVars, ledgerVars, storageVars>>

\* Fetched from a peer by the digest that T members announced.  One of them
\* is honest and serves it; that it stays reachable is an assumption.
CatchUp(m) ==
  /\ EndedFor(m) /\ My(m).models[round[m]] # None
  /\ pc[m] # "Combined"
  /\ Goto(m, "Combined")
  /\ UNCHANGED <<round, upload, uploads, verified, refused, accepted, released, adopted, given>>
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
  /\ accepted' = [accepted EXCEPT ![m] = {}]
  /\ UNCHANGED <<round, uploads, refused, released, adopted, given>>

Crash(m)   == CohortCrash(m) /\ LoseVolatile(m) /\ UNCHANGED <<ledgerVars, storageVars>>
Vanish(m)  == CohortVanish(m) /\ LoseVolatile(m) /\ UNCHANGED <<ledgerVars, storageVars>>
Restart(m) == CohortRestart(m) /\ UNCHANGED <<roundVars, ledgerVars, storageVars>>

(* Byzantine members ------------------------------------------------------*)
\* Shares among accomplices need no step: NoLoneUpdate counts every Byzantine
\* member as having given one for anything.  Attesting a set is attesting its
\* members one after the other.
ByzantineRecords(b, h) ==
  LET r == h.round
      own == {Root(b, r, v) : v \in {0, Bad}}
      copied == {h.current.commits[o] : o \in Committed(h)}
  IN {Commit(b, r, root) : root \in own \cup copied}
     \cup {Attest(b, r, {o}) : o \in Members}
     \cup {Seal(b, r), Abandon(b, r)}
     \cup {Share(b, r, h.sealed[q]) : q \in {r} \cap RoundNumbers}
     \cup {Result(b, r, model) : model \in {WrongModel} \cup
             {ModelOf(h.sealed[q]) : q \in {q \in {r} \cap RoundNumbers : h.sealed[q] # None}}}

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
Check(m) == \E o \in Members : Verify(m, o) \/ Refuse(m, o) \/ AcceptShare(m, o) \/ RefuseShare(m, o)

\* What takes an honest member to the end of its round.
Advances(m) ==
  \/ Train(m) \/ Upload(m) \/ SubmitCommit(m)
  \/ SumUp(m) \/ Release(m) \/ SubmitShare(m) \/ Combine(m) \/ SubmitResult(m)
  \/ CatchUp(m) \/ EndRound(m) \/ BurnRound(m)

Votes(m) ==
  \/ \E set \in AttestChoices(m) : SubmitAttest(m, set)
  \/ SubmitSeal(m)
  \/ SubmitAbandon(m)

RoundReads(m)    == up[m] /\ Observe(m) /\ UNCHANGED <<roundVars, cohortVars, storageVars>>
RoundIncludes(m) == Include(m) /\ UNCHANGED <<roundVars, cohortVars, storageVars>>
RoundFaults(m)   == Crash(m) \/ Vanish(m)
RoundByzantine(b) == ByzantineSend(b) \/ ByzantineWithhold(b)

RoundNext ==
  \/ \E m \in Honest : \/ Check(m) \/ Advances(m) \/ Votes(m) \/ RoundReads(m)
                       \/ RoundIncludes(m) \/ RoundFaults(m) \/ Restart(m)
  \/ \E b \in Byzantine : RoundByzantine(b)
=============================================================================
