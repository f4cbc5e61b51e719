"""Networks of transformers and timm by name: random weights from a configuration, which the ticket keeps."""

import json
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import untrained as ut
from untrained.models import libraries
from untrained.models.brought import KEY, Description
from untrained.models.own import brought
from untrained.tickets.networks import network_for, rebuild

SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def transformers(tmp_path, monkeypatch):
    """The library, and folders vit, bert and gpt with configurations in the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ut.plot, "available", lambda: False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        library = pytest.importorskip("transformers")
        library.ViTConfig(**SIZES, patch_size=4, image_size=32).save_pretrained("vit")
        library.BertConfig(**SIZES, vocab_size=20).save_pretrained("bert")
        library.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=20, n_positions=8).save_pretrained("gpt")
    return library


def built(text, shape, classes, **options):
    own = brought(text)
    assert own is not None
    return own, own.build(shape, classes, **options)


def ticket_of(text, shape, classes, **mask):
    own, network = built(text, shape, classes)
    masked = ut.mask_(network, ut.EdgePopup(0.5), seed=0, **mask)
    return ut.Ticket.of(masked, meta={KEY: own.describe(shape, classes)}), network


def test_find_on_a_vision_transformer_writes_a_ticket_that_loads_alone(transformers, monkeypatch):
    found = ut.find(model="hf:./vit", epochs=1, batch_size=256, twin=False, out="run")
    told = ut.Ticket.load(found.ticket).meta[KEY]
    assert told["name"] == "hf:vit" and told["config"]["image_size"] == 8 and told["config"]["num_labels"] == 10
    assert not {"_name_or_path", "architectures", "id2label"} & told["config"].keys()
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", None)  # nothing is read or downloaded
    data = ut.load_data("digits")
    accuracy = ut.evaluate(ut.load(found.ticket), data.batches("test", 500)).accuracy
    assert accuracy == next(row.accuracy for row in found.rows if row.name == "found subnetwork")


CASES = {
    "bert": ("hf:./bert", (6,), 3),
    "bert per word": ("hf:./bert(task=token-classification)", (6,), 3),
    "bert, two layers": ("hf:./bert(num_hidden_layers=2)", (6,), 3),
    "gpt": ("hf:./gpt(task=causal-lm)", (6,), 24),
}


@pytest.mark.parametrize("case", CASES)
def test_a_network_for_words_gives_a_number_a_class_and_loads_from_its_ticket(transformers, case):
    text, shape, classes = CASES[case]
    ticket, masked = ticket_of(text, shape, classes)
    again = ut.Ticket.from_bytes(ticket.to_bytes(format=1))
    plain = again.apply_(rebuild(again)).eval()
    words = torch.randint(0, 20, (3, *shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = masked.eval()(words)
        assert torch.equal(plain(words), expected) and expected.shape[:2] == (3, classes)
        assert torch.equal(again.apply_(network_for(again, text) or nn.Identity()).eval()(words), expected)


def test_pretrained_weights_are_kept_and_the_ticket_asks_for_them(transformers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        transformers.AutoModelForSequenceClassification.from_config(
            transformers.AutoConfig.from_pretrained("bert")
        ).save_pretrained("bert")
    own, network = built("hf:./bert", (6,), 2, pretrained=True)
    kept = dict(network.state_dict())
    masked = ut.mask_(network, ut.Threshold(), seed=0, weights=None)
    ticket = ut.Ticket.of(masked, meta={KEY: own.describe((6,), 2)})
    with pytest.raises(ut.TicketError, match=r"that of hf:bert, pretrained: give --model hf:bert"):
        rebuild(ticket)
    again = network_for(ticket, "hf:./bert")
    assert again is not None and all(torch.equal(kept[name], t) for name, t in again.state_dict().items())
    ticket.verify(again)


HOSTILE = {
    "remote code": {"auto_map": {"AutoConfig": "evil.py--Config"}, "trust_remote_code": True},
    "kernels of strangers": {"attn_implementation": "evil/kernel", "_attn_implementation": "evil/kernel"},
    "another network": {"backbone": "resnet50", "use_pretrained_backbone": True},
    "timm inside": {"model_type": "timm_wrapper"},
    "an unknown type": {"model_type": "evil"},
    "no type": {"model_type": None},
    "huge": {"hidden_size": 1 << 40},
    "many layers": {"num_hidden_layers": 1 << 30},
    "another size": {"hidden_size": 32},
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_configuration_runs_and_allocates_nothing(transformers, attack):
    ticket, _ = ticket_of("hf:./bert", (6,), 3)
    ticket.meta[KEY]["config"].update(HOSTILE[attack])  # pyright: ignore[reportIndexIssue]
    if attack in ("remote code", "kernels of strangers"):
        config: Any = rebuild(ticket).get_submodule("network").config
        assert config._attn_implementation == "eager" and not hasattr(config, "auto_map")
    else:
        with pytest.raises(ut.TicketError):
            rebuild(ticket)


def test_wrong_names_and_settings_are_refused_in_one_sentence(transformers, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    Path("odd").mkdir()
    Path("odd/config.json").write_text(json.dumps({"model_type": "nothing"}), encoding="utf-8")
    for text, message in {
        "hf:./odd": "hf:./odd: ValueError: ",
        "hf:./bert(layers=3)": "its configuration has no 'layers'",
        "hf:./bert(auto_map=x)": "its configuration has no 'auto_map'",
        "hf:./bert(task=cooking)": "task must be image-classification, ",
    }.items():
        with pytest.raises(ValueError, match=message) as refused:
            built(text, (6,), 3)
        assert "\n" not in str(refused.value)


@pytest.fixture
def timm(monkeypatch):
    """A module as timm is, as far as it is used: timm itself needs torchvision, which is not here."""

    def create_model(name, pretrained=False, num_classes=1000, in_chans=3, width=4):
        if name != "tiny_net" or pretrained:
            raise RuntimeError(f"Unknown model ({name})")
        layers = nn.Conv2d(in_chans, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        return nn.Sequential(*layers, nn.Linear(width, num_classes))

    module = types.ModuleType("timm")
    module.__dict__["create_model"] = create_model
    monkeypatch.setitem(sys.modules, "timm", module)


def test_a_network_of_timm_is_made_for_the_data_and_loads_from_its_ticket(timm):
    ticket, masked = ticket_of("timm:tiny_net(width=6)", (2, 8, 8), 5)
    assert ticket.meta[KEY] == {"name": "timm:tiny_net", "arguments": {"width": 6}, "shape": [2, 8, 8], "classes": 5}
    x = torch.randn(3, 2, 8, 8)
    assert torch.equal(ticket.apply_(rebuild(ticket)).eval()(x), masked.eval()(x))


@pytest.mark.parametrize("wrong", ["timm:unknown", "timm:hf-hub:evil/net", "timm:tiny_net(checkpoint_path=evil)"])
def test_what_timm_may_not_be_asked_is_refused(timm, wrong):
    with pytest.raises(ValueError, match=r"Unknown model|must be a name|is not one of an architecture's settings"):
        built(wrong, (2, 8, 8), 5)


def test_without_the_library_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match="timm:tiny_net needs timm: pip install timm"):
        built("timm:tiny_net", (2, 8, 8), 5)
    told = Description.of({KEY: {"name": "os:system", "arguments": {}, "shape": [2], "classes": 2}})
    assert told is not None and libraries.described(told) is None
