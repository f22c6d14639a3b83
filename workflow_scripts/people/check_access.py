"""people 01: find out before the long work what a bucket would refuse after it."""

from collections.abc import Iterable
from itertools import islice

from workflow_scripts.core.images import IMAGE_EXTENSIONS, extension
from workflow_scripts.core.step import StepError
from workflow_scripts.core.storage import S3Storage, Storage, StorageError

LOOKED_AT = 1000  # objects among which an image to try is looked for: one page of a listing


def check_access(source: Storage, targets: Iterable[Storage]) -> None:
    """Read one image of a bucket, and begin and give up an upload where results go. Folders are not asked.

    Raises:
        StepError: naming the place and what is refused.
    """
    for target in targets:
        if isinstance(target, S3Storage):
            target.prepare()
    if not isinstance(source, S3Storage):
        return
    source.check_region()
    images = (item for item in islice(source.list(), LOOKED_AT) if extension(item.key) in IMAGE_EXTENSIONS)
    for item in islice(images, 1):
        try:
            source.read(item)
        except StorageError as error:
            if "denied" in str(error):
                raise StepError(f"{source.location}: may be listed but not read ({item.key}: {error}); allow s3:GetObject") from error
