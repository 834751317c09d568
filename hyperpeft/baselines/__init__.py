"""Methods: where adaptation starts. Ours and every baseline."""

from hyperpeft.baselines.base import Method
from hyperpeft.baselines.generated import CONDITIONINGS, Generated
from hyperpeft.baselines.multitask import Multitask
from hyperpeft.baselines.scratch import Scratch
from hyperpeft.baselines.zero_shot import ZeroShot

__all__ = ["CONDITIONINGS", "Generated", "Method", "Multitask", "Scratch", "ZeroShot"]
