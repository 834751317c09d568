"""Meta-train a generator: python scripts/train_hyper.py --config configs/default.yaml steps=200 optim.lr=3e-4"""

from hyperpeft.cli import train

if __name__ == "__main__":
    train()
