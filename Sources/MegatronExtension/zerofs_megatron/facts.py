"""The facts that zerofs knows of the model, held against what MDS really parsed.

facts: {argument: {"value": what it has to be, "otherwise": what goes wrong, "kind": "stops" | "loss"}}. An argument is an
attribute of MDS's parsed args (argparse's dest: rope_theta, add_bias_linear, padded_vocab_size, …); dashes are taken as
underscores. Numbers are compared as fp32.
"""
import struct

from zerofs_megatron.errors import WrongArguments

MISSING = "(no such argument)"
KINDS = {"stops": "MDS stops", "loss": "another loss"}


def compare(facts, args):
    wrong = []
    for name, fact in facts.items():
        given = getattr(args, name.lstrip("-").replace("-", "_"), MISSING)
        if not same(given, fact["value"]):
            wrong.append((name, str(given), str(fact["value"]), f"{KINDS[fact['kind']]}: {fact['otherwise']}"))
    if not wrong:
        return
    if args.rank != 0:      # one table is enough
        raise WrongArguments(f"rank {args.rank}: not as the model needs it: " + ", ".join(name for name, *_ in wrong))
    raise WrongArguments("these arguments are not as the model needs them:\n"
                         + table([("argument", "given", "has to be", "otherwise"), *wrong]))


def same(given, value):
    if isinstance(given, bool) or isinstance(value, bool):
        return given is value
    if isinstance(given, (int, float)) and isinstance(value, (int, float)):
        return fp32(given) == fp32(value)
    if isinstance(given, (list, tuple)) and isinstance(value, (list, tuple)):
        return len(given) == len(value) and all(map(same, given, value))
    return given == value


def fp32(number):
    return number if isinstance(number, int) and abs(number) > 1 << 24 else struct.pack("f", number)


def table(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
