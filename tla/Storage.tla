------------------------------ MODULE Storage -------------------------------
(***************************************************************************)
(* Buckets of immutable objects.                                           *)
(*                                                                         *)
(* An object is named by a digest of its content, so what can be fetched   *)
(* under a name never changes; a bucket can only refuse to serve it.  That *)
(* honest buckets are unavailable for a while is covered by nobody being   *)
(* forced to fetch now; module Buckets has outages and re-serving in full. *)
(* A Byzantine owner may withhold its objects for good, from then on.      *)
(***************************************************************************)
EXTENDS Naturals, FiniteSets

VARIABLES
  stored,     \* objects ever put completely
  withheld    \* Byzantine owners whose buckets no longer serve

storageVars == <<stored, withheld>>

StorageInit == stored = {} /\ withheld = {}

Put(object)     == stored' = stored \cup {object} /\ UNCHANGED withheld
Withhold(owner) == withheld' = withheld \cup {owner} /\ UNCHANGED stored

\* From the owner's bucket, or from a member that verified it and kept it.
Fetchable(object, owner, keepers) ==
  /\ object \in stored
  /\ owner \notin withheld \/ keepers # {}

Immutable == [][stored \subseteq stored']_storageVars
=============================================================================
