"""Many files: inputs to jobs to outputs."""
