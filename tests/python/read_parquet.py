"""Reads exported Parquet files with polars and duckdb, and prints what both find as one line of JSON.

    read_parquet.py FOLDER

It fails where the two do not agree, or where a file's own words about its rows are wrong.
"""

import json
import sys
from pathlib import Path

import duckdb
import polars


def told(path: Path) -> dict[str, str]:
    """Returns what a file says of itself."""
    rows = duckdb.execute("select key, value from parquet_kv_metadata(?)", [str(path)]).fetchall()
    return {key.decode(): value.decode() for key, value in rows if key.startswith(b"tickwire.")}


def main() -> None:
    found = []
    for path in sorted(Path(sys.argv[1]).rglob("*.parquet")):
        frame = polars.read_parquet(path, hive_partitioning=False)
        by_duckdb = duckdb.execute("select * from read_parquet(?, hive_partitioning = false)", [str(path)])
        columns = [column[0] for column in by_duckdb.description]
        assert columns == frame.columns, (columns, frame.columns)
        rows = by_duckdb.fetchall()
        price = next((name for name in ("price", "bid_price") if name in columns), None)
        assert len(rows) == frame.height
        if price:
            assert [row[columns.index(price)] for row in rows] == frame[price].to_list()
        gaps = frame.filter(polars.col("is_gap"))
        words = told(path)
        assert int(words["tickwire.rows"]) == frame.height, words
        assert int(words["tickwire.gaps"]) == gaps.height, words
        assert int(words["tickwire.missing"]) == gaps["missing"].sum(), words
        assert int(words["tickwire.gaps_of_unknown_size"]) == gaps["missing"].null_count(), words
        assert frame["receive_time"].is_sorted(), path
        found.append({
            "path": str(path.relative_to(sys.argv[1])),
            "rows": frame.height,
            "gaps": gaps.height,
            "prices": frame[price].to_list()[:8] if price else [],
            "times": [time.isoformat() for time in frame["receive_time"].to_list()[:2]],
            "told": words,
        })
    print(json.dumps(found))


if __name__ == "__main__":
    main()
