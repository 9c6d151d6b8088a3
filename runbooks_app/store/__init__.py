"""PostgreSQL: the truth. Transactions, queries, the job queue, artifacts, migrations.

SQL is written as SQL, run through SQLAlchemy Core's engine. Queries are functions that take a
`Transaction` (or a connection) and return frozen records. No rule lives here: rules are in core.
"""
