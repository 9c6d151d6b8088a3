"""`python -m runbooks_app.main` is `runbooks`, also where the script is not on PATH."""

from runbooks_app.main.cli import main

main()
