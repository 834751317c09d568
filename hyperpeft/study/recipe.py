"""What a generator was trained with, as a configuration again."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hyperpeft.config import ConfigError
from hyperpeft.generator import Generator
from hyperpeft.run_config import RunConfig


def config_of(generator: Generator, changes: Mapping[str, Any]) -> DictConfig:
    """The configuration that a generator was trained with, less its evaluation, with changes.

    Raises ConfigError if the generator does not say it, or says it in another version's words.
    """
    if "run" not in generator.about:
        raise ConfigError("the generator does not say how it was trained (about.run): train one by train_hyper.py.")
    run = {key: value for key, value in generator.about["run"].items() if key != "evaluation"} | dict(changes)
    config = OmegaConf.structured(RunConfig)
    try:
        for key in run.keys() & config.keys():
            if OmegaConf.get_type(config, key) is dict:
                config[key] = {}  # a section of another kind: none of the default's arguments
        return OmegaConf.merge(config, run)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError(f"the generator's about.run is of another version: {error}") from error
