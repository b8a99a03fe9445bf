-------------------------------- MODULE Sums --------------------------------
(***************************************************************************)
(* Which contributions a seal sums: computed, chosen by nobody.            *)
(*                                                                         *)
(* Two sums of updates that were made from one base model can be           *)
(* subtracted from each other, so of all sums from one base the members    *)
(* fall into atoms: those that are in exactly the same sums.  An atom is   *)
(* empty or holds a crowd: so many that nobody in it is alone, though the  *)
(* colluders in it tell all.  There are at most two different sums.        *)
(*                                                                         *)
(* Here a sum is its set of members, `earlier` are the different ones that *)
(* were sealed from this base, oldest first, and `culprits` are members    *)
(* whose own signature proves that they cheated: only they may be left out *)
(* of the count, never those that are merely silent.                       *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets

MaxSums == 2

\* The `number` members of `set` that Rank puts first.
First(set, number, Rank(_)) ==
  {x \in set : Cardinality({y \in set : Rank(y) < Rank(x)}) < number}

IsCrowd(set, crowd) == set = {} \/ Cardinality(set) >= crowd

Hides(one, other, crowd) ==
  /\ IsCrowd(one \cap other, crowd)
  /\ IsCrowd(one \ other, crowd)
  /\ IsCrowd(other \ one, crowd)

RECURSIVE Without(_, _)
Without(sums, culprits) ==
  IF sums = <<>> THEN <<>>
  ELSE LET sum  == Head(sums) \ culprits
           rest == Without(Tail(sums), culprits)
       IN <<sum>> \o SelectSeq(rest, LAMBDA other : other # sum)

\* The second sum: the first, less those that are missing and as many others
\* as hide them, and newcomers if there are enough of them.
Second(one, attested, crowd, Rank(_)) ==
  LET missing == one \ attested
      added   == attested \ one
      joining == IF IsCrowd(added, crowd) THEN added ELSE {}
      staying == one \cap attested
      leaving == IF Cardinality(missing) >= crowd THEN 0 ELSE crowd - Cardinality(missing)
      sum     == (staying \ First(staying, leaving, Rank)) \cup joining
  IN IF missing = {} THEN one \cup joining
     ELSE IF Hides(one, sum, crowd) THEN sum
     ELSE {}

\* The latest of the sums that can be summed again.
Again(sums, attested, quorum) ==
  LET fit == {k \in 1 .. Len(sums) : sums[k] \subseteq attested /\ Cardinality(sums[k]) >= quorum}
  IN IF fit = {} THEN {} ELSE sums[CHOOSE k \in fit : \A j \in fit : j <= k]

\* The sum where the contributions of `attested` are at hand; {} where there is none.
NextSum(earlier, attested, culprits, quorum, crowd, Rank(_)) ==
  LET sums == Without(earlier, culprits)
      sum  == IF sums = <<>> THEN attested
              ELSE IF Len(sums) < MaxSums THEN Second(sums[1], attested, crowd, Rank)
              ELSE Again(sums, attested, quorum)
  IN IF Cardinality(sum) >= quorum THEN sum ELSE {}

Spend(earlier, sum) ==
  IF \E k \in 1 .. Len(earlier) : earlier[k] = sum THEN earlier ELSE Append(earlier, sum)

\* Those that are in exactly the same sums as x.
Atom(sums, x) ==
  {y \in UNION sums : \A sum \in sums : x \in sum <=> y \in sum}
=============================================================================
