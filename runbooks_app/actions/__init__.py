"""What people and workers can do: one function and one transaction each.

An action loads records, asks core, writes the change of state, the audit entry and the queued jobs, and
commits; or it raises an error of `core.errors` and leaves no trace. No other room changes state.
"""
