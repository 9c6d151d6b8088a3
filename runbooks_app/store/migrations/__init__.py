"""Alembic's migrations. Each is SQL in a file of its own, with the way back beside it."""
