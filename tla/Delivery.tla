------------------------------ MODULE Delivery ------------------------------
(***************************************************************************)
(* How a member's records reach the ledger over a network that loses,      *)
(* delays, reorders and duplicates, while the ledger may stall.            *)
(*                                                                         *)
(* A member's records form a chain: each spends the output of the one      *)
(* before, so the ledger confirms the k-th only after the (k-1)-th, and    *)
(* each once.  This module justifies what Ledger assumes: a journalled     *)
(* record may be included at any later time, once, or never (RefinesLedger)*)
(* and, if its author keeps resending it, is included (Delivered).         *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS Senders, Length   \* each sender's chain has records 1 .. Length

VARIABLES
  made,        \* durable: [Senders -> records journalled so far]
  network,     \* copies on their way: a set, as a copy can be duplicated
  confirmed,   \* the order: a sequence of records
  known,       \* [Senders -> records of its own it has seen confirmed]
  stalled      \* does the ledger refuse to move?

deliveryVars == <<made, network, confirmed, known, stalled>>

Record(s, k) == [sender |-> s, number |-> k]
Mine(s)      == Cardinality({i \in 1 .. Len(confirmed) : confirmed[i].sender = s})

DeliveryInit ==
  /\ made = [s \in Senders |-> 0]
  /\ network = {}
  /\ confirmed = <<>>
  /\ known = [s \in Senders |-> 0]
  /\ stalled = FALSE

\* Journalled, and sent in the same step: a lost first copy is a resend later.
Make(s) ==
  /\ known[s] = made[s] /\ made[s] < Length
  /\ made' = [made EXCEPT ![s] = @ + 1]
  /\ network' = network \cup {Record(s, made[s] + 1)}
  /\ UNCHANGED <<confirmed, known, stalled>>

\* Unchanged, for as long as it is not seen confirmed; also after a crash.
Resend(s) ==
  /\ known[s] < made[s]
  /\ network' = network \cup {Record(s, made[s])}
  /\ UNCHANGED <<made, confirmed, known, stalled>>

Lose(x) == network' = network \ {x} /\ UNCHANGED <<made, confirmed, known, stalled>>

\* A copy arrives; it may have been duplicated before, and another still be on
\* its way.  One that does not continue its chain is refused.
Confirm(x) ==
  /\ ~stalled
  /\ x.number = Mine(x.sender) + 1
  /\ confirmed' = Append(confirmed, x)
  /\ network' \in {network, network \ {x}}
  /\ UNCHANGED <<made, known, stalled>>

Learn(s) ==
  /\ known[s] < Mine(s)
  /\ known' = [known EXCEPT ![s] = Mine(s)]
  /\ UNCHANGED <<made, network, confirmed, stalled>>

Stall  == ~stalled /\ stalled' = TRUE /\ UNCHANGED <<made, network, confirmed, known>>
Resume == stalled /\ stalled' = FALSE /\ UNCHANGED <<made, network, confirmed, known>>

DeliveryNext ==
  \/ \E s \in Senders : Make(s) \/ Resend(s) \/ Learn(s)
  \/ \E x \in network : Lose(x) \/ Confirm(x)
  \/ Stall \/ Resume

DeliverySpec == DeliveryInit /\ [][DeliveryNext]_deliveryVars

\* A stall ends; authors go on, and resend while the ledger moves, too; of the
\* copies sent then not every one is lost.  The last two are strong: what they
\* speak of is interrupted by stalls and losses again and again.
DeliveryFair ==
  /\ WF_deliveryVars(Resume)
  /\ \A s \in Senders :
       /\ WF_deliveryVars(Make(s) \/ Learn(s))
       /\ SF_deliveryVars(~stalled /\ Resend(s))
       /\ SF_deliveryVars(\E x \in network : x.sender = s /\ Confirm(x))

(* Properties -------------------------------------------------------------*)
DeliveryTypeOK ==
  /\ made \in [Senders -> 0 .. Length] /\ known \in [Senders -> 0 .. Length]
  /\ network \subseteq [sender : Senders, number : 1 .. Length]
  /\ stalled \in BOOLEAN

\* Nothing is confirmed that its author did not journal.
OnlyWhatWasSent == \A i \in 1 .. Len(confirmed) : confirmed[i].number <= made[confirmed[i].sender]

\* Nothing is confirmed twice, whatever is duplicated.
OnceOnly == \A i, j \in 1 .. Len(confirmed) : confirmed[i] = confirmed[j] => i = j

\* Each author's records are confirmed in its own order.
InItsOrder ==
  \A i, j \in 1 .. Len(confirmed) :
    i < j /\ confirmed[i].sender = confirmed[j].sender => confirmed[i].number < confirmed[j].number

\* What is confirmed stays, in its place.
OrderStays ==
  [][Len(confirmed') >= Len(confirmed)
     /\ SubSeq(confirmed', 1, Len(confirmed)) = confirmed]_confirmed

\* The abstraction of module Ledger: one record of each author outstanding,
\* included at some time.
Outstanding(s) == Mine(s) < made[s]
RefinesLedger ==
  [][\/ UNCHANGED <<made, confirmed>>
     \/ \E s \in Senders : \/ ~Outstanding(s) /\ made' = [made EXCEPT ![s] = @ + 1] /\ UNCHANGED confirmed
                           \/ /\ Outstanding(s) /\ UNCHANGED made
                              /\ confirmed' = Append(confirmed, Record(s, made[s]))]_<<made, confirmed>>

\* Every record is confirmed and its author learns it.
Delivered == \A s \in Senders : <>(known[s] = Length)
=============================================================================
