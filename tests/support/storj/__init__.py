"""One Storj satellite and one storage node on loopback, for driving the real libuplink.

They speak what the library speaks: DRPC over TLS with node ids, macaroon API keys with caveats and
revocation, inline and remote segments, orders and piece hashes. What a client cannot see (payment,
audits, repair) is left out. Message and field numbers are those of the public protocol.
"""
