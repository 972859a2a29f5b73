"""The structure of modules that others wrote: nothing is lost, nothing is made up, and the module is left as it was."""

import csv
import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.cli.main import run
from pellucid.errors import UserError


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def torchs_count(net: nn.Module, size: int, device: str = "cpu") -> int:
    """Multiply-adds of one image, by torch; attention as what it consists of."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # Its own hooks stumble over tensors without a gradient that want one.
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net.eval().requires_grad_(False)(torch.zeros(1, 3, size, size, device=device))
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    return int(counter.get_total_flops()) // 2


class Around(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.inner(x)
        return made


def test_one_layer_under_two_parents_is_counted_where_and_as_often_as_it_computes() -> None:
    conv = nn.Conv2d(3, 3, 1, bias=False)
    found = pl.structure(nn.Sequential(Around(conv), Around(conv), conv), size=4)
    assert [(row.name, row.multiply_adds, row.parameters) for row in found.rows] == [
        ("0/inner", 144, 9),
        ("1/inner", 144, 0),
        ("2", 144, 0),
    ]
    assert found.totals.multiply_adds == 3 * 9 * 16


class ByHand(nn.Module):
    """Takes weights of layers that it never calls, and of the two containers that torch has for them."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = nn.ParameterList([torch.ones(3, 5)])
        self.named = nn.ParameterDict({"scale": torch.ones(5)})
        self.layer = nn.Linear(5, 2)
        self.idle = nn.Linear(7, 7)  # which nothing takes

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3)) @ self.kept[0] * self.named["scale"]
        return F.linear(pooled, self.layer.weight)


def test_weights_that_no_call_of_their_module_uses_belong_to_what_computes_with_them() -> None:
    found = pl.structure(ByHand(), size=4)
    rows = {row.name: (row.kind, row.parameters, row.multiply_adds) for row in found.rows}
    assert rows["ByHand"] == ("ByHand", 15 + 5 + 10, 15 + 10)
    assert rows["layer"] == ("linear, unused", 2, 0)  # its bias
    assert rows["idle"] == ("linear, unused", 56, 0)
    assert found.totals.parameters == parameters(ByHand())


class Tokens(nn.Module):
    def __init__(self, mixing: nn.Module) -> None:
        super().__init__()
        self.conv, self.mixing = nn.Conv2d(3, 4, 1), mixing

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv(x).flatten(2).transpose(1, 2)
        made = self.mixing(tokens, tokens, tokens) if isinstance(self.mixing, nn.MultiheadAttention) else (
            self.mixing(tokens)
        )  # fmt: skip
        first: Tensor = made[0] if isinstance(made, tuple) else made
        return first.mean(1)


# 16 tokens of 4 channels. By hand: every weight once a token, and in attention each token with each, twice.
MIXING: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "attention": (lambda: nn.MultiheadAttention(4, 2, batch_first=True), 80, 16 * 64 + 2 * 16 * 16 * 4),
    "lstm": (lambda: nn.LSTM(4, 5, batch_first=True), 4 * 5 * (4 + 5 + 2), 16 * 4 * 5 * 9),
    "two ways": (lambda: nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True), 1120, 16 * 2 * (20 * 9 + 20 * 15)),
    "gru": (lambda: nn.GRU(4, 5, batch_first=True), 3 * 5 * (4 + 5 + 2), 16 * 3 * 5 * 9),
    "rnn": (lambda: nn.RNN(4, 5, batch_first=True), 5 * (4 + 5 + 2), 16 * 5 * 9),
}


@pytest.mark.parametrize("kind", MIXING)
def test_attention_and_recurrent_layers_have_a_row_with_all_that_they_do(kind: str) -> None:
    make, weights, multiply_adds = MIXING[kind]
    row = pl.structure(Tokens(make().train()), size=4).rows[-1]
    assert row.output == (1, 16, 10 if kind == "two ways" else 5 if kind != "attention" else 4)
    assert (row.parameters, row.multiply_adds) == (weights, multiply_adds)


class Spectrum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.fft.rfft2(x).abs())


def test_what_is_not_known_is_blank_and_its_sum_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    found = pl.structure(Spectrum(), size=4)
    conv, own = found.rows
    assert (conv.multiply_adds, own.multiply_adds) == (9 * 4 * 3, None)
    assert (conv.field, conv.stride) == (None, None)
    assert (found.totals.multiply_adds, found.totals.uncounted) == (108, 1)
    told = json.loads(found.to_json())
    assert told["rows"][1]["multiply_adds"] is None and told["rows"][0]["field"] is None
    line = list(csv.DictReader(io.StringIO(found.to_csv())))[1]
    assert (line["multiply_adds"], line["field"], line["stride"]) == ("", "", "")
    assert "more than 108" in found.to_html() and "an unknown number of multiply-adds" in found.to_html()
    alone = pl.structure(nn.Sequential(Around(Spectrum()))[0].inner, size=4)
    assert alone.totals.uncounted == 1

    from pellucid.cli.show import say
    from pellucid.reports.structure import structure_text

    say(structure_text(found, every_layer=True))
    out = capsys.readouterr().out
    assert ">108" in out and "not known, of 1 layer" in out


class LayersOnly(nn.Module):
    """Batch second, and its own windows first."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.windows = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        second = self.second(x.flatten(2).permute(2, 0, 1))  # (16, N, 3)
        return self.windows(second.transpose(0, 1).reshape(-1, 4, 3)).mean()


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_the_batch_stands_where_it_is(batch: int) -> None:
    second, windows = (row.output for row in pl.structure(LayersOnly(), size=4, batch=batch).rows if row.weight)
    assert second == (16, batch, 3) and windows == (4 * batch, 4, 3)


class NeverOne(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 1:
            raise ValueError("one is too few")
        return self.layer(x.mean((2, 3)))


def test_a_module_that_takes_no_single_image_is_told_of_several() -> None:
    with pytest.raises(UserError, match="one is too few"):
        pl.structure(NeverOne(), size=4)
    found = pl.structure(NeverOne(), size=4, batch=7)
    assert (found.rows[-1].output, found.rows[-1].multiply_adds) == ((7, 2), 6)


@dataclass
class Both:
    map: Tensor
    logits: Tensor


class Gives(nn.Module):
    def __init__(self, give: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.give = nn.Conv2d(3, 2, 1), give

    def forward(self, x: Tensor) -> Any:
        return self.give(self.conv(x))


def test_whatever_a_module_gives_back_is_taken() -> None:
    for give in (
        lambda _: None,
        lambda x: (x, [x]),
        lambda x: {"a": x},
        lambda x: Both(x, x.mean((2, 3))),
        lambda _: 3,
    ):
        found = pl.structure(Gives(give), size=4)
        assert found.totals.parameters == 8 and found.classes is None
    assert pl.structure(Gives(lambda x: x.mean((2, 3))), size=4).classes == 2


class Empty(nn.Module):
    def forward(self, _images: Tensor) -> None:
        return None


class Fails(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.norm, self.error = nn.BatchNorm2d(3), error

    def forward(self, x: Tensor) -> Tensor:
        self.norm.eval()
        self.kept = x
        random.random(), np.random.rand(), torch.rand(1)
        raise self.error


def test_what_is_compiled_or_made_of_other_weights_is_counted_whole() -> None:
    def layers() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

    forms: list[Any] = [
        nn.Sequential(torch.jit.script(layers()), nn.Conv2d(4, 2, 1)),
        torch.jit.script(layers()),
        torch.jit.trace(layers(), torch.zeros(1, 3, 8, 8)),
        torch.fx.symbolic_trace(layers()),
        nn.Sequential(torch.nn.utils.weight_norm(nn.Conv2d(3, 4, 3))),
        nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))).train(),
    ]
    for net in forms:
        before = {name: value.clone() for name, value in net.state_dict().items()}
        found = pl.structure(net, size=8)
        assert found.totals.parameters == parameters(net)
        assert (found.totals.multiply_adds or 0) >= 36 * 27 * 4
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_module_without_layers_has_a_page_and_a_table() -> None:
    found = pl.structure(Empty(), size=4)
    assert (found.rows, found.ends, found.totals.multiply_adds) == ((), (), 0)
    assert "<html" in found.to_html() and found.to_csv().count("\n") == 1 and str(found) == ""


@pytest.mark.parametrize(
    ("error", "said"),
    [(NotImplementedError(), "NotImplementedError"), (KeyError(), "KeyError"), (ValueError("\n\nno\nmore"), ": no\n")],
)
def test_a_failing_module_is_told_with_its_reason(error: Exception, said: str) -> None:
    with pytest.raises(UserError) as caught:
        pl.structure(Fails(error), size=4)
    assert "cannot be run on images of 4 x 4 pixels" in str(caught.value) and said in f"{caught.value}\n"


def test_modules_that_want_something_else_are_told_what_they_are_given() -> None:
    with pytest.raises(UserError, match="colour images"):
        pl.structure(nn.Conv2d(1, 3, 1))
    with pytest.raises(UserError, match="cannot be run on images of 200 x 200 pixels") as refused:
        pl.structure(nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 2)), size=200)
    assert refused.value.hint == "it takes images of 224: --size 224"
    with pytest.raises(UserError, match="there is no structure"):
        pl.structure(3)


def test_lazy_layers_have_the_shapes_that_the_images_give_them_and_stay_lazy() -> None:
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
    found = pl.structure(net, size=6)
    assert [row.weight for row in found.rows] == [(4, 3, 3, 3), (), (2, 64)]
    assert isinstance(net[0], nn.LazyConv2d)
    with pytest.raises(UserError, match="cannot be run on images of 2 x 2 pixels"):
        pl.structure(net, size=2)


def test_a_layer_alone_in_its_end_point_has_its_whole_name(capsys: pytest.CaptureFixture[str]) -> None:
    from pellucid.cli.show import say
    from pellucid.reports.structure import structure_text

    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Flatten(), nn.Linear(64, 2))
    say(structure_text(pl.structure(net, size=6), every_layer=True))
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "1x" in line]
    assert names == ["0.0", "0.1", "1", "2"]


class Restless(nn.Module):
    """Changes all that it can while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.norm, self.frozen = nn.BatchNorm2d(3), nn.BatchNorm2d(3).eval()
        self.calls, self.seen = 0, list[Tensor]()
        self.register_buffer("count", torch.zeros(1))
        self.loose = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(x)
        self.count += 1  # type: ignore[operator]
        self.loose += 1
        random.random(), np.random.rand(), torch.rand(1)
        torch.set_grad_enabled(True)
        x = F.batch_norm(x, self.norm.running_mean, self.norm.running_var, training=True)
        made: Tensor = self.frozen(self.norm.train()(self.conv(x)))
        return made


@pytest.mark.parametrize("failing", [False, True])
def test_a_module_and_everybodys_random_numbers_are_left_as_they_were(failing: bool) -> None:
    module = (Fails(ValueError("no")) if failing else Restless()).train()
    if isinstance(module, Restless):
        module.frozen.eval()
    mine = module.register_forward_hook(lambda *_: None)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    kept = dict(vars(module))
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]
    try:
        pl.structure(module, size=4, batch=2)
    except UserError:
        assert failing
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]
    assert before == after and torch.is_grad_enabled()
    assert [part.training for part in module.modules()] == modes
    assert vars(module).keys() == kept.keys()
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    if isinstance(module, Restless):
        assert (module.calls, module.seen, float(module.loose)) == (0, [], 0)
    assert all(len(part._forward_hooks) == (part is module) for part in module.modules())
    mine.remove()  # a handle finds its hook by the dictionary that it is in
    assert not module._forward_hooks and not module._forward_pre_hooks


def test_timing_flows_and_parity_leave_random_numbers_as_they_were(tmp_path: Any) -> None:
    from PIL import Image

    from pellucid.uses.parity import compare
    from pellucid.uses.structure import flowing, timed

    Image.new("RGB", (40, 30), "green").save(tmp_path / "photo.png")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    timed("small", size=32, repeats=1)
    flowing("small", tmp_path / "photo.png", size=32)
    compare("resnet18", against="torchvision", size=32)
    pl.structure("timm/test_resnet", size=64)
    assert torch.equal(torch.get_rng_state(), before)


class Piece(nn.Module):
    """A few ways to have parameters and to compute with them, by the letters of `ways`, from shared `layers`."""

    def __init__(self, ways: str, layers: list[nn.Module]) -> None:
        super().__init__()
        self.ways = ways
        self.layers = nn.ModuleList(layers[: len(ways) % 3])
        self.own = nn.Parameter(torch.ones(3))
        self.kept = nn.ParameterList([torch.ones(1, 3, 1, 1)] * 2)
        self.parts = nn.ModuleDict({"conv": layers[0], "normed": parametrizations.weight_norm(nn.Conv2d(3, 3, 1))})
        self.idle = nn.Linear(2, 3)
        self.attention = nn.MultiheadAttention(3, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        for way in self.ways:
            match way:
                case "l":
                    for layer in self.layers:
                        x = layer(x)
                case "o":
                    x = x * self.own.view(1, 3, 1, 1)
                case "k":
                    x = x + self.kept[0]
                case "c":
                    x = F.conv2d(x, self.parts["conv"].weight)
                case "n":
                    x = self.parts["normed"](x)
                case "a":
                    tokens = x.flatten(2).transpose(1, 2)
                    x = x + self.attention(tokens, tokens, tokens)[0].transpose(1, 2).view(x.shape)
                case "e":
                    x = torch.einsum("nchw,dc->ndhw", x, self.parts["conv"].weight[:, :, 0, 0])
        return x


@settings(deadline=None, max_examples=15)
@given(st.lists(st.text("lokcnae", max_size=5), min_size=1, max_size=4), st.booleans())
def test_parameters_and_multiply_adds_are_torchs_for_any_module(ways: list[str], nested: bool) -> None:
    layers: list[nn.Module] = [nn.Conv2d(3, 3, 1), nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())]
    pieces = [Piece(some, layers) for some in ways]
    net = nn.Sequential(*pieces, *(Around(piece) for piece in pieces if nested), pieces[0])
    found = pl.structure(net, size=3)
    assert found.totals.parameters == sum(row.parameters for row in found.rows) == parameters(net)
    assert found.totals.multiply_adds == torchs_count(net, 3)
    assert all(row.parameters >= 0 and (row.multiply_adds or 0) >= 0 for row in found.rows)


SMALL = ["test_vit", "test_efficientnet", "test_nfnet", "swin_tiny_patch4_window7_224"]
FAMILIES = """
    beit_base_patch16_224 beitv2_base_patch16_224 cait_xxs24_224 coat_tiny coatnet_nano_rw_224 convit_tiny
    convmixer_768_32 convnext_tiny convnextv2_tiny crossvit_tiny_240 cspresnet50 davit_tiny
    deit_tiny_distilled_patch16_224 deit3_small_patch16_224 densenet121 dla34 dpn48b edgenext_small
    efficientformer_l1 efficientformerv2_s0 efficientvit_b0 eva02_tiny_patch14_224 fastvit_t8
    focalnet_tiny_srf gcvit_xxtiny ghostnet_100 hardcorenas_a hgnet_tiny hiera_tiny_224 hrnet_w18_small
    inception_next_tiny lambda_resnet26t mambaout_femto maxvit_tiny_rw_224 mixer_s16_224 mixnet_s
    mobilenetv4_conv_small mobileone_s0 mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny nextvit_small
    nf_resnet50 pit_ti_224 poolformer_s12 pvt_v2_b0 rdnet_tiny regnety_002 repghostnet_050 repvgg_a0
    repvit_m0_9 res2net50_26w_4s resmlp_12_224 resnest14d rexnet_100 samvit_base_patch16_224 sequencer2d_s
    sknet18 swinv2_tiny_window8_256 swinv2_cr_tiny_224 tiny_vit_5m_224 tinynet_e tnt_s_legacy_patch16_224
    tresnet_m twins_pcpvt_small visformer_tiny vit_tiny_patch16_224 vitamin_small_224 volo_d1_224 vovnet39a
    xception41 xcit_nano_12_p16_224
""".split()  # noqa: SIM905 - easier to read


def agrees(net: nn.Module) -> None:
    found = pl.structure(net)
    assert found.totals.parameters == parameters(net)
    assert all(row.parameters >= 0 and (row.multiply_adds or 0) >= 0 for row in found.rows)
    if not found.totals.uncounted:
        assert found.totals.multiply_adds == torchs_count(net, found.size, "meta")


@pytest.mark.parametrize("name", SMALL)
def test_timms_families_are_counted_whole(name: str) -> None:
    import timm

    with torch.device("meta"):
        agrees(timm.create_model(name).eval())


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_more_of_timms_families_are_counted_whole(name: str) -> None:
    import timm

    if not timm.is_model(name):
        pytest.skip("this timm has it not")
    with torch.device("meta"):
        agrees(timm.create_model(name).eval())


@pytest.mark.parametrize(
    "name", ["swin_t", *(pytest.param(name, marks=pytest.mark.slow) for name in ("googlenet", "vit_b_32", "maxvit_t"))]
)
def test_torchvisions_families_are_counted_whole(name: str) -> None:
    import torchvision

    with torch.device("meta"):
        bare = {"init_weights": False} if name == "googlenet" else {}
        agrees(torchvision.models.get_model(name, weights=None, **bare).eval())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["timm/test_resnet", "--width", "2"], "width: timm/test_resnet is built by timm"),
        (["timm/test_resnet", "--conventions", "tensorflow"], "conventions: "),
        (["timm/test_resnet", "--auxiliary"], "auxiliary: "),
        (["timm/test_resnet", "--batch", "-3"], "batch is at least 1, not -3"),
        (["timm/test_resnet", "--size", "0"], "size is at least 1 pixel, not 0"),
        (["timm/test_resnet", "--classes", "-1"], "classes is at least 1, not -1"),
        (["small", "--size", "-7"], "size is at least 1 pixel, not -7"),
        (["small", "--classes", "0", "--time"], "classes is at least 1, not 0"),
        (["small", "--weights", "imagenet"], "--weights is for --image"),
        (["small", "--all", "--end-points"], "cannot be shown together"),
        (["small", "--time", "--out", "x.txt"], "add --format html"),
        (["small", "--image", "x.png", "--format", "csv"], "cannot be shown together"),
    ],
)
def test_what_would_have_no_effect_or_no_sense_is_refused_by_name(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["structure", *flags]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_sizes_that_do_not_fit_are_told_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["structure", "timm/test_resnet", "--size", "3"]) == 0  # it pads
    assert run(["structure", "timm/test_vit", "--size", "100"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "timm/test_vit" in told and "100" in told and "Traceback" not in told
