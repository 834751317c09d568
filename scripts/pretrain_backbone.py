"""Pretrain a tiny language model: python scripts/pretrain_backbone.py --config configs/letters_backbone.yaml"""

import argparse
import logging
import warnings

from hyperpeft.config import load_config
from hyperpeft.pretraining import PretrainConfig, pretrain

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Pretrain a small character-level language model, or go on with it.")
    parser.add_argument("--config", action="append", default=[], help="YAML file; later files win (repeatable)")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for message in (".*does not have many workers.*", ".*treespec, LeafSpec.*", ".*Checkpoint directory .* exists.*"):
        warnings.filterwarnings("ignore", message=message)
    config = load_config(PretrainConfig, options.config or ["configs/letters_backbone.yaml"], options.overrides)
    print(f"The backbone is in {pretrain(config)}")
