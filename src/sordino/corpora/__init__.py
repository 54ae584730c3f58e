"""Public corpora: fetched, measured, described in a manifest, packed into shards for training."""
