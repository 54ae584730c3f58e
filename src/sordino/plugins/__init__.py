"""Sordino inside voice agents and meeting servers."""
