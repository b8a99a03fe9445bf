-------------------------- MODULE RoundProperties ---------------------------
(***************************************************************************)
(* What must hold of rounds.  Each property has its sentence; README.md    *)
(* says which models check it and which mutants break it.                  *)
(***************************************************************************)
EXTENDS Round

TypeOK ==
  /\ CohortTypeOK
  /\ TheHistory.phase \in Phases /\ TheHistory.stage \in Stages
  /\ TheHistory.round \in 1 .. RoundLimit + 1
  /\ \A m \in Members : /\ TheHistory.current.commits[m] \in Roots \cup {None}
                        /\ TheHistory.current.verified[m] \subseteq Members
                        /\ TheHistory.current.refused[m] \subseteq Members
                        /\ TheHistory.missed[m] \in 0 .. Misses
  /\ TheHistory.out \subseteq Members /\ TheHistory.current.waited \subseteq Inside(TheHistory)
  /\ Len(TheHistory.spent) <= RoundLimit
  /\ round \in [Honest -> 1 .. RoundLimit + 1]
  /\ pc \in [Honest -> PCs]
  /\ upload \in [Honest -> Roots \cup {None}]
  /\ uploads \in [Honest -> 0 .. MaxCrashes + 1]
  /\ verified \in [Honest -> SUBSET Members]
  /\ refused \in [Honest -> SUBSET Members]
  /\ accepted \in [Honest -> SUBSET Members]
  /\ \A m \in Honest, r \in RoundNumbers :
       /\ released[m][r] = None \/ released[m][r] \subseteq Roots
       /\ adopted[m][r] = None \/ adopted[m][r] = InitialModel \/ adopted[m][r] \subseteq Roots
  /\ vouched \in [Honest -> 0 .. RoundLimit] /\ doubts \subseteq Honest
  /\ \A g \in given : g.member \in Honest /\ g.round \in RoundNumbers /\ g.aggregate \subseteq Roots
  /\ stored \subseteq Roots /\ withheld \subseteq Byzantine

\* Who can open `aggregate` in round r: those that gave a share, and every
\* Byzantine member, which may have given one for anything.
Openers(r, aggregate) ==
  {g.member : g \in {g \in given : g.round = r /\ g.aggregate = aggregate}} \cup Byzantine

\* Everything that could be decrypted: what shares were given for, and every
\* single blob.
Decryptable == {g.aggregate : g \in given} \cup {{root} : root \in stored}

Makers(aggregate) == {root.member : root \in aggregate}

\* Nothing can be opened but a sealed sum, and nothing is sealed but the sum of
\* at least a quorum of contributions, two of them honest.
NoLoneUpdate ==
  /\ \A r \in RoundNumbers : LET sum == TheHistory.sealed[r] IN sum # None =>
       Cardinality(Makers(sum)) >= Quorum /\ Cardinality(Makers(sum) \cap Honest) >= 2
  /\ \A r \in RoundNumbers : \A aggregate \in Decryptable :
       Cardinality(Openers(r, aggregate)) >= T => aggregate = TheHistory.sealed[r]

\* In one round honest shares exist for at most one aggregate, and of the sums
\* sealed from one base model, opened or not, nothing can be subtracted that
\* leaves an honest member alone among those that do not collude.
SumsOfBase(h) ==
  {Makers(h.sealed[r]) : r \in {r \in RoundNumbers : h.sealed[r] # None
     /\ \A q \in r .. h.round - 1 : h.models[q] = None \/ q \in h.discarded}}
NoDifferencing ==
  /\ \A g, f \in given : g.round = f.round => g.aggregate = f.aggregate
  /\ LET sums == SumsOfBase(TheHistory) IN
     \A m \in Honest \cap UNION sums : Cardinality(Atom(sums, m) \cap Honest) >= 2

\* What is sealed counts as opened.
SealedIsSpent ==
  LET h == TheHistory IN
  h.stage = "sealed" =>
    /\ \E k \in 1 .. Len(h.spent) : h.spent[k] = h.current.sum
    /\ h.sealed[h.round] = {h.current.commits[o] : o \in h.current.sum}

\* No member alone decides a cut: every honest member that was waited for had
\* said of each commit what it is, or the deadlines of an honest one had passed.
NoSingleCut ==
  LET h == TheHistory IN
  h.stage = "sealed" =>
    \/ \A m \in h.current.waited \cap Honest : Committed(h) \subseteq Settled(h, m)
    \/ h.current.expired \cap Honest # {}

\* Only who signed a bad commit is ever out of the job; silence proves nothing.
NoFraming == TheHistory.out \subseteq Byzantine

\* Rounds burned in a row, and attempts at one sum, are bounded: then the job ends.
BurnBounded ==
  LET h == TheHistory
      lost(r) == r < h.round /\ h.models[r] = None
  IN /\ \A r \in RoundNumbers :
          (\A q \in r .. r + MaxBurned - 1 : q \in RoundNumbers /\ lost(q)) => h.phase \in Over
     /\ h.current.opening <= MaxOpenings

\* A sealed round is never burned.
SealedIsKept ==
  \A r \in RoundNumbers :
    TheHistory.sealed[r] # None /\ TheHistory.models[r] = None =>
      TheHistory.round = r \/ TheHistory.phase = "aborted"

\* No more than one sum of a job is ever discarded.
SpoiltOnce == Cardinality(TheHistory.discarded) <= 1

\* A member that released for an aggregate never releases for another, nor
\* forgets that it did.
ShareOnce ==
  [][\A m \in Honest, r \in RoundNumbers :
       released[m][r] # None => released'[m][r] = released[m][r]]_roundVars

\* Whoever releases a share has vouched for what it read, and so have others,
\* or are Byzantine: one of V is honest.
VouchedFirst ==
  \A m \in Honest, r \in RoundNumbers : released[m][r] # None =>
    /\ vouched[m] >= r
    /\ Cardinality({o \in Honest : vouched[o] >= r} \cup Byzantine) >= Vouchers(m)

\* Members that ended a round adopted one model, the one in the order, and
\* shared for one aggregate, the sealed one.
Agreement ==
  \A m \in Honest, r \in RoundNumbers :
    /\ adopted[m][r] # None => /\ adopted[m][r] = TheHistory.models[r]
                               /\ r \notin TheHistory.discarded => adopted[m][r] = ModelOf(TheHistory.sealed[r])
    /\ released[m][r] # None => released[m][r] = TheHistory.sealed[r]
    /\ round[m] <= TheHistory.round

\* A model once in the order or adopted stays.
ModelsStay ==
  [][\A r \in RoundNumbers :
       /\ TheHistory.models[r] # None => TheHistory'.models[r] = TheHistory.models[r]
       /\ TheHistory.sealed[r] # None => TheHistory'.sealed[r] = TheHistory.sealed[r]
       /\ \A m \in Honest : adopted[m][r] # None => adopted'[m][r] = adopted[m][r]]_<<log, roundVars>>

\* A model in the order was opened by at least T recorded shares.
OpenedByThreshold ==
  \A r \in RoundNumbers : TheHistory.models[r] # None =>
    Cardinality({g.member : g \in {g \in given : g.round = r}} \cup Byzantine) >= T

\* What an honest member has in the order, and every share it gave, is in its
\* durable state, whether it is up or not; also that it gives up just this attempt.
Durability ==
  LET h == TheHistory IN
  /\ \A m \in Honest :
       /\ h.current.commits[m] # None => Commit(m, h.round, h.current.commits[m]) \in journal[m]
       /\ m \in h.current.shares => Share(m, h.round, h.sealed[h.round]) \in journal[m]
       /\ h.phase = "running" /\ m \in h.current.votes =>
            Abandon(m, h.round, h.current.opening) \in journal[m]
  /\ \A g \in given : released[g.member][g.round] = g.aggregate

\* Whatever crashes do to it, an honest member makes one Commit and one Share in
\* a round.
NoEquivocation ==
  \A m \in Honest : \A x, y \in journal[m] :
    x.kind = y.kind /\ x.kind \in {"Commit", "Share"} /\ x.round = y.round => x = y

\* Whoever an honest member refuses is Byzantine; and so is whoever has a wrong
\* model or another member's root in the order.
Accountability ==
  /\ \A m \in Honest : refused[m] \subseteq Byzantine
  /\ \A m \in Honest : LET said == TheHistory.current.results[m] IN said # None => said.model # WrongModel
  /\ \A m \in Honest : LET root == TheHistory.current.commits[m] IN root # None => root.member = m

\* A sealed set holds sound blobs only, each of the member that committed it,
\* and an honest member vouched for each.
SealedIsSound ==
  \A r \in RoundNumbers : TheHistory.sealed[r] # None =>
    \A root \in TheHistory.sealed[r] : root \in stored /\ Sound(root, FALSE)

(* Liveness ---------------------------------------------------------------*)
\* With a live ledger every round ends for every member that stays.
EndsFor(m) == <>[](m \in gone \/ (TheHistory.phase \in Over /\ round[m] = TheHistory.round))
Progress   == \A m \in Honest : EndsFor(m)

\* ... and is opened, when nobody's patience runs out while a quorum
\* contributes, T members stay and V vouch.
OpensFor(m) == <>[](m \in gone \/ \A r \in 1 .. Rounds : adopted[m][r] # None)
Opened      == \A m \in Honest : OpensFor(m)

(* Refinement -------------------------------------------------------------*)
Offered == [r \in RoundNumbers |->
  IF r = TheHistory.round /\ TheHistory.stage = "open" THEN TheHistory.current.commits ELSE Nobody]

\* Who adopted what came of a round was given its sum, discarded or not.
Given == [m \in Honest |-> [r \in RoundNumbers |->
  IF adopted[m][r] = None THEN None ELSE TheHistory.sealed[r]]]

Ideal == INSTANCE SecureAggregation WITH
  Numbers <- RoundNumbers, Inputs <- Roots,
  offered <- Offered, locked <- TheHistory.sealed, output <- Given

RefinesIdeal == Ideal!IdealSpec
=============================================================================
