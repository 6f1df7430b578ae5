"""Breaks connections to a bucket, and kills writers: see tests/bucket_faults.py."""

import os
import sys

from runner.snapshots.remote import remote_store
from runner.snapshots.stores import patience
from tests.bucket_faults import cut_often, kill_writers
from tests.buckets import new_bucket, s3


def main() -> None:
    seed, count = map(int, sys.argv[1:])
    patience.LONGEST_PAUSE, remote_store.PATIENCE = 0.5, 5.0
    with s3() as port:
        bucket = new_bucket(port)
        os.environ.update(bucket.environment())
        cut = cut_often(bucket, count, seed)
        killed = kill_writers(new_bucket(port), count, seed)
    print({"cuts": cut["cuts"], "kills": killed["kills"], "acknowledged": cut["acknowledged"] + killed["acknowledged"]})


if __name__ == "__main__":
    main()
