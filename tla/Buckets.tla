------------------------------ MODULE Buckets -------------------------------
(***************************************************************************)
(* Each member's bucket, with its outages, and the copies that verifiers   *)
(* keep and serve.  This module justifies Storage's Fetchable: an object   *)
(* that enough members attested can be fetched, whatever its owner does.   *)
(***************************************************************************)
EXTENDS Naturals, FiniteSets

CONSTANTS
  Owners,     \* members, each with a bucket
  Objects,    \* the owners of the objects looked at, one each
  Crooked,    \* those among them that may remove their object
  Attesters,  \* how many must attest: more than there are crooked ones
  Losses      \* how many honest members may vanish with their copies

ASSUME Attesters > Cardinality(Crooked) + Losses

Straight == Owners \ Crooked

VARIABLES
  content,    \* [Owners -> "none", "sound", "removed"]
  offline,    \* honest owners whose bucket cannot be reached for a while
  copies,     \* [Straight -> objects, by owner, that it verified and keeps]
  attested,   \* [Owners -> members that attested its object]
  lost,       \* honest members that vanished
  fetched     \* [Straight -> objects it fetched for the sum]

bucketVars == <<content, offline, copies, attested, lost, fetched>>

BucketsInit ==
  /\ content = [o \in Owners |-> "none"]
  /\ offline = {} /\ lost = {}
  /\ copies = [m \in Straight |-> {}]
  /\ attested = [o \in Owners |-> {}]
  /\ fetched = [m \in Straight |-> {}]

PutObject(o) ==
  /\ content[o] = "none" /\ o \notin lost
  /\ content' = [content EXCEPT ![o] = "sound"]
  /\ UNCHANGED <<offline, copies, attested, lost, fetched>>

\* An honest member's object outlives it: a bucket is not its owner's machine.
Served(o) ==
  \/ content[o] = "sound" /\ o \notin offline
  \/ \E m \in Straight \ lost : o \in copies[m]

AttestObject(m, o) ==
  /\ m \notin lost /\ Served(o)
  /\ copies' = [copies EXCEPT ![m] = @ \cup {o}]
  /\ attested' = [attested EXCEPT ![o] = @ \cup {m}]
  /\ UNCHANGED <<content, offline, lost, fetched>>

\* A crooked member attests what it likes and keeps nothing.
AttestUnseen(c, o) ==
  /\ attested' = [attested EXCEPT ![o] = @ \cup {c}]
  /\ UNCHANGED <<content, offline, copies, lost, fetched>>

RemoveObject(c) ==
  /\ content[c] = "sound"
  /\ content' = [content EXCEPT ![c] = "removed"]
  /\ UNCHANGED <<offline, copies, attested, lost, fetched>>

Outage(o) ==
  /\ offline' = (IF o \in offline THEN offline \ {o} ELSE offline \cup {o})
  /\ UNCHANGED <<content, copies, attested, lost, fetched>>

VanishWithCopies(m) ==
  /\ m \notin lost /\ Cardinality(lost) < Losses
  /\ lost' = lost \cup {m}
  /\ UNCHANGED <<content, offline, copies, attested, fetched>>

Enough(o) == Cardinality(attested[o]) >= Attesters

Fetch(m, o) ==
  /\ m \notin lost /\ Enough(o) /\ Served(o)
  /\ fetched' = [fetched EXCEPT ![m] = @ \cup {o}]
  /\ UNCHANGED <<content, offline, copies, attested, lost>>

BucketsNext ==
  \/ \E o \in Objects : PutObject(o)
  \/ \E m \in Straight, o \in Objects : AttestObject(m, o) \/ Fetch(m, o)
  \/ \E c \in Crooked : RemoveObject(c) \/ \E o \in Objects : AttestUnseen(c, o)
  \/ \E o \in Straight \cap Objects : Outage(o)
  \/ \E m \in Straight : VanishWithCopies(m)

BucketsSpec == BucketsInit /\ [][BucketsNext]_bucketVars

\* An outage ends often enough to fetch: strong fairness, as it comes back.
BucketsFair == \A m \in Straight, o \in Objects : SF_bucketVars(Fetch(m, o))

(* Properties -------------------------------------------------------------*)
BucketsTypeOK ==
  /\ content \in [Owners -> {"none", "sound", "removed"}]
  /\ copies \in [Straight -> SUBSET Owners] /\ fetched \in [Straight -> SUBSET Owners]
  /\ attested \in [Owners -> SUBSET Owners]

\* What enough members attested was there, and somebody honest still has it.
AttestedIsKept ==
  \A o \in Owners : Enough(o) => content[o] # "none" /\ \E m \in Straight \ lost : o \in copies[m]

\* An object appears once and never changes but by being removed.
ObjectsStay ==
  [][\A o \in Owners : content[o] # "none" =>
       content'[o] = content[o] \/ (o \in Crooked /\ content'[o] = "removed")]_bucketVars

\* What enough members attested is fetched by everyone who stays.
AttestedIsFetched ==
  \A m \in Straight, o \in Objects : Enough(o) ~> (m \in lost \/ o \in fetched[m])
=============================================================================
