"""Helpers that several tests share, each once."""
