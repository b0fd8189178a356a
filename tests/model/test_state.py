"""What `--resume` restores: the next steps are those that would have come."""

import pytest
import torch
from safetensors.torch import save_file

from model.checkpoint import CheckpointError
from model.config import NetworkConfig, TrainingConfig
from model.network import Network
from model.state import Progress, TrainingState, build_optimizer

VOCAB_SIZE = 30
SIZES = NetworkConfig(
    hidden_size=16, num_heads=2, num_layers=1, mlp_size=16, max_length=8, bigram_buckets=32
)


def fresh(seed: int, hidden_size: int = 16) -> TrainingState:
    """A state whose weights come from `seed`."""
    torch.manual_seed(seed)
    sizes = SIZES.model_copy(update={"hidden_size": hidden_size})
    return TrainingState(Network(sizes, VOCAB_SIZE, num_labels=3), TrainingConfig())


def step(state: TrainingState, count: int) -> None:
    """Learn `count` batches that the random state chooses, with dropout."""
    state.network.train()
    for _ in range(count):
        input_ids = torch.randint(2, VOCAB_SIZE, (4, 6))
        logits, _ = state.network(input_ids, torch.ones_like(input_ids))
        loss = torch.nn.functional.cross_entropy(logits, torch.randint(3, (4,)))
        state.optimizer.zero_grad()
        loss.backward()
        state.optimizer.step()
        state.progress.step += 1
        state.progress.loss_sum += loss.item()
        state.update_average(10)


def test_loaded_state_goes_on_identically(tmp_path):
    """Weights, average, moments and losses of 3 more steps are equal bit by bit."""
    state = fresh(0)
    step(state, 3)
    state.save(tmp_path / "state")
    step(state, 3)
    loaded = fresh(1)
    torch.manual_seed(99)
    loaded.load(tmp_path / "state")
    step(loaded, 3)
    assert loaded.progress == state.progress
    for mine, its in ((loaded.network, state.network), (loaded.average, state.average)):
        pairs = zip(mine.state_dict().items(), its.state_dict().items(), strict=True)
        assert all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)
    moments = [item.optimizer.state_dict()["state"] for item in (loaded, state)]
    assert moments[0].keys() == moments[1].keys()
    for index, slots in moments[1].items():
        assert all(torch.equal(moments[0][index][name], slots[name]) for name in slots)


def test_progress_survives(tmp_path):
    """Position, history and an NLL that is still infinite."""
    state = fresh(0)
    state.progress = Progress(
        epoch=2, position=5, step=45, loss_sum=1.25, history=[{"epoch": 1, "valid_nll": 0.1 + 0.2}]
    )
    state.save(tmp_path / "state")
    loaded = fresh(0)
    loaded.load(tmp_path / "state")
    assert loaded.progress == state.progress
    assert loaded.progress.best_nll == float("inf")


def test_saving_changes_nothing(tmp_path):
    """A run that saves often ends where a run that saves seldom ends."""
    often, seldom = fresh(0), fresh(0)
    torch.manual_seed(5)
    for number in range(4):
        step(often, 1)
        often.save(tmp_path / f"{number}")
    torch.manual_seed(5)
    step(seldom, 4)
    pairs = zip(often.network.parameters(), seldom.network.parameters(), strict=True)
    assert all(torch.equal(mine, its) for mine, its in pairs)


def test_average_is_the_mean_of_the_first_steps():
    """Until the horizon is reached each step weighs the same; the start weighs nothing."""
    state = fresh(0)
    seen = []
    for number in range(1, 4):
        with torch.no_grad():
            for parameter in state.network.parameters():
                parameter.fill_(float(number))
        state.update_average(horizon=10)
        state.progress.step += 1
        seen.append(next(state.average.parameters()).mean().item())
    assert seen == pytest.approx([1.0, 1.5, 2.0])


def test_biases_and_norms_are_not_decayed():
    """Weight decay is for matrices."""
    network = fresh(0).network
    optimizer = build_optimizer(network, TrainingConfig(weight_decay=0.3))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decay.keys() == {id(parameter) for parameter in network.parameters()}
    for parameter in network.parameters():
        assert decay[id(parameter)] == (0.3 if parameter.dim() > 1 else 0.0)


def test_missing_state_is_an_error(tmp_path):
    """One line with the path."""
    with pytest.raises(CheckpointError, match="none is missing"):
        fresh(0).load(tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\x10" + b"\0" * 30])
def test_broken_state_is_an_error(tmp_path, content):
    """Neither half a file nor another format is taken for a state."""
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="state cannot be read"):
        fresh(0).load(path)


def test_state_of_other_sizes_is_an_error(tmp_path):
    """Its tensors do not fit, whatever the settings say."""
    fresh(0, hidden_size=32).save(tmp_path / "state")
    with pytest.raises(CheckpointError, match="state does not fit") as caught:
        fresh(0).load(tmp_path / "state")
    assert "\n" not in str(caught.value)


def test_other_tensors_are_an_error(tmp_path):
    """A sound file of something else."""
    save_file({"a": torch.zeros(2)}, tmp_path / "state", metadata={"state": "{}"})
    with pytest.raises(CheckpointError, match="state does not fit"):
        fresh(0).load(tmp_path / "state")
