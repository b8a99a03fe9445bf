----------------------------- MODULE MCBuckets ------------------------------
EXTENDS Buckets, TLC
Spec      == BucketsSpec
FairSpec  == BucketsSpec /\ BucketsFair
NeverServedByAnother == \A o \in Owners : content[o] = "removed" => \A m \in Straight : o \notin fetched[m]
=============================================================================
