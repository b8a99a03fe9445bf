"""S3 buckets: Storj's gateway or any other server, through obstore; peers read by presigned URLs.

A hosted gateway encrypts on its side; only native Storj is encrypted end to end by the provider's
client. What Starling stores is encrypted or meant for every member either way.
"""
