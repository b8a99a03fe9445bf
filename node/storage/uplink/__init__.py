"""Native Storj: end-to-end encrypted buckets through libuplink, bound directly."""
