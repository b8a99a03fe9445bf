----------------------------- MODULE MCDelivery -----------------------------
EXTENDS Delivery, TLC
Spec      == DeliverySpec
FairSpec  == DeliverySpec /\ DeliveryFair
NeverBoth == ~(\A s \in Senders : known[s] = Length)
=============================================================================
