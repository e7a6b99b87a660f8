"""Models to a local server that speaks the hub's protocol, and back, failures included.

One server, one process of commands and one pushed model serve all tests: starts take most of the
time. Those that change a repository have one of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ghostnet_small as gns
from ghostnet_small.errors import InputError
from ghostnet_small.files import signed_json
from ghostnet_small.hub.failures import without_secrets
from ghostnet_small.hub.models import is_hub_name, read_hub_name
from ghostnet_small.hub.origin import origin_of
from ghostnet_small.models.shipped_weights import shipped_weights
from ghostnet_small.study import planning
from hub_client import Answer, HubClient
from hub_server import HubServer, Repository, Switches
from makers import make_picture, png_bytes

SHIPPED = "ghostnetv3_small_w1.0_cifar10"
TOKEN, OTHERS = "hf_thisIsASecret12345", "hf_anothersSecret6789"
FILES = {"model.safetensors", "config.json", "README.md"}
# 48 pictures to train on.
SHORT = ("--data.limit", "60", "--train.epochs", "1", "--train.batch_size", "16")


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with HubServer({}, writers={"me": TOKEN, "you": OTHERS}) as found:
        yield found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(
    server: HubServer, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HubClient]:
    """A process that sees the server as a mirror, has a token, and a cache of its own."""
    # Without xet, of which the server knows nothing, large files go by git's LFS.
    place = {"HF_HOME": str(home), "HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1"}
    with HubClient(tmp_path_factory.mktemp("work"), HF_TOKEN=TOKEN, **place) as found:
        # Drawing pictures takes longer than the trainings do.
        found.python(
            "from ghostnet_small.run import finish\n"
            "for name in ('draw_curves', 'draw_confusion', 'draw_mistakes'):\n"
            "    setattr(finish, name, lambda *drawn: None)\n"
        )
        yield found


@pytest.fixture(autouse=True)
def reset(server: HubServer) -> Iterator[None]:
    server.switches = Switches()
    server.requests.clear()
    yield
    server.switches = Switches()


@pytest.fixture(scope="module")
def pushed(client: HubClient) -> dict[str, Any]:
    """What the command said of the shipped weights, which are in ``me/cifar``."""
    value: dict[str, Any] = client.run("push", SHIPPED, "me/cifar", "--json").value
    return value


@pytest.fixture(scope="module")
def pulled(pushed: dict[str, Any], client: HubClient) -> Path:
    out = client.folder / "pulled"
    assert client.run("pull", "me/cifar", "--out", str(out)).status == 0
    return out


def logits(folder: str | Path, x: torch.Tensor) -> torch.Tensor:
    model, _ = gns.load(folder)
    with torch.inference_mode():
        return model(x)


def pictures() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def done(answer: Answer) -> None:
    assert answer.status == 0, answer.err


def refused(answer: Answer) -> str:
    """The one line of a refusal, without a secret in it."""
    assert TOKEN not in answer.err + answer.out and OTHERS not in answer.err + answer.out
    return answer.error


# -- there and back ----------------------------------------------------------------------------


def test_one_commit_in_timms_layout_without_places(
    server: HubServer, pushed: dict[str, Any]
) -> None:
    repository = server.models["me/cifar"]
    assert set(repository.files) >= FILES and not repository.private
    assert repository.messages == {pushed["commit"]: "Add ghostnetv3_small by ghostnet-small"}
    assert repository.revisions == {"main": pushed["commit"]}
    assert pushed["size_bytes"] == {name: len(repository.files[name]) for name in FILES}
    assert (pushed["url"], pushed["created"]) == (f"{server.url}/me/cifar", True)
    config = json.loads(repository.files["config.json"])
    assert config["model_args"] == {"width": 1.0} and config["label_names"] == config["classes"]
    assert config["pretrained_cfg"]["input_size"] == [3, 32, 32]
    assert config["pretrained_cfg"]["license"] == "mit"
    card = repository.files["README.md"].decode()
    _, front, text = card.split("---\n", 2)
    assert "library_name: timm" in front and "license: mit" in front
    assert 'timm.create_model("hf-hub:me/cifar", pretrained=True)' in text
    record = json.loads((shipped_weights()[SHIPPED] / "record.json").read_text())
    assert f"{record['evaluation']['top1']:.2f} %" in text


def test_what_is_pulled_gives_the_same_logits(pushed: dict[str, Any], pulled: Path) -> None:
    assert {file.name for file in pulled.iterdir()} == FILES | {"hub.json"}
    origin = json.loads((pulled / "hub.json").read_text())
    assert (origin["repository"], origin["commit"]) == ("me/cifar", pushed["commit"])
    x = pictures()
    assert torch.equal(logits(pulled, x), logits(SHIPPED, x))


def test_what_is_pulled_fine_tunes_on_digits(
    pushed: dict[str, Any], pulled: Path, client: HubClient, tmp_path: Path
) -> None:
    words = ["train", "quickstart-digits", "--model.weights", str(pulled), "--json"]
    words += ["--out", str(tmp_path / "run"), "--train.epochs", "4", "--train.device", "cpu"]
    words += ["--optimizer.learning_rate", "0.01"]
    summary = client.run(*words).value
    # From fresh weights it is about 44 % by then.
    assert summary["last"]["test_top1"] > 80
    beginning = summary["beginning"]
    assert (beginning["repository"], beginning["commit"]) == ("me/cifar", pushed["commit"])
    assert (beginning["classifier"], beginning["channels"]) == ("afresh", 3)
    # A run goes to the hub with its own figures, and without where its beginning lay.
    done(client.run("push", str(tmp_path / "run"), "me/digits", "--json"))
    done(client.run("pull", "me/digits", "--out", str(tmp_path / "digits"), "--json"))
    card = (tmp_path / "digits" / "README.md").read_text()
    assert f"{summary['last']['test_top1']:.2f} %" in card and "license" not in card
    sent = (tmp_path / "digits" / "config.json").read_text()
    assert str(tmp_path) not in sent + card and str(pulled) not in sent + card


@pytest.mark.parametrize("form", ["training", "deployed"])
def test_timm_loads_it(
    form: str, server: HubServer, client: HubClient, pushed: dict[str, Any], tmp_path: Path
) -> None:
    name = "me/cifar"
    if form == "deployed":
        name = "me/folded"
        model, info = gns.load(SHIPPED)
        gns.save_model(gns.reparameterize(model), info, tmp_path / "folded")  # type: ignore[arg-type]
        done(client.run("push", str(tmp_path / "folded"), name, "--json"))
    client.python(
        "import timm, torch, ghostnet_small.timm_models\n"
        f"model = timm.create_model('hf-hub:{name}', pretrained=True).eval()\n"
        "x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))\n"
        f"with torch.inference_mode(): torch.save(model(x), {str(tmp_path / 'logits')!r})\n"
    )
    ours = logits(SHIPPED if form == "training" else tmp_path / "folded", pictures())
    assert torch.equal(torch.load(tmp_path / "logits"), ours)


def test_a_name_of_the_hub_is_taken_for_a_path(
    server: HubServer, client: HubClient, pushed: dict[str, Any], tmp_path: Path
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(png_bytes(make_picture(0, 2, size=32, random=np.random.default_rng(0))))
    server.requests.clear()
    answer = client.run("predict", "hf-hub:me/cifar", str(picture), "--json")
    assert answer.value == client.run("predict", SHIPPED, str(picture), "--json").value
    assert client.run("info", "hf-hub:me/cifar", "--json").value["width"] == 1.0
    # No file is fetched but the two, and none twice.
    fetched = [path.rpartition("/")[2] for method, path, _, sent in server.requests if sent]
    assert set(fetched) <= {"config.json", "model.safetensors"}
    assert len(fetched) == len(set(fetched))
    out = ["--out", str(tmp_path / "folded"), "--json"]
    at = f"hf-hub:me/cifar@{pushed['commit']}"
    assert client.run("fold", at, *out).value["params"]["deployed"] == 374174


def test_a_model_of_the_hub_teaches(client: HubClient, tmp_path: Path) -> None:
    recipe = ["--model.width", "0.05", "--train.device", "cpu", *SHORT]
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    assert client.run("train", *recipe, "--out", str(teacher)).status == 0
    done(client.run("push", str(teacher), "me/teacher", "--private", "--json"))
    words = ["--distill.targets", "live", "--out", str(student), "--json"]
    words += ["--teachers", "hf-hub:me/teacher"]
    summary = client.run("distill", *recipe, *words).value
    assert summary["distill"]["teachers"][0]["name"] == "hf-hub:me/teacher"


def test_branches_commits_and_a_second_push(
    server: HubServer, client: HubClient, pushed: dict[str, Any], pulled: Path, tmp_path: Path
) -> None:
    first = client.run("push", SHIPPED, "me/branches", "--json").value
    again = client.run("push", SHIPPED, "me/branches", "--json").value
    assert (again["commit"], again["created"]) == (first["commit"], False)  # nothing changed
    model, info = gns.load(SHIPPED)
    torch.nn.init.zeros_(model.classifier.bias)  # type: ignore[arg-type, union-attr]
    gns.save_model(model, info, tmp_path / "other")
    words = ["--message", "Without a bias", "--license", "apache-2.0", "--json"]
    branch = client.run("push", str(tmp_path / "other"), "me/branches@no-bias", *words).value
    repository = server.models["me/branches"]
    assert repository.messages[branch["commit"]] == "Without a bias"
    assert repository.revisions == {"main": first["commit"], "no-bias": branch["commit"]}
    assert b"license: apache-2.0" in repository.commits[branch["commit"]]["README.md"]
    x = pictures()
    for at, ours in (
        ("me/branches", SHIPPED),
        ("me/branches@no-bias", tmp_path / "other"),
        (f"me/branches@{branch['commit']}", tmp_path / "other"),
    ):
        out = tmp_path / at.replace("/", "-")
        assert client.run("pull", at, "--out", str(out)).status == 0
        assert torch.equal(logits(out, x), logits(ours, x))
    out = ["--out", str(tmp_path / "x")]
    by_option = client.run("pull", "me/branches", "--revision", "no-bias", *out, "--json").value
    assert by_option["commit"] == branch["commit"]
    assert "leave one out" in refused(client.run("pull", "a/b@c", "--revision", "d", *out))
    assert "exists" in refused(client.run("pull", "me/branches", *out))
    error = refused(client.run("pull", "me/branches@v9", "--out", str(tmp_path / "y")))
    assert "revision 'v9' is not a branch, tag or commit of model me/branches" in error


# -- what goes wrong ---------------------------------------------------------------------------


def test_what_the_server_refuses_names_the_cure_and_no_token(
    server: HubServer, client: HubClient, pulled: Path, tmp_path: Path
) -> None:
    server.models["o/gated"] = Repository({"config.json": b"{}"}, gated=True)
    out = ("--out", str(tmp_path / "x"))
    error = refused(client.run("pull", "o/gated", *out))
    assert "model o/gated is gated: accept its terms" in error
    error = refused(client.run("pull", "o/absent", *out))
    assert "has no model o/absent, or it is private; correct the name" in error
    error = refused(client.run("push", str(pulled), "you/model"))
    assert "(status 403)" in error and "lacks the right to write it; give a token" in error
    server.models["me/public"] = Repository({"README.md": b""})
    error = refused(client.run("push", str(pulled), "me/public", "--private"))
    assert "me/public is there already, and public" in error
    for status, words in (
        (401, "the token is not valid"),
        (403, "the token is not valid"),
        (404, "cannot be"),
        (429, "too many requests"),
        (500, "(status 500)"),
    ):
        # What a server says may have the token in it.
        server.switches = Switches(status=status, echo=True)
        assert words in refused(client.run("pull", "o/other", *out)), status
        assert words in refused(client.run("push", str(pulled), "me/other")), status
    assert not (tmp_path / "x").exists()


def test_no_token_stands_in_a_traceback_nor_in_what_was_written(
    server: HubServer, client: HubClient, pulled: Path, home: Path
) -> None:
    server.switches = Switches(status=404, echo=True)
    answer = client.python(
        "import ghostnet_small as gns, traceback\n"
        "try: gns.load('hf-hub:o/other')\n"
        "except gns.InputError: traceback.print_exc()\n"
    )
    assert "InputError" in answer.err and TOKEN not in answer.err
    written = [*home.rglob("*"), *client.folder.rglob("*")]
    assert not any(TOKEN.encode() in file.read_bytes() for file in written if file.is_file())
    for name in (TOKEN, f"me/{TOKEN}", f"me/{TOKEN}/x", f"{TOKEN}@"):
        assert "is not the name of a model" in refused(client.run("push", str(pulled), name))


def test_without_a_token_or_offline_nothing_is_sent(
    server: HubServer, client: HubClient, pulled: Path
) -> None:
    switched = "import os\nos.environ.pop('HF_TOKEN')\n"
    client.python(switched)
    try:
        error = refused(client.run("push", str(pulled), "me/other"))
    finally:
        client.python(f"import os\nos.environ['HF_TOKEN'] = {TOKEN!r}\n")
    assert "needs a token with the right to write; give a token with HF_TOKEN" in error
    offline = "from huggingface_hub import constants\nconstants.HF_HUB_OFFLINE = {}\n"
    client.python(offline.format(True))
    try:
        error = refused(client.run("push", str(pulled), "me/other"))
        absent = refused(client.run("info", "hf-hub:o/unknown"))
        # What was fetched before is there.
        answer = client.run("info", "hf-hub:me/cifar", "--json")
    finally:
        client.python(offline.format(False))
    assert "HF_HUB_OFFLINE forbids sending" in error
    assert "HF_HUB_OFFLINE forbids fetching it; unset that, or give a folder" in absent
    assert (answer.value["width"], answer.err) == (1.0, "")
    assert server.requests == []


def test_while_the_server_fails_the_cache_is_taken(
    server: HubServer, client: HubClient, pushed: dict[str, Any]
) -> None:
    assert client.run("info", "hf-hub:me/cifar").status == 0
    server.switches.status = 503
    answer = client.run("info", "hf-hub:me/cifar", "--json")
    assert answer.value["width"] == 1.0
    assert answer.err == (
        "ghostnet-small: the hub does not answer; me/cifar is taken from the cache, as of commit "
        f"{pushed['commit'][:12]}\n"
    )


def test_what_is_no_model_of_ours(
    server: HubServer, client: HubClient, pushed: dict[str, Any]
) -> None:
    files = server.models["me/cifar"].files
    weights = files["model.safetensors"]
    config = json.loads(files["config.json"])
    theirs = {key: config[key] for key in ("architecture", "num_classes", "label_names")}
    theirs |= {key: config[key] for key in ("model_args", "pretrained_cfg")}
    other = {**theirs, "architecture": "vit_base_patch15_224"}
    odd = {**theirs, "model_args": {"width": 1.0, "act_layer": "gelu"}}
    large = {
        **theirs,
        "pretrained_cfg": {**config["pretrained_cfg"], "input_size": [3, 9999, 9999]},
    }
    no_list = {**theirs, "pretrained_cfg": []}
    server.models |= {
        "o/timm": make(weights, theirs),
        "o/vit": make(weights, other),
        "o/odd": make(weights, odd),
        "o/large": make(weights, large),
        "o/no-list": make(weights, no_list),
        "o/pickled": make(b"\x80\x04pickled", theirs),
        "o/pickle": Repository({"config.json": b"{}", "pytorch_model.bin": b"\x80\x04"}),
        "o/no-config": Repository({"model.safetensors": weights}),
        "o/changed": Repository(
            {
                "model.safetensors": weights,
                "config.json": files["config.json"].replace(b"frog", b"toad", 1),
            }
        ),
    }
    # What timm wrote of a network that is ours, with the names of its classes.
    assert client.run("info", "hf-hub:o/timm", "--json").value["params"]["deployed"] == 374174
    for name, words in {
        "o/vit": "'vit_base_patch15_224', which is none of this program's networks",
        "o/odd": "builds ghostnetv3_small with act_layer",
        "o/large": "size 9999x9999 is not allowed",
        "o/no-list": "does not describe weights",
        "o/pickled": "is a pickle, which can run code and is never loaded",
        "o/pickle": "has no model.safetensors",
        "o/no-config": "has no config.json",
        "o/changed": "its digest is not that of its content",
    }.items():
        assert words in refused(client.run("info", f"hf-hub:{name}")), name
    error = refused(client.run("pull", "o/vit", "--out", "vit"))
    assert "model o/vit at " in error and not (client.folder / "vit").exists()


def make(weights: bytes, config: dict[str, Any]) -> Repository:
    return Repository({"model.safetensors": weights, "config.json": json.dumps(config).encode()})


def test_a_wrong_checksum_is_found(server: HubServer, client: HubClient, pulled: Path) -> None:
    files = {name: (pulled / name).read_bytes() for name in ("model.safetensors", "config.json")}
    server.models["o/wrong"] = Repository(files)
    server.switches.flip = "model.safetensors"  # of the right size, which the client compares
    error = refused(client.run("info", "hf-hub:o/wrong"))
    assert "the cached model.safetensors of model o/wrong, is damaged: its checksum" in error


# -- parts -------------------------------------------------------------------------------------


def test_names() -> None:
    name = read_hub_name("hf-hub:owner/a.name-1@refs/pr/3")
    assert (name.repository, name.revision) == ("owner/a.name-1", "refs/pr/3")
    assert str(name) == "hf-hub:owner/a.name-1@refs/pr/3"
    assert is_hub_name(Path("hf-hub:owner/name")) and not is_hub_name("owner/name")
    for text in ("name", "a/b/c", "a/", "/b", "../b", "a/..", "a/b--c", "a/b.git", "a/b@", "a/ b"):
        with pytest.raises(InputError, match="owner/name"):
            read_hub_name(text)


def test_secrets_are_taken_out_of_what_others_say() -> None:
    said = f"no http://user:secret@host/x for {OTHERS}, nor hf-hub:a/hf_b"
    assert without_secrets(said) == "no http://host/x for <token>, nor hf-hub:a/hf_b"


def test_a_study_may_name_teachers_of_the_program(tmp_path: Path) -> None:
    assert planning._teacher(SHIPPED, [], tmp_path) == Path(SHIPPED)
    with pytest.raises(InputError, match="weights that come with the program"):
        planning._teacher("nobody", [], tmp_path)


def test_an_origin_that_was_changed_is_refused(tmp_path: Path) -> None:
    assert origin_of(tmp_path) == {}
    text = signed_json({"repository": "o/a", "commit": "0" * 40})
    (tmp_path / "hub.json").write_text(text)
    assert origin_of(tmp_path) == {"repository": "o/a", "commit": "0" * 40}
    (tmp_path / "hub.json").write_text(text.replace("o/a", "o/b"))
    with pytest.raises(InputError, match="pull the model again"):
        origin_of(tmp_path)
