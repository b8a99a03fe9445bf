------------------------------- MODULE Views --------------------------------
(***************************************************************************)
(* Small representations of the order and of a member's place in it, for   *)
(* model checking: see the abstract datatypes of module Ledger.            *)
(***************************************************************************)
EXTENDS Ledger

\* The order, represented by its reading: no action tells two orders with one
\* reading apart.
ReadEmpty         == EmptyHistory
ReadExtend(l, x)  == Read(l, x)
ReadHistory(l)    == l

\* Histories to begin with: after everyone joined, after the key was fixed.
AllJoined         == [EmptyHistory EXCEPT !.joined = Members, !.phase = "keying"]
Keyed             == FixKey(AllJoined, "key")

\* A member's place, represented by the phase, attempt, round and stage it
\* knows of.  Within a stage guards are monotone in the prefix, so of all
\* prefixes that show this stage the longest allows every step that a shorter
\* one does.  SubmitSeal and SubmitAbandon are not: one made from a stale view
\* is one that was made before, when it was not stale, and is still in flight.
Mark(l)           == [phase |-> l.phase, attempt |-> l.attempt, round |-> l.round, stage |-> l.stage]
MarkUnread        == Mark(EmptyLog)
MarkAdvance(l, v) == {Mark(l)} \ {v}
MarkAllRead(l, v) == v = Mark(l)

\* Of what is over a straggler sees what was sealed: enough for all that could
\* still matter, a share.
MarkSeen(l, v) ==
  IF v = Mark(l) THEN l
  ELSE IF v.phase = "running" /\ l.phase = "running" /\ v.round = l.round
  THEN [l EXCEPT !.stage = v.stage, !.sealed[v.round] = None,
                 !.current.opening = 0, !.current.votes = {}]
  ELSE [l EXCEPT !.phase = v.phase, !.attempt = v.attempt, !.round = v.round, !.stage = v.stage,
                 !.keys = Nobody, !.key = IF v.phase = "keying" THEN None ELSE @,
                 !.current = Fresh(Members)]

\* A dead record will be confirmed and ignored, or lost: nobody can tell.
DropDead(l, x)    == IF Dead(l, x) THEN None ELSE x

\* A journal matters for what its round's state is recovered from, and for a key.
NoteLast(j, x)    ==
  CASE x.kind \in {"Commit", "Share", "Abandon"} ->
         {y \in j : y.kind \in {"Commit", "Share", "Abandon"} \ ({"Abandon"} \cap {x.kind}) /\ y.round = x.round}
           \cup {x}
    [] x.kind \in KeyKinds            -> {y \in j : y.kind \in KeyKinds /\ y.attempt = x.attempt} \cup {x}
    [] OTHER                          -> j

Never(m) == FALSE
=============================================================================
