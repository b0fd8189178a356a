"""Presets, a TOML file over them, flags over both."""

import pytest

from model.config import PRESETS, Config, ConfigError, TrainingConfig, load_config


def write(tmp_path, text: str):
    """A TOML file."""
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def error_of(preset: str = "small", file=None, **flags) -> str:
    """What is wrong with the settings, in one line."""
    with pytest.raises(ConfigError) as caught:
        load_config(preset, file, **flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("preset", ["tiny", "small", "base"])
def test_presets_load(preset):
    """Each is a whole configuration."""
    config = load_config(preset)
    assert isinstance(config, Config)
    assert config.network.hidden_size % config.network.num_heads == 0


def test_presets_are_the_files():
    """No preset that is not tested."""
    assert sorted(path.stem for path in PRESETS.glob("*.toml")) == ["base", "small", "tiny"]


def test_small_is_the_default():
    """What the code says is what `small` is."""
    assert load_config("small") == Config()
    assert (Config().network.num_layers, Config().network.hidden_size) == (2, 128)


def test_toml_goes_over_the_preset(tmp_path):
    """Key by key: what the file does not name stays as in the preset."""
    file = write(tmp_path, "[network]\nnum_layers = 3\n[training]\nseed = 5\n")
    config, preset = load_config("tiny", file), load_config("tiny")
    assert (config.network.num_layers, config.training.seed) == (3, 5)
    assert config.network.hidden_size == preset.network.hidden_size
    assert config.training.learning_rate == preset.training.learning_rate


def test_flags_go_over_toml(tmp_path):
    """A flag that was not given leaves the file's value."""
    file = write(tmp_path, "[training]\nseed = 5\nepochs = 7\n")
    training = load_config("tiny", file, seed=1, epochs=None).training
    assert (training.seed, training.epochs) == (1, 7)


def test_unknown_preset_lists_the_known():
    """A typing error is mended in one look."""
    assert error_of("huge") == "unknown preset 'huge', expected one of base, small, tiny"


@pytest.mark.parametrize("preset", ["../config", "", "tiny.toml"])
def test_preset_is_a_name_not_a_path(preset):
    """Nothing beside the presets is read."""
    assert error_of(preset).startswith(f"unknown preset {preset!r}")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[network]\nhiden_size = 64", "network.hiden_size"),
        ("[nework]\nhidden_size = 64", "nework"),
        ("learning_rate = 1e-3", "learning_rate"),
        ("[network]\nhidden_size = 0", "network.hidden_size"),
        ("[network]\ndropout = 1.0", "network.dropout"),
        ("[training]\nlearning_rate = -1e-3", "training.learning_rate"),
        ('[training]\nbatch_size = "many"', "training.batch_size"),
        ("[training]\nvalidation_fraction = 1", "training.validation_fraction"),
        ("[tokenizer]\nvocab_size = 1", "tokenizer.vocab_size"),
        ("training = 3", "training"),
        ("network = []", "network"),
    ],
)
def test_bad_setting_names_file_and_key(tmp_path, text, key):
    """Unknown keys and values out of range, also where a flag stands over the section."""
    file = write(tmp_path, text)
    assert error_of(file=file).startswith(f"{file}: {key}: ")
    assert error_of(file=file, seed=1).startswith(f"{file}: {key}: ")


def test_heads_must_divide_the_width(tmp_path):
    """Told before anything is read or written."""
    file = write(tmp_path, "[network]\nhidden_size = 64\nnum_heads = 5")
    message = error_of(file=file)
    assert message.startswith(f"{file}: network: ")
    assert "hidden_size 64 is not a multiple of num_heads 5" in message


def test_bad_flag_is_named_without_a_file():
    """There is no file to blame."""
    assert error_of(epochs=0).startswith("configuration: training.epochs: ")


@pytest.mark.parametrize(
    "content",
    [
        b"[network",
        b"seed = ",
        b"\xff\xfe",
        b"a = 1\na = 2",
        b"seed = " + b"[" * 5000,
        b"seed = " + b"1" * 5000,
        b"#\n" * 500_001,
    ],
    ids=lambda content: repr(content[:12]),
)
def test_broken_toml_names_the_file(tmp_path, content):
    """Syntax, encoding, depth, digits, size."""
    path = tmp_path / "own.toml"
    path.write_bytes(content)
    assert error_of(file=path).startswith(f"{path} cannot be read as TOML: ")


def test_missing_toml_names_the_file(tmp_path):
    """A file that was asked for is not optional."""
    path = tmp_path / "none.toml"
    assert error_of(file=path) == f"{path} does not exist; expected a TOML file"


def test_folder_is_no_toml(tmp_path):
    """What the file system refuses is a line."""
    assert error_of(file=tmp_path).startswith(f"{tmp_path} cannot be read as TOML: ")


@pytest.mark.parametrize(
    ("rows", "epochs"), [(10, 15), (26_000, 15), (50_000, 8), (100_000, 4), (10**7, 4)]
)
def test_many_rows_need_fewer_epochs(rows, epochs):
    """400,000 rows seen in all, in 4 to 15 epochs."""
    assert TrainingConfig().epochs_for(rows) == epochs


def test_epochs_asked_for_are_the_epochs():
    """Whatever the number of rows."""
    assert (
        TrainingConfig(epochs=2).epochs_for(10) == TrainingConfig(epochs=2).epochs_for(10**7) == 2
    )
