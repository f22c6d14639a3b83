"""Demo: run a command beside an S3 server of this machine that holds the drawn set, to see the pipeline work on a bucket.

python -m workflow_scripts.demo.local_s3 FOLDER COMMAND …

The server is moto, which keeps objects in memory and accepts any key: everything in it is gone when the command ends.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BUCKET, PREFIX = "demo", "images/"
PORT = 15_599  # stands in config/demo_s3.yaml too
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo", "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"}


def fill(folder: Path, endpoint: str) -> int:
    """Put the files of a folder into the bucket; gives their number. Names with a line break, which this server cannot hold, stay out."""
    import boto3

    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "\n" not in path.name]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda path: client.upload_file(str(path), BUCKET, PREFIX + path.relative_to(folder).as_posix()), files))
    return len(files)


def main(folder: Path, command: list[str]) -> int:
    """Serve, fill, run; gives the command's exit status."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError:
        sys.exit("the local S3 server is not installed: uv sync --frozen --extra cpu --group dev")
    os.environ.update(ENVIRONMENT)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=PORT, verbose=False)
    server.start()
    try:
        count = fill(folder, f"http://127.0.0.1:{PORT}")
        sys.stderr.write(f"{count} files are in s3://{BUCKET}/{PREFIX} of http://127.0.0.1:{PORT}\n")
        return subprocess.run(command, check=False).returncode  # noqa: S603 - the words of this command line
    finally:
        server.stop()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
