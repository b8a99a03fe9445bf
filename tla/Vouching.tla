------------------------------ MODULE Vouching ------------------------------
(***************************************************************************)
(* When a share may leave a member: one round, orders that may fork.       *)
(*                                                                         *)
(* A member reads the order from its hydra-node.  The nodes of Trusting    *)
(* members show prefixes of the one chain that the parties of the head     *)
(* sign.  Those of Victims, and a node that lost its state or gaps in      *)
(* whose order were filled from others, may show anything.  The head may   *)
(* be closed with an older snapshot: what was confirmed is then lost.      *)
(*                                                                         *)
(* Two seals stand for two sets that could be sealed in the round; whoever *)
(* has shares for both can subtract one sum from the other.  The first     *)
(* seal in a log decides what the round sums there: what follows it is     *)
(* left out.                                                               *)
(*                                                                         *)
(* A member vouches for the log that it has read up to the seal, and after *)
(* that only for logs that continue it, also across restarts.  A record of *)
(* its own says what it had read, hence is a vouch too.  Colluders vouch   *)
(* for everything.                                                         *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS
  Members, Byzantine,
  Colluders,   \* how many may be Byzantine: c
  Victims,     \* honest members whose nodes may show anything
  Doubting,    \* honest members that do not trust their own node
  Silent,      \* Byzantine members that never vouch to anyone (for liveness)
  MaxLosses,   \* bound: nodes that lose their state and are filled from others
  Length,      \* bound: records in a log
  None

Honest   == Members \ Byzantine
N        == Cardinality(Members)
Seals    == {"A", "B"}
Records  == Seals \cup {"other"}

Max(a, b) == IF a > b THEN a ELSE b

\* With trust one honest voucher is enough, which may be the member itself.
\* Without, any two sets of vouchers share an honest member.
Vouchers(trusting) ==
  IF trusting THEN Colluders + 1 ELSE Max(Colluders + 1, (N + Colluders) \div 2 + 1)

ASSUME Victims \subseteq Honest /\ Doubting \subseteq Honest /\ Silent \subseteq Byzantine
ASSUME Cardinality(Byzantine) <= Colluders

VARIABLES
  chain,     \* what the head has confirmed
  closed,    \* is the head closed?
  view,      \* [Honest -> the log it has read]
  vouched,   \* durable: [Honest -> the log it vouched for last]
  said,      \* [Honest -> the longest logs that others can take it to vouch for]
  doubts,    \* durable: honest members that no longer trust what they read
  released,  \* durable: [Honest -> the seal that it released a share for, or None]
  losses

vouchVars == <<chain, closed, view, vouched, said, doubts, released, losses>>

Continues(log, earlier) ==
  Len(earlier) <= Len(log) /\ SubSeq(log, 1, Len(earlier)) = earlier

IsSealed(log) == log # <<>> /\ log[Len(log)] \in Seals
Goes(log)     == Len(log) < Length /\ ~IsSealed(log)

VouchInit ==
  /\ chain = <<>> /\ closed = FALSE
  /\ view = [m \in Honest |-> <<>>]
  /\ vouched = [m \in Honest |-> <<>>]
  /\ said = [m \in Honest |-> {}]
  /\ doubts = Doubting
  /\ released = [m \in Honest |-> None]
  /\ losses = 0

Confirm(x) ==
  /\ ~closed /\ Goes(chain)
  /\ chain' = Append(chain, x)
  /\ UNCHANGED <<closed, view, vouched, said, doubts, released, losses>>

\* With any snapshot: a party may have signed a later one and never seen it
\* confirmed.  Nothing is confirmed after it, and no other head follows.
Close ==
  /\ ~closed
  /\ \E k \in 0 .. Len(chain) : chain' = SubSeq(chain, 1, k)
  /\ closed' = TRUE
  /\ UNCHANGED <<view, vouched, said, doubts, released, losses>>

Lied(m) == m \in Victims \/ m \in doubts \ Doubting

ReadSlot(m) ==
  /\ Goes(view[m])
  /\ \E x \in Records :
       LET longer == Append(view[m], x) IN
       /\ Lied(m) \/ Continues(chain, longer)
       /\ view' = [view EXCEPT ![m] = longer]
  /\ UNCHANGED <<chain, closed, vouched, said, doubts, released, losses>>

\* Its node begins again, and what it lacks is filled from other members: from
\* then on, durably, the member doubts.
Lose(m) ==
  /\ losses < MaxLosses
  /\ losses' = losses + 1
  /\ view' = [view EXCEPT ![m] = <<>>]
  /\ doubts' = doubts \cup {m}
  /\ UNCHANGED <<chain, closed, vouched, said, released>>

\* A member says nothing in a log that does not continue what it vouched for.
Faithful(m) == Continues(view[m], vouched[m])

\* Journalled, then said.  A record of its own says as much, before the seal too.
Vouch(m) ==
  /\ view[m] # <<>> /\ Faithful(m) /\ view[m] # vouched[m]
  /\ vouched' = [vouched EXCEPT ![m] = view[m]]
  /\ said' = [said EXCEPT ![m] = {log \in @ : ~Continues(view[m], log)} \cup {view[m]}]
  /\ UNCHANGED <<chain, closed, view, doubts, released, losses>>

\* Who can be taken to vouch for `log`, accomplices included.
VouchersFor(log) ==
  {o \in Honest : \E longer \in said[o] : Continues(longer, log)} \cup (Byzantine \ Silent)

ReleaseShare(m) ==
  /\ IsSealed(view[m]) /\ released[m] = None
  /\ vouched[m] = view[m]
  /\ Cardinality(VouchersFor(view[m])) >= Vouchers(m \notin doubts)
  /\ released' = [released EXCEPT ![m] = view[m][Len(view[m])]]
  /\ UNCHANGED <<chain, closed, view, vouched, said, doubts, losses>>

VouchNext ==
  \/ \E x \in Records : Confirm(x)
  \/ Close
  \/ \E m \in Honest : ReadSlot(m) \/ Lose(m) \/ Vouch(m) \/ ReleaseShare(m)

VouchSpec == VouchInit /\ [][VouchNext]_vouchVars

\* A head that stays open confirms a seal; members read, vouch and release.
VouchFair ==
  /\ WF_vouchVars(\E x \in Records : Confirm(x))
  /\ \A m \in Honest : WF_vouchVars(ReadSlot(m)) /\ WF_vouchVars(Vouch(m)) /\ WF_vouchVars(ReleaseShare(m))

(* Properties -------------------------------------------------------------*)
VouchTypeOK ==
  /\ closed \in BOOLEAN /\ losses \in 0 .. MaxLosses
  /\ doubts \subseteq Honest
  /\ released \in [Honest -> Seals \cup {None}]
  /\ Len(chain) <= Length /\ \A m \in Honest : Len(view[m]) <= Length

\* Honest shares of one round exist for one sum, however orders fork and
\* whatever a settlement loses.
OneLog == \A m, n \in Honest : released[m] # None /\ released[n] # None => released[m] = released[n]

\* What a member let others take for its vouch continues one log.
OneVouch ==
  \A m \in Honest : \A one, other \in said[m] : Continues(one, other) \/ Continues(other, one)

\* In a head that stays open, with a seal in it, everybody releases its share.
Released ==
  \A m \in Honest :
    IsSealed(chain) ~> (closed \/ released[m] # None)
=============================================================================
