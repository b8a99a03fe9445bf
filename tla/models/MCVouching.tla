----------------------------- MODULE MCVouching -----------------------------
EXTENDS Vouching, TLC
Spec     == VouchSpec
FairSpec == VouchSpec /\ VouchFair

Symmetric == Permutations(Victims \cap Doubting) \cup Permutations(Honest \ (Victims \cup Doubting))

\* Reach: members release in a log that was lost; two vouch for logs that differ.
NeverLost == ~(closed /\ ~IsSealed(chain) /\ \E m \in Honest : released[m] # None)
NeverForked == \A m, n \in Honest : \A one \in said[m], other \in said[n] :
                 Continues(one, other) \/ Continues(other, one)
=============================================================================
