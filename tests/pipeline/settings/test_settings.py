"""Settings: the table, its sources and everything that can be wrong with a value."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings.kinds import Integer, Number, Size, Words
from pipeline.settings.report import as_toml
from pipeline.settings.rows import rows
from pipeline.settings.sources import load_settings
from pipeline.settings.table import SettingError, Settings

ROWS = {row.field: row for row in rows()}

BAD_VALUES = [
    ("GRPC_PORT", "65536"),
    ("GRPC_PORT", "-1"),
    ("GRPC_PORT", "http"),
    ("GRPC_PORT", "50051.5"),
    ("GRPC_HOST", "local host"),
    ("DEVICE", "tpu"),
    ("DEVICE", "cuda:1,cuda:1"),
    ("DEVICE", "cuda,cuda:0"),
    ("DEVICE", "auto,auto"),
    ("DEVICE", "cpu,cuda:0"),
    ("DEVICE", "null,cpu"),
    ("DEVICE", "cpu,"),
    ("DEVICE_CPUS", "one"),
    ("DEVICE_CPUS", "3-1"),
    ("DEVICE_CPUS", "-1"),
    ("DEVICE_CPUS", "0;;1"),
    ("DEVICE_CPUS", "0-99999"),
    ("DEVICE", "cuda:"),
    ("DTYPE", "int8"),
    ("ATTENTION", "magic"),
    ("POOLING", "median"),
    ("BATCHING", "padded"),
    ("TRUST_REMOTE_CODE", "maybe"),
    ("METRICS_ENABLED", "2"),
    ("MAX_BATCH_SIZE", "0"),
    ("MAX_BATCH_SIZE", "9" * 5000),
    ("MAX_REQUEST_BYTES", "16 MB"),
    ("MAX_REQUEST_BYTES", "lots"),
    ("MAX_REQUEST_BYTES", "100GiB"),
    ("MAX_BATCH_MS", "nan"),
    ("MAX_WAIT_TIME_S", "0"),
    ("MAX_WAIT_TIME_S", "inf"),
    ("BACKPRESSURE_EMA_ALPHA", "0"),
    ("BACKPRESSURE_EMA_ALPHA", "1.01"),
    ("BACKPRESSURE_SHED_SHARE", "-0.1"),
    ("LOG_FORMAT", "xml"),
    ("LOG_LEVEL", "loud"),
    ("METRICS_NAMESPACE", "a b"),
    ("MODEL_PATH", "a\nb"),
    ("MODEL_REVISION", "a b"),
]


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_bad_value_names_setting_value_source_and_what_is_allowed(name, value):
    with pytest.raises(SettingError) as caught:
        load_settings({}, {name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}={repr(value)[:40]}")
    assert f"(environment variable {name})" in message
    assert ROWS[name.lower()].kind.allowed in message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("one", "other", "values"),
    [
        ("MIN_ITEM_DELAY_MS", "DEADLINE_WAIT_MS", {"MIN_ITEM_DELAY_MS": "51"}),
        (
            "BACKPRESSURE_SOFT_P95_MS",
            "BACKPRESSURE_HARD_P95_MS",
            {"BACKPRESSURE_SOFT_P95_MS": "200"},
        ),
        ("MAX_ITEM_BYTES", "MAX_REQUEST_BYTES", {"MAX_REQUEST_BYTES": "1023KiB"}),
        ("HTTP_HEALTH_PORT", "GRPC_PORT", {"GRPC_PORT": "8001"}),
        ("ATTENTION", "DEVICE", {"ATTENTION": "flash_attention_2", "DEVICE": "cpu,cpu"}),
        ("DEVICE_CPUS", "DEVICE", {"DEVICE_CPUS": "0;1", "DEVICE": "cpu,cpu,cpu"}),
        ("DEVICE_CPUS", "DEVICE", {"DEVICE_CPUS": "0;1"}),
        ("TLS_CERT_FILE", "TLS_KEY_FILE", {"TLS_CERT_FILE": "cert.pem"}),
        ("TLS_CERT_FILE", "TLS_KEY_FILE", {"TLS_KEY_FILE": "key.pem"}),
        ("TLS_CLIENT_CA_FILE", "TLS_CERT_FILE", {"TLS_CLIENT_CA_FILE": "ca.pem"}),
        ("ATTENTION", "DTYPE", {"ATTENTION": "flash_attention_2", "DTYPE": "float32"}),
    ],
)
def test_values_that_do_not_go_together_are_both_named(one, other, values):
    with pytest.raises(SettingError) as caught:
        load_settings({}, values)
    assert str(caught.value).startswith(f"{one}=")
    assert f" {other}=" in str(caught.value)


def test_two_free_ports_do_not_clash():
    settings, _ = load_settings({}, {"GRPC_PORT": "0", "HTTP_HEALTH_PORT": "0"})
    assert (settings.grpc_port, settings.http_health_port) == (0, 0)


def test_nothing_set_gives_the_defaults():
    settings, sources = load_settings({}, {"PATH": "/bin", "GRPC_PORT": ""})
    assert settings == Settings()
    assert set(sources.values()) == {"default"}


def test_every_default_is_a_value_its_own_kind_allows():
    for row in rows():
        assert row.kind.parse(row.kind.show(row.default)) == row.default, row.name


def test_flag_beats_environment_beats_file_beats_default(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('grpc_port = 1\nhttp_health_port = 2\ndevice = "cpu"\n')
    settings, sources = load_settings(
        {"grpc_port": "3"}, {"GRPC_PORT": "4", "HTTP_HEALTH_PORT": "5"}, file
    )
    assert (settings.grpc_port, settings.http_health_port, settings.device) == (3, 5, ("cpu",))
    assert sources["grpc_port"] == "flag --grpc-port"
    assert sources["http_health_port"] == "environment variable HTTP_HEALTH_PORT"
    assert sources["device"] == f"file {file}"
    assert sources["dtype"] == "default"


def test_toml_values_keep_their_types(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(
        'CONTROL_TOKENS = ["[query]", "[title]"]\nmax_request_bytes = "8MiB"\n'
        "grpc_reflection = true\nmax_batch_ms = 12\nmodel_path = ''\n"
    )
    settings, _ = load_settings({}, {}, file)
    assert settings.control_tokens == ("[query]", "[title]")
    assert settings.max_request_bytes == 8 << 20
    assert settings.grpc_reflection is True
    assert settings.max_batch_ms == 12.0


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        ("grpc_prot = 1", "'grpc_prot' is not a setting"),
        ("grpc_port = 1\nGRPC_PORT = 2", "is set twice"),
        ("grpc_port = ", "not TOML"),
        ("grpc_port = true", "GRPC_PORT=True"),
        ("grpc_port = 1.0", "GRPC_PORT=1.0"),
        ("trust_remote_code = 1", "TRUST_REMOTE_CODE=1"),
        ("max_batch_ms = [1]", "MAX_BATCH_MS=[1]"),
        ("control_tokens = [1]", "CONTROL_TOKENS=[1]"),
        ("[grpc_port]\na = 1", "GRPC_PORT={"),
        ("device = 1", "DEVICE=1"),
        ("device = []", "DEVICE=[]"),
        ("device_cpus = 0", "DEVICE_CPUS=0"),
        ("device_cpus = [0]", "DEVICE_CPUS=[0]"),
        ("device_cpus = [[true]]", "DEVICE_CPUS=[["),
        ("dtype = 1979-05-27", "DTYPE="),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, needle):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(SettingError) as caught:
        load_settings({}, {}, file)
    assert needle in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SettingError, match=r"nowhere\.toml: No such file"):
        load_settings({}, {}, tmp_path / "nowhere.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError, match="not UTF-8"):
        load_settings({}, {}, binary)


@given(st.integers(0, 1 << 40))
def test_integers_and_sizes_survive_a_round_trip(value):
    for kind in (Integer(), Size(0)):
        assert kind.parse(kind.show(value)) == value


@given(st.floats(0, 1e9))
def test_numbers_survive_a_round_trip(value):
    assert Number().parse(Number().show(value)) == pytest.approx(value)


@given(st.lists(st.from_regex(r"[\w\[\]]+", fullmatch=True)))
def test_words_survive_a_round_trip(words):
    assert Words().parse(Words().show(tuple(words))) == tuple(words)


@given(st.sampled_from(sorted(ROWS)), st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_text_is_either_taken_or_refused_with_the_name(field, text):
    try:
        settings, _ = load_settings({field: text}, {})
    except SettingError as error:
        assert ROWS[field].name in str(error)  # noqa: PT017 (both outcomes are fine)
    else:
        assert type(getattr(settings, field)) is type(ROWS[field].default)


def test_reading_settings_imports_nothing_heavy():
    code = (
        "import sys, pipeline.settings.sources as s; s.load_settings({}, {});"
        "print(sorted({'torch', 'numpy', 'trio', 'grpclib', 'transformers'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("max_batch_ms = 1" + "0" * 400, "MAX_BATCH_MS=1000"),
        (f"tenant_weights = [['a', 1{'0' * 400}]]", "TENANT_WEIGHTS="),
        ("grpc_port = " + "1" * 5000, "thousands of digits"),
        ("grpc_port = " + "[" * 5000, "nested too deeply"),
    ],
)
def test_what_python_cannot_hold_is_told_too(tmp_path, text, what):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(SettingError, match=what):
        load_settings({}, {}, file)


def test_a_mark_at_the_beginning_of_a_file_is_no_fault(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_bytes(b"\xef\xbb\xbfgrpc_port = 7\r\n")
    assert load_settings({}, {}, file)[0].grpc_port == 7


def test_settings_printed_as_toml_can_be_read_again(tmp_path):
    file = tmp_path / "settings.toml"
    settings, sources = load_settings({"model_path": '/models/\U0001f600 "é\\'}, {})
    file.write_text(as_toml(settings, sources), encoding="utf-8")
    assert load_settings({}, {}, file)[0] == settings
