"""Executable runbooks for incident response.

The rooms and what may import what: docs/architecture.md.
"""

__version__ = "0.1.0"
