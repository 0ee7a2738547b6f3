"""From a recipe to a graded version: data → train → register → grade. What the verbs call; it prints nothing to stdout.

It wires all layers, as `factory.verbs` does, and nobody but the command line imports it.
"""
