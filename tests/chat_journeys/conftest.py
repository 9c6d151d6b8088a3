"""Whole services that talk with Slack's stand-in, and clients that nobody here wrote."""
