"""What stands in a checkpoint's file, read without running anything in it; every other kind of file is refused by what it is."""

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from workflow_scripts.core.step import StepError

SAVE = "save its weights alone, as torch.save(model.state_dict(), path) does"
FETCH = "copy or download it again"


def is_safetensors(path: str | Path) -> bool:
    """Whether a file is called safetensors."""
    return Path(path).suffix.lower() == ".safetensors"


def read_content(path: str | Path, handle: IO[bytes]) -> Any:
    """What torch.save or safetensors wrote, with its tensors on the CPU.

    Raises:
        StepError: the file is something else, holds more than plain values and tensors, or is damaged; the text says which.
    """
    handle.seek(0)
    head = handle.read(64)
    handle.seek(0)
    # A safetensors file begins with its header's length in 8 bytes, little-endian; 2**48 would be no header's.
    is_one = head[6:9] == b"\0\0{"
    if not head:
        raise StepError(f"{path}: the file is empty; {FETCH}")
    if head.startswith(b"version https://git-lfs"):
        raise StepError(f"{path}: a git-LFS pointer and not the weights; run git lfs pull where it came from")
    if not is_one and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise StepError(f"{path}: a web page or XML and not the weights, probably the error page of a download; {FETCH}")
    if is_one != is_safetensors(path):
        found = "a safetensors file under another suffix" if is_one else "no safetensors file, whatever its suffix says"
        raise StepError(f"{path}: {found}; rename it to {'.safetensors' if is_one else 'what it is, .pt for a file of torch.save'}")
    if is_one:
        return _load_safetensors(path, handle)
    if head.startswith(b"PK\x03\x04"):
        _check_archive(path, handle)
    elif not head.startswith(b"\x80"):
        raise StepError(f"{path}: no checkpoint, it begins with {head[:16]!r}; {FETCH}, or {SAVE}")
    return _load_pickle(path, handle)


def _check_archive(path: str | Path, handle: IO[bytes]) -> None:
    """Refuse zip files that torch.save did not write; torch itself would try to run a TorchScript archive."""
    try:
        members = {name.rpartition("/")[2] for name in zipfile.ZipFile(handle).namelist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise StepError(f"{path}: the archive is cut off or damaged ({error}); {FETCH}") from error
    if "constants.pkl" in members:
        raise StepError(f"{path}: a TorchScript archive, which holds code; load it with torch.jit.load and {SAVE}")
    if "data.pkl" not in members:
        raise StepError(f"{path}: a zip archive that torch.save did not write; {SAVE}")
    handle.seek(0)


def _load_pickle(path: str | Path, handle: IO[bytes]) -> Any:
    import torch

    # Training scripts often save their best score beside the weights as a number of numpy. Making one runs no code of the file.
    scalar = np.float64(0).__reduce__()[0]
    numbers: list[Any] = [np.dtype, *(type(np.dtype(code)) for code in "?bhilqBHILQefd")]
    numbers += [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    try:
        with torch.serialization.safe_globals(numbers), warnings.catch_warnings(action="ignore"):
            return torch.load(handle, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
            found = f"it holds a Python object ({named[1]}), and to load one can run any code"
            raise StepError(f"{path}: {found}; load it where it was made, and {SAVE}") from error
        found = "a pickle that is damaged, that torch.save did not write, or that is of another pickle protocol than 2"
        raise StepError(f"{path}: {found}; {FETCH}, or {SAVE}") from error
    except Exception as error:  # damaged pickles end in errors of any kind
        text = (str(error) or type(error).__name__).splitlines()[0]
        raise StepError(f"{path}: the file is cut off or damaged, or torch.save did not write it ({text}); {FETCH}, or {SAVE}") from error


def _load_safetensors(path: str | Path, handle: IO[bytes]) -> Any:
    import safetensors
    import safetensors.torch

    try:
        # The library gives the tensors in another order each time.
        return dict(sorted(safetensors.torch.load(handle.read()).items()))
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise StepError(f"{path}: the safetensors file is cut off or damaged ({error}); {FETCH}") from error
