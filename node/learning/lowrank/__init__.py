"""Low-rank updates for any task: what travels is a thin factor of each matrix, fit for one encrypted sum.

A member's own best factors cannot be added to another's. PowerSGD (Vogels et al. 2019, arXiv:1905.13727)
projects everybody's update on one basis, which is linear, so that sums are exact; but it takes two sums for
each update, of M·Q and of Mᵀ·P. Here there is one sum a round, and the two take turns: in one round members
send their updates' columns in the basis that the last round's joint factor spans, in the next their rows.
What a round leaves out is added to the member's next update (error feedback, Karimireddy et al. 2019,
arXiv:1901.09847).
"""
