"""The only place where things are put together: web, worker, command line, demo."""
