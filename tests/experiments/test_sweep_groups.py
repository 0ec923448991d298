"""Groups of trials: the trials of one program, and the cost of an error."""

import numpy as np

from experiments.sweep import training
from experiments.sweep.groups import Group, Images, Outcome, group_trials
from experiments.sweep.training import train_group
from experiments.sweep.trials import trial_id
from tests.experiments.sweep_stand_ins import trial


def test_groups_share_shape_and_training_and_give_every_worker_something():
    configs = [trial(seed, latent_dim=n, base_channels=c) for seed in range(3) for n in (9, 2) for c in (2, 4)]
    found, broken = group_trials(configs, group_size=16, workers=1)
    assert not broken
    assert [len(group.members) for group in found] == [6, 6]
    for group in found:
        assert len({config["network"]["base_channels"] for config in group.configs}) == 1
        assert group.model.config.latent_dim == 9
        assert [member.latent_dim for member in group.members] == [2, 2, 2, 9, 9, 9]
        for member, config in zip(group.members, group.configs, strict=True):
            assert (member.seed, member.latent_dim) == (config["seed"], config["network"]["latent_dim"])
    assert {key for group in found for key in group.keys} == set(map(trial_id, configs))

    assert [len(group.members) for group in group_trials(configs, group_size=4, workers=1)[0]] == [3, 3, 3, 3]
    assert len(group_trials(configs, group_size=16, workers=6)[0]) == 6
    longer = trial(0, steps=5)
    assert len(group_trials([*configs, longer], group_size=16, workers=1)[0]) == 3


def test_a_part_of_a_group_has_the_model_of_its_own_largest_latent_size():
    configs = [trial(0, latent_dim=n) for n in (9, 2, 5, 3)]
    parts, _ = group_trials(configs, group_size=2, workers=1)
    for group, sizes in zip(parts, [[2, 3], [5, 9]], strict=True):
        assert [member.latent_dim for member in group.members] == sizes
        assert group.model.config.latent_dim == sizes[-1]
    (whole,), _ = group_trials(configs, group_size=4, workers=1)
    assert whole.model.config.latent_dim == 9
    assert [half.model.config.latent_dim for half in whole.halves()] == [3, 9]


def test_an_error_of_a_group_costs_only_the_trial_that_it_comes_from(monkeypatch):
    def train(group: Group, *_: object) -> list[Outcome]:
        if any(member.latent_dim == 7 for member in group.members):
            raise MemoryError("no room")
        return [Outcome(key, {}, None) for key in group.keys]

    monkeypatch.setattr(training, "train_together", train)
    configs = [trial(seed, latent_dim=n) for seed in (0, 1) for n in (3, 7, 9)]
    (group,), _ = group_trials(configs, group_size=16, workers=1)
    images = Images(*[np.zeros((8, 8, 8, 1), np.uint8)] * 5)
    outcomes = {outcome.key: outcome for outcome in train_group(group, images, directory=None)}
    assert len(outcomes) == 6
    for config in configs:
        wanted = "MemoryError: no room" if config["network"]["latent_dim"] == 7 else None
        assert outcomes[trial_id(config)].error == wanted
