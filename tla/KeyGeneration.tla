--------------------------- MODULE KeyGeneration ----------------------------
(***************************************************************************)
(* Attempts at a joint key, of which each member holds one share.          *)
(*                                                                         *)
(* The computation between the members is abstracted to its outcome: in an *)
(* attempt a member ends up with a share of some key, the same key as the  *)
(* others unless somebody cheated.  The order decides: a key that all      *)
(* announced is fixed, anything else is another attempt or the job's end.  *)
(***************************************************************************)
EXTENDS Ledger

VARIABLES
  begun,      \* durable: [Honest -> the attempt it last took part in, or 0]
  held,       \* durable: [Honest -> shares, each of an attempt and a key]
  keyed       \* durable: [Honest -> the key it adopted, or None]

keyVars == <<begun, held, keyed>>

Attempts        == 1 .. KeyAttempts
Key(a, version) == [attempt |-> a, version |-> version]

\* Byzantine members can make members derive different keys.
Keys(a) == {Key(a, 0)} \cup (IF Byzantine = {} THEN {} ELSE {Key(a, 1)})

KeyDeadline(m) == TRUE

KeyInit ==
  /\ begun = [m \in Honest |-> 0]
  /\ held = [m \in Honest |-> {}]
  /\ keyed = [m \in Honest |-> None]

Keying(m) == up[m] /\ My(m).phase = "keying"

\* Once, across crashes: what it said in an attempt it cannot say differently.
BeginKey(m) ==
  /\ Keying(m) /\ begun[m] < My(m).attempt
  /\ begun' = [begun EXCEPT ![m] = My(m).attempt]
  /\ UNCHANGED <<held, keyed, cohortVars, ledgerVars>>

\* Durable before anything is announced, one per attempt.
HoldShare(m, k) ==
  /\ Keying(m) /\ begun[m] = My(m).attempt
  /\ \A share \in held[m] : share.attempt # begun[m]
  /\ held' = [held EXCEPT ![m] = @ \cup {[attempt |-> begun[m], key |-> k]}]
  /\ UNCHANGED <<begun, keyed, cohortVars, ledgerVars>>

SubmitKeyShare(m, k) ==
  /\ Keying(m) /\ My(m).keys[m] = None
  /\ [attempt |-> My(m).attempt, key |-> k] \in held[m]
  /\ Submit(m, KeyShare(m, My(m).attempt, k))
  /\ UNCHANGED <<keyVars, cohortVars>>

\* With evidence against somebody, or because it waited long enough.
SubmitKeyAbandon(m, accused) ==
  /\ Keying(m)
  /\ accused \in Byzantine \/ (accused = None /\ KeyDeadline(m))
  /\ Submit(m, KeyAbandon(m, My(m).attempt, accused))
  /\ UNCHANGED <<keyVars, cohortVars>>

\* Shares of other attempts are destroyed.
AdoptKey(m) ==
  /\ up[m] /\ keyed[m] = None
  /\ LET k == My(m).key IN
       /\ k # None
       /\ \E share \in held[m] : share.key = k
       /\ keyed' = [keyed EXCEPT ![m] = k]
       /\ held' = [held EXCEPT ![m] = {share \in @ : share.key = k}]
  /\ UNCHANGED <<begun, cohortVars, ledgerVars>>

ByzantineKeySend(b) ==
  /\ TheHistory.phase = "keying"
  /\ LET a == TheHistory.attempt IN
       \/ \E k \in Keys(a) : IncludeByzantine(KeyShare(b, a, k))
       \/ \E accused \in Members \cup {None} : IncludeByzantine(KeyAbandon(b, a, accused))
  /\ UNCHANGED <<keyVars, cohortVars>>

KeySteps(m) ==
  \/ BeginKey(m) \/ AdoptKey(m)
  \/ \E a \in Attempts : \E k \in Keys(a) : (begun[m] = a /\ HoldShare(m, k)) \/ SubmitKeyShare(m, k)
  \/ \E accused \in Byzantine \cup {None} : SubmitKeyAbandon(m, accused)

(* Properties -------------------------------------------------------------*)
KeyTypeOK ==
  /\ begun \in [Honest -> 0 .. KeyAttempts]
  /\ \A m \in Honest : \A share \in held[m] : share.key.attempt \in Attempts
  /\ TheHistory.attempt \in Attempts

\* Once the order fixes a key every honest member durably holds a share of it.
KeyHeld ==
  TheHistory.key # None =>
    \A m \in Honest : \E share \in held[m] : share.key = TheHistory.key

\* Members adopt one key, the one that the order fixed.
KeyAgreement == \A m \in Honest : keyed[m] # None => keyed[m] = TheHistory.key

\* An honest member never holds shares of two keys from one attempt.
OneSharePerAttempt ==
  \A m \in Honest : \A s, t \in held[m] : s.attempt = t.attempt => s = t

\* What it announced in the order is in its journal.
KeyDurability ==
  \A m \in Honest : TheHistory.keys[m] # None =>
    KeyShare(m, TheHistory.attempt, TheHistory.keys[m]) \in journal[m]

\* No honest member accuses an honest one.
KeyAccountability ==
  \A m \in Honest : \A x \in journal[m] : x.kind = "KeyAbandon" => x.accused \in Byzantine \cup {None}

\* A key is fixed, and adopted by whoever stays, or the job aborts.
KeyProgress ==
  \A m \in Honest : <>[](m \in gone \/ keyed[m] # None \/ My(m).phase = "aborted")
=============================================================================
