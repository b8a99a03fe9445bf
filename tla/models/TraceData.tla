----------------------------- MODULE TraceData ------------------------------
EXTENDS Cohort
\* Replaced by the runs to be checked; this one lets TraceStarling be parsed.
Runs == <<[events |-> <<>>, order |-> <<>>, ranks |-> <<>>, spoilt |-> {}]>>
=============================================================================
