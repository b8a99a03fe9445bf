------------------------------- MODULE MCSums -------------------------------
(***************************************************************************)
(* Every choice of who is attested when, from one base model: what Sums    *)
(* computes one seal after another, as a history does.  Members are their  *)
(* own rank.                                                               *)
(***************************************************************************)
EXTENDS Sums

CONSTANTS Members, Byzantine, Quorum, Crowd

VARIABLES
  spent,     \* the different sums sealed so far, oldest first
  out        \* those that are proven to have cheated

vars == <<spent, out>>

Honest  == Members \ Byzantine
Rank(m) == m
Of(A)   == NextSum(spent, A, out, Quorum, Crowd, Rank)

Init == spent = <<>> /\ out = {}

Seal(A) ==
  /\ Of(A) # {}
  /\ spent' = Spend(spent, Of(A))
  /\ UNCHANGED out

Prove(b) == out' = out \cup {b} /\ UNCHANGED spent

Next == \/ \E A \in SUBSET (Members \ out) : Seal(A)
        \/ \E b \in Byzantine : Prove(b)
Spec == Init /\ [][Next]_vars

(* Properties -------------------------------------------------------------*)
\* Nothing is summed that was not attested.
OnlyAttested == \A A \in SUBSET (Members \ out) : Of(A) \subseteq A

Sums == {spent[k] : k \in 1 .. Len(spent)}

\* Whatever is subtracted from whatever, no honest member is alone among those
\* that do not collude.
NobodyAlone ==
  \A m \in Honest \cap UNION Sums : Cardinality(Atom(Sums, m) \cap Honest) >= 2

\* Where the same members contribute again their sum can be sealed again: who
\* comes and goes cannot stop them.
SameAgain ==
  \A A \in SUBSET (Members \ out) : \A k \in 1 .. Len(spent) :
    LET same == spent[k] \ out IN
    same \subseteq A /\ Cardinality(same) >= Quorum => Of(A) # {}

\* Reach: a second sum that differs.
NeverTwo == Len(spent) < 2
=============================================================================
