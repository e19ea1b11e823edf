"""`python3 -m zerofs_megatron SCRIPT ARGS…`, or without PYTHONPATH `python3 MNT/.zerofs/zerofs_megatron SCRIPT ARGS…`."""
import os
import sys

if not __package__:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from zerofs_megatron.launch import main

main(sys.argv[1:])
