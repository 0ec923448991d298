"""The names by which communication between devices is seen in the text of a compiled program."""

import re

COLLECTIVE = re.compile(r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(")
