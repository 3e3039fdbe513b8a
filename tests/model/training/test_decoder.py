"""Our forward passes for training give the outputs and gradients of `transformers`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.model.captioning.published_layout import IMAGE_SIZE, tiny_config, tiny_model
from torch import Tensor, nn
from transformers import BlipForConditionalGeneration

from captionloop.model.training.decoder import logits_at
from captionloop.model.training.encoder import encode_images

PATCHES = 4
LENGTHS = (7, 3, 5)
Variant = Callable[[BlipForConditionalGeneration], BlipForConditionalGeneration]
SAME: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-8}


def model() -> BlipForConditionalGeneration:
    return tiny_model(tiny_config()).double().eval()


def with_lora(blip: BlipForConditionalGeneration) -> BlipForConditionalGeneration:
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(target_modules=["query", "key", "value"], init_lora_weights=False), blip)
    return blip.double().eval()


def batch(longest: int = max(LENGTHS)) -> tuple[Tensor, Tensor]:
    """Token ids with padding, and where there is text."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 60, (len(LENGTHS), longest), generator=generator)
    mask = torch.arange(longest) < torch.tensor([longest, *LENGTHS[1:]])[:, None]
    return ids * mask, mask


def features() -> Tensor:
    return torch.randn(len(LENGTHS), PATCHES + 1, 32, generator=torch.Generator().manual_seed(1)).double()


def plain(blip: BlipForConditionalGeneration, ids: Tensor, mask: Tensor, pictures: Tensor) -> Tensor:
    logits: Tensor = blip.text_decoder(
        input_ids=ids, attention_mask=mask.long(), encoder_hidden_states=pictures
    ).logits[mask]
    return logits


def gradients(part: nn.Module, outcome: Tensor) -> dict[str, Tensor]:
    """Of a sum in which every element counts differently."""
    part.zero_grad()
    (outcome * torch.linspace(-1, 1, outcome.numel()).view_as(outcome)).sum().backward()
    return {name: parameter.grad for name, parameter in part.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("longest", [max(LENGTHS), 70], ids=["caption", "long"])
@pytest.mark.parametrize("of", [lambda blip: blip, with_lora], ids=["plain", "lora"])
def test_the_logits_are_those_of_transformers(of: Variant, longest: int) -> None:
    blip, (ids, mask) = of(model()), batch(longest)
    with torch.no_grad():
        found = logits_at(blip.text_decoder, ids, mask, features())
        torch.testing.assert_close(found, plain(blip, ids, mask, features()), **SAME)


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("of", [lambda blip: blip, with_lora], ids=["plain", "lora"])
def test_the_gradients_of_weights_and_picture_are_those_of_transformers(of: Variant, recompute: bool) -> None:
    blip, (ids, mask) = of(model()), batch()
    ours, theirs = features().requires_grad_(), features().requires_grad_()
    expected = gradients(blip.text_decoder, plain(blip, ids, mask, theirs))
    expected = {name: gradient.clone() for name, gradient in expected.items()}
    found = gradients(blip.text_decoder, logits_at(blip.text_decoder, ids, mask, ours, recompute=recompute))
    torch.testing.assert_close(ours.grad, theirs.grad, **SAME)
    for name, gradient in expected.items():
        if name not in found:  # the keys' bias, which cannot change what softmax gives
            assert "crossattention.self.key.bias" in name
            torch.testing.assert_close(gradient, torch.zeros_like(gradient), **SAME)
        else:
            torch.testing.assert_close(found[name], gradient, **SAME)


def test_dropout_of_what_is_read_of_a_picture_is_that_of_transformers_on_average() -> None:
    """Dropped shares do not sum to 1, and the values' bias goes with them."""
    blip, (ids, mask) = model(), batch()
    for module in blip.text_decoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    attention = blip.text_decoder.bert.encoder.layer[0].crossattention.self
    attention.value.bias.data.fill_(5.0)
    attention.dropout.p = 0.5
    blip.train()
    torch.manual_seed(0)
    with torch.no_grad():
        ours = torch.stack([logits_at(blip.text_decoder, ids, mask, features()) for _ in range(600)])
        theirs = torch.stack([plain(blip, ids, mask, features()) for _ in range(600)])
    # Means of 600, whose own deviation is a twenty-fifth of that of one.
    allowed = 6 * (ours.var(dim=0) / 600 + theirs.var(dim=0) / 600).sqrt()
    assert ((ours.mean(dim=0) - theirs.mean(dim=0)).abs() <= allowed + 1e-4).all()
    torch.testing.assert_close(ours.std(dim=0).mean(), theirs.std(dim=0).mean(), rtol=0.05, atol=0)


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_the_encoders_gradients_are_those_of_transformers(recompute: bool) -> None:
    encoder = model().vision_model
    pixels = torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(2)).double()
    expected = gradients(encoder, encoder(pixel_values=pixels).last_hidden_state)
    expected = {name: gradient.clone() for name, gradient in expected.items()}
    found = gradients(encoder, encode_images(encoder, pixels, recompute=recompute))
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, **SAME)
