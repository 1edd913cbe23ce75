"""Reads a stream of Arrow IPC from standard input with polars, and prints its rows as one line of JSON."""

import json
import sys

import polars


def main() -> None:
    frame = polars.read_ipc_stream(sys.stdin.buffer)
    print(json.dumps({"columns": frame.columns, "rows": [list(map(str, row)) for row in frame.rows()]}))


main()
