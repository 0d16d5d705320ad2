"""Run a program's script in this process and write down the most memory that it took: ``probe.py FILE SCRIPT …``.

The kernel's own high-water mark of this process alone, read at its very end; of its children only the
greatest. What ``wait4`` tells a parent is the greater of both, and counts what the parent had before.
"""

import atexit
import json
import re
import resource
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Hand over to the script as if it had been started itself."""
    file, script = Path(sys.argv[1]), sys.argv[2]
    atexit.register(lambda: file.write_text(json.dumps(peaks()), encoding="utf-8"))
    sys.argv = sys.argv[2:]
    runpy.run_path(script, run_name="__main__")


def peaks() -> dict[str, float]:
    """Megabytes (10^6 bytes): of this process, and of its greatest child."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"own": int(found.group(1)) * 1024 / 1e6, "greatest child": child * 1024 / 1e6}


if __name__ == "__main__":
    main()
