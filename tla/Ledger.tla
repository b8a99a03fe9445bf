------------------------------- MODULE Ledger -------------------------------
(***************************************************************************)
(* One total order of confirmed records, and how far each member has read. *)
(*                                                                         *)
(* A member journals a record before it sends it, has one in flight, and   *)
(* resends it unchanged until it is confirmed.  What the network does to   *)
(* the copies (loss, delay, reordering, duplication) and a ledger that     *)
(* stalls are all covered by this: a journalled record that is not yet     *)
(* confirmed may be included at any later time, or never.  Module Delivery *)
(* has the copies and refines this abstraction.                            *)
(*                                                                         *)
(* The order itself is an abstract datatype (EmptyLog, Extend, HistoryOf)  *)
(* and so is a member's place in it (Unread, Advance, Seen).  No action    *)
(* looks behind them, so a model may represent both as it likes.  Here:    *)
(* a sequence, and the number of records read.                             *)
(***************************************************************************)
EXTENDS History, Sequences

EmptyLog      == <<>>
Extend(l, x)  == Append(l, x)

RECURSIVE Fold(_, _)
Fold(h, l)    == IF l = <<>> THEN h ELSE Fold(Read(h, Head(l)), Tail(l))
HistoryOf(l)  == Fold(EmptyHistory, l)

Unread        == 0
Advance(l, v) == {k \in {v + 1} : k <= Len(l)}
Seen(l, v)    == HistoryOf(SubSeq(l, 1, v))
AllRead(l, v) == v = Len(l)

\* What remains of a record that is journalled but not confirmed, and of a
\* journal to which one is added.
Offer(l, x)   == x
Note(j, x)    == j \cup {x}

VARIABLES
  log,          \* the confirmed order
  view,         \* [Honest -> how far each has read it]
  journal,      \* durable: [Honest -> the records it ever made]
  outstanding   \* durable: [Honest -> its record that is not yet confirmed, or None]

ledgerVars == <<log, view, journal, outstanding>>

TheHistory == HistoryOf(log)
My(m)      == Seen(log, view[m])

LedgerInit ==
  /\ log = EmptyLog
  /\ view = [m \in Honest |-> Unread]
  /\ journal = [m \in Honest |-> {}]
  /\ outstanding = [m \in Honest |-> None]

\* Journal, then send.  One step: a crash in between is a message lost.
Submit(m, x) ==
  /\ outstanding[m] = None
  /\ journal' = [journal EXCEPT ![m] = Note(@, x)]
  /\ outstanding' = [outstanding EXCEPT ![m] = Offer(log, x)]
  /\ UNCHANGED <<log, view>>

\* The ledger confirms m's record.  m may be down: a copy was on its way.
Include(m) ==
  /\ outstanding[m] # None
  /\ log' = Extend(log, outstanding[m])
  /\ outstanding' = [n \in Honest |-> IF n = m \/ outstanding[n] = None THEN None
                                      ELSE Offer(log', outstanding[n])]
  /\ UNCHANGED <<view, journal>>

\* A Byzantine member keeps no journal and sends what it likes; only what is
\* valid matters to anyone.
Matters(h, x) == Valid(h, x)

IncludeByzantine(x) ==
  /\ x.member \in Byzantine
  /\ Matters(TheHistory, x)
  /\ log' = Extend(log, x)
  /\ outstanding' = [n \in Honest |-> IF outstanding[n] = None THEN None
                                      ELSE Offer(log', outstanding[n])]
  /\ UNCHANGED <<view, journal>>

Observe(m) ==
  /\ \E v \in Advance(log, view[m]) : view' = [view EXCEPT ![m] = v]
  /\ UNCHANGED <<log, journal, outstanding>>

(* Properties -------------------------------------------------------------*)
\* A record of an honest member that is confirmed, or may yet be, is in its
\* journal: a crash cannot make it contradict itself.
RecordsAreJournalled ==
  \A m \in Honest : outstanding[m] # None => outstanding[m] \in journal[m]

\* Made from a stale view a record may come too late, but never too early; only
\* a seal may find that another commit has come before it, and is ignored.
NeverTooEarly ==
  \A m \in Honest : LET x == outstanding[m] IN x # None =>
    \/ Valid(TheHistory, x) \/ Dead(TheHistory, x)
    \/ x.kind = "Seal" /\ Attested(TheHistory) # {}

\* Once dead, dead for ever: what justifies forgetting such a record.
DeadIsDead ==
  [][\A m \in Honest : \A x \in journal[m] :
       Dead(TheHistory, x) => Dead(TheHistory', x) /\ ~Valid(TheHistory', x)]_ledgerVars
=============================================================================
