"""The settings of the model and the device; see :mod:`pipeline.settings.table`."""

from attrs import frozen

from pipeline.settings.device_kinds import CpuSets, Devices
from pipeline.settings.field import setting
from pipeline.settings.kinds import Choice, Flag, Integer, Text, Words

POOLINGS = ("", "cls", "mean", "max", "mean_sqrt_len", "weightedmean", "lasttoken")
REVISION = Text("a branch, a tag or a commit", r"[\w./-]*")


@frozen
class ModelSettings:
    """What is loaded, and what runs it."""

    model_path: str = setting(
        "",
        Text("a folder, a hub id or a URL"),
        "Local folder, Hugging Face hub id, `s3://bucket/prefix` or a URL of any installed "
        "fsspec driver; unset serves the embedded all-MiniLM-L6-v2",
    )
    model_revision: str = setting("", REVISION, "Branch, tag or commit of a hub model")
    model_cache_dir: str = setting(
        "/tmp/model_cache",  # noqa: S108 (the default that users of the older server know)
        Text("a folder", r".+"),
        "Where downloaded models are kept",
    )
    trust_remote_code: bool = setting(False, Flag(), "Run Python code that comes with a model")
    device: tuple[str, ...] = setting(
        ("auto",),
        Devices(),
        "`auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`, or several, such as "
        "`cuda:0,cuda:1`; `null` loads no weights and answers with numbers made from the token "
        "ids, for load tests",
    )
    device_threads: int = setting(
        0, Integer(0, 1024), "Threads of a CPU engine; 0: as many as each device has cores"
    )
    device_cpus: tuple[tuple[int, ...], ...] = setting(
        (),
        CpuSets(),
        "Cores that the threads of the device run on, each on its part of them, such as `0-1` or "
        "`0,2-3`; with several devices `0-3;4-7` gives each its own; unset: all cores",
    )
    dtype: str = setting(
        "auto",
        Choice(("auto", "float32", "float16", "bfloat16")),
        "Number format of the weights; `auto`: float32 on CPU, bfloat16 or float16 on CUDA",
    )
    attention: str = setting(
        "auto",
        Choice(("auto", "sdpa", "flash_attention_2")),
        "Attention kernel; `flash_attention_2` needs CUDA and the flash-attn extra",
    )
    compile: bool = setting(
        True,
        Flag(),
        "Compile a packed model on CUDA: faster batches, and a start that takes longer",
    )
    pooling: str = setting(
        "", Choice(POOLINGS), "Pooling to use in place of the one that the model declares"
    )
    control_tokens: tuple[str, ...] = setting(
        (), Words(), "Tokens to add to the tokenizer, such as `[query],[title]`"
    )
    pooling_exclude_tokens: tuple[str, ...] = setting((), Words(), "Tokens left out of the pooling")
    pooling_exclude_special: bool = setting(
        False,
        Flag(),
        "Leave what the tokenizer puts around every text ([CLS], [SEP]) out of the pooling; "
        "other special tokens in a text ([UNK], [MASK], control tokens) count",
    )
