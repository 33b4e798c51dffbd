"""Run a command with MODEL_PERF_TEST_DSN set to the distribution's PostgreSQL, started for it on a free port."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.servers import TEST_DSN, debian_postgres

if __name__ == "__main__":
    with debian_postgres() as server:
        os.environ[TEST_DSN] = server.dsn
        raise SystemExit(subprocess.run(sys.argv[1:], check=False).returncode)
