"""Pretrain a tiny language model: python scripts/pretrain_backbone.py --config configs/letters_backbone.yaml"""

import sys

from hyperpeft.cli import main

if __name__ == "__main__":
    main(["pretrain", *sys.argv[1:]])
