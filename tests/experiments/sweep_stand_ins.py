"""What the tests of the sweep share: a small command, tiny trials, and stand-ins for training and for workers."""

import dataclasses
import json

import jaxunreg as ju
from experiments.sweep import executors
from experiments.sweep.groups import Group, Images, Outcome
from jaxunreg.decomposition import TERMS

SMALL = [
    *("--dataset", "synth_digits", "--train-size", "96", "--test-size", "40", "--validation-size", "32"),
    *("--vae.base-channels", "2", "--vae.depth", "1", "--train.steps", "12", "--train.batch-size", "16"),
    *("--latent-dim", "0", "2", "--learning-rate", "1e-3", "3e-3", "1e10", "--seeds", "0", "1"),
    *("--no-progress", "--csv", "--name", "small"),
]


class Recorder:
    """In place of the training: notes what would be trained, and answers with an AUC made of the latent size."""

    def __init__(self, monkeypatch) -> None:
        self.groups: list[Group] = []
        monkeypatch.setattr(executors, "train_group", self)

    def __call__(self, group: Group, images: Images, **_: object) -> list[Outcome]:
        self.groups.append(group)
        return [Outcome(key, result_of(config), None) for key, config in zip(group.keys, group.configs, strict=True)]

    @property
    def keys(self) -> list[str]:
        return [key for group in self.groups for key in group.keys]


def result_of(config: dict) -> dict:
    auc = 0.5 + config["network"]["latent_dim"] / 1000 + config["seed"] / 10_000
    scores = dict.fromkeys(TERMS, auc)
    return {
        "auc": {"validation": scores, "test": scores},
        **{"seconds": 1.0, "members": 1, "worker": "here:1"},
    }


def trial(seed: int, **changes: object) -> dict:
    """The configuration of a tiny trial; `changes` go to the network or the training, whichever has the field."""
    network = dataclasses.asdict(ju.VAEConfig(image_shape=(4, 4, 1), depth=1, base_channels=2, latent_dim=2))
    train = dataclasses.asdict(ju.TrainConfig(steps=4, batch_size=8))
    for name, value in changes.items():
        (network if name in network else train)[name] = value
    return json.loads(json.dumps({"network": network, "train": train, "seed": seed}))


class Workers:
    """An executor whose workers die as told, before any of them answers."""

    def __init__(self, workers: int, deaths: dict[str, int]) -> None:
        self.workers, self.deaths, self.most = workers, deaths, 0
        self.groups: list[Group] = []
        self.begun: list[str] = []

    def submit(self, group: Group) -> None:
        self.groups.append(group)
        self.begun += group.keys
        self.most = max(self.most, len(self.groups))

    def wait(self) -> tuple[Group, list[Outcome] | str]:
        group = self.groups.pop(0)
        for key in group.keys:
            if self.deaths.get(key, 0) > 0:
                self.deaths[key] -= 1
                return group, "killed"
        return group, [Outcome(key, result_of(c), None) for key, c in zip(group.keys, group.configs, strict=True)]
