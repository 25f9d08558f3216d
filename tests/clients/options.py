"""What every Python script here shares: its options are one JSON object, its output one JSON object a line."""

import json
import sys

OPTIONS = json.loads(sys.argv[1])


def say(**line):
    """Prints a line for the test to judge."""
    print(json.dumps(line), flush=True)
