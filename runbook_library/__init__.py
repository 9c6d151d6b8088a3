"""The library of runbooks: notebooks, and `kit`, which they import. Never imports `runbooks_app`."""
