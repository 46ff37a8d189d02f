"""Runs the pages, and makes of them what the site and the notebooks show."""
