"""What of the pages' commands a test does not run, and why; and what stands for their names."""

from __future__ import annotations

# Lines as they are written. Each is at least parsed where it is a command of this program.
NOT_RUN = {
    "source .venv/bin/activate": "of the user's shell",
    "tensorboard --logdir runs": "serves until it is stopped; tests/train/test_loggers.py reads it",
    "ray start --head": "a cluster; tests/study/test_ray.py starts one",
    "ghostnet-small data --data.root DIR --data.label_column fine_label": (
        "a set with several labels; tests/data/test_sources.py has one"
    ),
    "ghostnet-small data --data.source cifar10": "from the hub; tests/data/hub has one of its own",
    "tools/evidence/run-in-background headline DIR": (
        "days of training; tests/evidence/test_run_in_background.py starts it with another program"
    ),
    "ghostnet-small export runs/NAME": "all formats; tests/deploy has each",
    (
        "ghostnet-small export runs/NAME --formats c,zephyr --int8 --flash 450kB --ram 128kB "
        "--data.root DIR"
    ): "calibrates once more; tests/use/test_export.py has packages and limits",
    "ghostnet-small predict runs/NAME/export/model.c picture.png": (
        "compiles a file once more; own-pictures.md does"
    ),
    "python3 -m venv fresh": "a second environment; tests/test_wheel.py runs the wheel alone",
    "fresh/bin/pip install dist/ghostnet_small-VERSION-py3-none-any.whl": (
        "of a release; tests/test_wheel.py builds it and runs it"
    ),
    "fresh/bin/ghostnet-small --version": "of the environment above",
    "fresh/bin/ghostnet-small models": "of the environment above",
    "fresh/bin/ghostnet-small train quickstart-digits --out trained": "of the environment above",
    "fresh/bin/ghostnet-small demo": "of the environment above",
    "git tag --sign vVERSION": "of a release",
    "git push origin vVERSION": "of a release",
    "twine check --strict dist/ghostnet_small-VERSION-py3-none-any.whl": "of a release",
    "twine upload dist/ghostnet_small-VERSION-py3-none-any.whl": "of a release",
}

# Commands that are only parsed, and recipes in them only resolved.
LONG = {
    "fit": "minutes of training; tests/fit/test_fit_images.py runs it short",
    "push": "to the hub; tests/publish/test_push_pull.py has one of its own",
    "pull": "from the hub; tests/publish/test_push_pull.py has one of its own",
    "demo": "serves until it is stopped; tests/demo asks it for its pages",
    "benchmark train": "a benchmark; tests/benchmark/test_train_speed.py runs it short",
    "benchmark distill": "a benchmark; tests/benchmark/test_distill_speed.py runs it short",
    "benchmark deploy": "a benchmark; tests/benchmark/test_deploy_speed.py runs it short",
}

# Commands that name what begins so are only parsed, and blocks of Python only compiled.
ELSEWHERE = {
    "hf-hub:": "the hub; tests/publish/test_push_pull.py has one of its own",
    "local-dir:": "a folder that pull wrote; tests/publish/test_push_pull.py has one",
}

# Programs whose options are parsed by their own parsers, and their files looked for.
PARSED_PROGRAMS = ("python", "torchrun", "accelerate", "make", "pip")
# Programs that are run as they are.
RUN_PROGRAMS = ("cc", "./classify")

# A name in a page, and what the folder of the test has for it.
NAMES = {
    "RECIPE": "recipes/quickstart-digits.yaml",
    "RUN": "runs/NAME",
    "FILE": "recipes/studies/quickstart-digits.yaml",
    "PATH": "DIR",
    "/usr/share/datasets/fashion-mnist": "fashion",
    "/shared/study": "shared-study",
}
# Within text a command is often cut to what the text is about.
SYNOPSES = ("COMMAND", "NAME")

# Runs that a page takes for granted.
GRANTED = {
    "docs/deployment.md": ("runs/NAME",),
    "docs/distillation.md": ("runs/other",),
    "docs/processes.md": ("runs/NAME",),
    "docs/studies.md": ("runs/some-run",),
}
