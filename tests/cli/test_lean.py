from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from ldznet_bench.cli.lean import arrow_without_pandas
arrow_without_pandas()
import pyarrow as pa
batch = pa.RecordBatch.from_pylist([{"a": [1, 2]}])
assert batch.column("a").flatten().to_numpy().tolist() == [1, 2]
assert "pandas" not in sys.modules, "Arrow imports pandas in another place now"
import pandas  # whoever asks for it gets it
assert pandas.DataFrame({"a": [1]}).a[0] == 1
assert pa.table({"a": [1]}).to_pandas().a[0] == 1
"""


def test_arrow_does_not_import_pandas_and_others_still_can():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
