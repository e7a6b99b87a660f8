"""The names and defaults that help texts show, without the modules that define them.

Those need torch, and ``--help`` must not wait for it. ``tests/cli/test_start.py`` compares both.
"""

INPUTS = ("normalized", "pixels")
EXPORT_FOLDER = "export"
CALIBRATION = 512  # images
HEAD_BITS = (8, 4)  # of a weight of the head, in an int8 C file

TRAIN_VARIANTS = (
    "multibranch",
    "multibranch_channels_last",
    "merged",
    "engine",
    "plain",
    "plain_channels_last",
)
COMPILED_TRAIN_VARIANTS = ("multibranch_compiled", "plain_compiled")
DISTILL_VARIANTS = (
    "plain",
    "cached_kd",
    "cached_dkd",
    "cached_dist",
    "cached_standardized",
    "cached_ensemble",
    "live_gns_1.6",
    "live_gns_2.8",
    "live_resnet18",
)
PEERS = ("resnet20", "mobilenetv2_x0_5", "shufflenetv2_x0_5")
BATCHES, TURNS = (1, 256), 5
