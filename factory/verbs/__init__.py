"""What each verb of the command line does, wired from the layers. Only factory/cli.py imports from here.

A verb is a function `(arguments, changes, quiet) -> result`: its own keys, the changes to the recipe, and whether to
leave out everything on stdout because `--json` was asked for; the result is what `--json` prints.
"""
