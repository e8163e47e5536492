"""Why Sembla's rows are right where a peer reads others."""
import re

REASONS = {
    r"zip": "a leading zero belongs to the value; polars reads a number",
    r"csv names": "a doubled quote in a header is one quote",
    r"blank-lines": "an empty line is no row",
    r"folder hidden": "names that begin with . or _ are files in the making, as for Spark and Hive",
    r"folder empty": "a file of zero bytes has no columns",
    r"json (mixed|late-text|folder types)": "a column of mixed types is text; DuckDB's is JSON, so that its texts have quotes, and polars adds blanks",
}


def why(name: str) -> str:
    return next((reason for pattern, reason in REASONS.items() if re.search(pattern, name)), "")
