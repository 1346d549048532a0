"""Reads an export with pyarrow and compares it with the same export as JSON lines, value by value.

    compare.py FILE.parquet FILE.jsonl

Every row and column must be in both, with the same bits; what is null in one is null in the other.
Exit code: 0 equal, 1 a difference.
"""

from __future__ import annotations

import json
import struct
import sys

import pyarrow.parquet as pq


def bits(value: float | None) -> int | None:
    """A float's single-precision bits: a JSON number is the shortest text that leads back to them."""
    return None if value is None else struct.unpack("<I", struct.pack("<f", value))[0]


def flat(line: dict) -> dict:
    """A line of JSON as a row of the table."""
    row = {"at": line["at_ns"], "venue": line["venue"], "instrument": line["instrument"]}
    if "masked" in line:
        row["masked"] = line["masked"]
        for side in ("bid", "ask"):
            row[f"{side}_price"], row[f"{side}_quantity"] = line[side] or (None, None)
    return row | {name: bits(value) for name, value in line["features"].items()}


def main() -> int:
    table = pq.ParquetFile(sys.argv[1])
    types = {field.name: str(field.type) for field in table.schema_arrow}
    if types["at"] != "timestamp[ns, tz=UTC]":
        print(f"at is {types['at']}")
        return 1
    floats = {name for name, kind in types.items() if kind == "float"}
    rows = values = nulls = 0
    with open(sys.argv[2], encoding="utf-8") as lines:
        for group in range(table.num_row_groups):
            read = table.read_row_group(group)
            at = read.column("at").cast("int64").to_pylist()
            columns = {name: read.column(name).to_pylist() for name in types if name != "at"}
            for place in range(read.num_rows):
                theirs = {name: column[place] for name, column in columns.items()}
                theirs |= {name: bits(theirs[name]) for name in floats}
                theirs["at"] = at[place]
                ours = flat(json.loads(next(lines)))
                if theirs != ours:
                    names = theirs.keys() | ours.keys()
                    wrong = {n: (theirs.get(n), ours.get(n)) for n in names if theirs.get(n) != ours.get(n)}
                    print(f"row {rows}: (Parquet, JSON) {wrong}")
                    return 1
                rows += 1
                nulls += sum(value is None for value in ours.values())
                values += len(ours)
        if next(lines, None) is not None or rows == 0:
            print(f"{rows} rows in Parquet are not all")
            return 1
    print(f"    {rows} rows in {table.num_row_groups} groups, {len(types)} columns, {values} values equal, {nulls} of them null")
    return 0


if __name__ == "__main__":
    sys.exit(main())
