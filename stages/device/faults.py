"""Which of a device's errors are final for this process, and which are for want of memory.

CUDA reports some faults once and from then on with every call: the context is broken,
and only a new process gets another (CUDA's manual, "CUDA error handling": sticky
errors). PyTorch raises them as AcceleratorError or RuntimeError, Triton as RuntimeError,
all with CUDA's own words in the message; these are the words of the errors for which
CUDA's reference says that the process must be ended and launched anew.
"""

from typing import Final

STICKY: Final = (
    "illegal memory access",
    "device-side assert",
    "unspecified launch failure",
    "launch timed out",
    "misaligned address",
    "illegal instruction",
    "invalid program counter",
    "hardware stack error",
    "not supported on global/shared address space",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "invalid access of peer gpu memory",
    "busy or unavailable",
    "gpu is lost",
)

# torch's allocator has an error of its own; a kernel's launch, a graph's capture or
# cuBLAS's workspace may lack memory too, and say so in these words.
OUT_OF_MEMORY: Final = ("out of memory", "status_alloc_failed")


def is_sticky(error: Exception) -> bool:
    """Whether the device that raised ``error`` is lost to this process."""
    if not isinstance(error, RuntimeError):
        return False
    text = str(error).lower()
    return any(words in text for words in STICKY)


def wants_memory(error: Exception) -> bool:
    """Whether a smaller batch may succeed where this one raised ``error``."""
    text = str(error).lower()
    return any(words in text for words in OUT_OF_MEMORY)
