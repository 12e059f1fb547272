"""For people: python -m tests.oss_server --dir D [--port N]. Prints what a client needs, serves until it is stopped.

The key is that of OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET in the environment if they are set, else a new one.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from tests.oss_server.objects import StorageClass
from tests.oss_server.pacing import Network
from tests.oss_server.server import REGION, serving

MIB = 1024 * 1024
ENDS = {signal.SIGTERM, signal.SIGINT}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.oss_server", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where the buckets lie; kept from one run to the next")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--bucket", default="packs", help="is made if it is not there")
    parser.add_argument(
        "--class", dest="storage_class", default="Standard", choices=[one.value for one in StorageClass]
    )
    parser.add_argument("--region", default=REGION)
    parser.add_argument("--latency-ms", type=float, default=0.0, help="of each request")
    parser.add_argument("--connection-mib-s", type=float, default=0.0, help="rate of each connection, each way")
    parser.add_argument("--total-mib-s", type=float, default=0.0, help="rate of all together, each way")
    said = parser.parse_args(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # by all threads, which begin later: `sigwait` gets it in any case
    key = os.environ.get("OSS_ACCESS_KEY_ID", ""), os.environ.get("OSS_ACCESS_KEY_SECRET", "")
    with serving(said.dir, buckets=(), region=said.region, port=said.port, key=key) as oss:
        oss.create_bucket(said.bucket, storage_class=StorageClass(said.storage_class))
        oss.network = Network(
            latency_s=said.latency_ms / 1000,
            connection_bytes_s=said.connection_mib_s * MIB or float("inf"),
            total_bytes_s=said.total_mib_s * MIB or float("inf"),
        )
        print(f"endpoint {oss.endpoint}\nregion {oss.region}\nbucket {said.bucket}")
        print(f"export OSS_ACCESS_KEY_ID={oss.key_id} OSS_ACCESS_KEY_SECRET={oss.secret}", flush=True)
        signal.sigwait(ENDS)
        print(oss.counts.table(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
