"""Many files on many machines, by Ray: work list -> actors that hold a model each -> outputs."""
