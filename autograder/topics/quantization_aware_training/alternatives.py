"""Right answers that differ from the reference: every check must accept them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import alternative


@alternative("fake_quantize")
def fake_quantize__autograd_function(x, scale, zero_point, bits, signed):
    if not 2 <= bits <= 16 or torch.isnan(x).any():
        raise ValueError("bits or x")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)

    class Rounded(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            first, last = (low - zero_point) * scale, (high - zero_point) * scale
            ctx.save_for_backward((x >= first) & (x <= last))
            codes = torch.clamp(torch.round(x / scale) + zero_point, low, high)
            return ((codes - zero_point) * scale).detach()

        @staticmethod
        def backward(ctx, gradient):
            (inside,) = ctx.saved_tensors
            return gradient * inside

    return Rounded.apply(x)


@alternative("fake_quantize")
def fake_quantize__library(x, scale, zero_point, bits, signed):
    if not 2 <= bits <= 16:
        raise ValueError(f"bits must lie in 2 .. 16, got {bits}")
    if torch.isnan(x).any():
        raise ValueError("x must not hold NaN")
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return torch.fake_quantize_per_tensor_affine(x, float(scale), int(zero_point), low, high)


@alternative("fake_quantize")
def fake_quantize__clamp_then_round(x, scale, zero_point, bits, signed):
    low, high = code_range(bits, signed)
    if x.isnan().any():
        raise ValueError("x holds NaN")
    scale = float(scale)
    codes = (x / scale + zero_point).clamp(low, high)
    codes = codes + (torch.round(x.detach() / scale) + zero_point).clamp(low, high) - codes.detach()
    return (codes - zero_point) * scale


@alternative("MovingAverageObserver")
class MovingAverageObserver__plain_numbers(nn.Module):
    def __init__(self, momentum):
        super().__init__()
        if momentum < 0 or momentum > 1:
            raise ValueError("momentum")
        self.momentum = momentum
        self.low = None
        self.high = None

    def forward(self, x):
        if not self.training:
            return x
        low, high = x.min().item(), x.max().item()
        if self.low is None:
            self.low, self.high = low, high
        else:
            self.low += (1 - self.momentum) * (low - self.low)
            self.high += (1 - self.momentum) * (high - self.high)
        return x


@alternative("MovingAverageObserver")
class MovingAverageObserver__infinite_buffers(nn.Module):
    def __init__(self, momentum):
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1], got {momentum}")
        self.momentum = momentum
        self.register_buffer("low", torch.tensor([float("inf")]))
        self.register_buffer("high", torch.tensor([-float("inf")]))

    @torch.no_grad()
    def _update(self, x):
        if torch.isinf(self.low).any():
            self.low.fill_(x.min())
            self.high.fill_(x.max())
        else:
            self.low.mul_(self.momentum).add_((1 - self.momentum) * x.min())
            self.high.mul_(self.momentum).add_((1 - self.momentum) * x.max())

    def forward(self, x):
        if self.training:
            self._update(x)
        return x


@alternative("QATLinear")
class QATLinear__per_channel_symmetric(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        for bits in (weight_bits, activation_bits):
            if not 2 <= bits <= 16:
                raise ValueError("bits")
        self.weight = nn.Parameter(layer.weight.detach().clone())
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
        self.weight_bits, self.activation_bits = weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.95)

    def forward(self, x):
        x = self.observer(x)
        last = 2 ** (self.activation_bits - 1) - 1
        largest = max(abs(float(self.observer.low)), abs(float(self.observer.high)))
        x = fake_quantize(x, largest / last or 1.0, 0, self.activation_bits, True)
        top = 2 ** (self.weight_bits - 1) - 1
        scale = self.weight.detach().abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / top
        rounded = torch.round(self.weight / scale).clamp(-top - 1, top) * scale
        weight = self.weight + (rounded - self.weight).detach()
        return F.linear(x, weight, self.bias)


@alternative("QATLinear")
class QATLinear__subclass(nn.Linear):
    def __init__(self, layer, weight_bits, activation_bits):
        if min(weight_bits, activation_bits) < 2 or max(weight_bits, activation_bits) > 16:
            raise ValueError("bits")
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None)
        self.load_state_dict(layer.state_dict())
        self.weight_bits, self.activation_bits = weight_bits, activation_bits
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(0.0))
        self.register_buffer("seen", torch.tensor(0))

    def forward(self, x):
        if self.training:
            with torch.no_grad():
                part = 1.0 if self.seen == 0 else 0.1
                self.low += part * (x.min() - self.low)
                self.high += part * (x.max() - self.high)
                self.seen += 1
        low, high = min(self.low.item(), 0), max(self.high.item(), 0)
        scale = (high - low) / (2**self.activation_bits - 1) or 1.0
        x = fake_quantize(x, scale, round(-low / scale), self.activation_bits, False)
        top = 2 ** (self.weight_bits - 1) - 1
        scale = self.weight.detach().abs().max().item() / top or 1.0
        return F.linear(x, fake_quantize(self.weight, scale, 0, self.weight_bits, True), self.bias)


@alternative("QATConv2d")
class QATConv2d__own_module(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        for bits in (weight_bits, activation_bits):
            if not 2 <= bits <= 16:
                raise ValueError("bits")
        self.conv = copy.deepcopy(layer)
        self.weight_bits, self.activation_bits = weight_bits, activation_bits
        self.observer = MovingAverageObserver(0.9)

    def forward(self, x):
        x = self.observer(x)
        scale, zero = range_to_scale(self.observer.low, self.observer.high, self.activation_bits)
        x = fake_quantize(x, scale, zero, self.activation_bits, False)
        weight = self.conv.weight
        top = 2 ** (self.weight_bits - 1) - 1
        weight = fake_quantize(weight, weight.abs().max().item() / top, 0, self.weight_bits, True)
        return self.conv._conv_forward(x, weight, self.conv.bias)


@alternative("QATConv2d")
class QATConv2d__functional_call(nn.Module):
    def __init__(self, layer, weight_bits, activation_bits):
        super().__init__()
        code_range(weight_bits, True)
        code_range(activation_bits, True)
        self.layer = layer
        self.bits = weight_bits, activation_bits
        self.input = MovingAverageObserver(0.99)

    def forward(self, x):
        weight_bits, activation_bits = self.bits
        self.input(x)
        x = fake_quantize(
            x,
            *range_to_scale(self.input.low, self.input.high, activation_bits),
            activation_bits,
            False,
        )
        # Asymmetric per tensor, for the weight too.
        weight = self.layer.weight
        scale, zero = range_to_scale(weight.min(), weight.max(), weight_bits)
        rounded = fake_quantize(weight, scale, zero, weight_bits, False)
        return torch.func.functional_call(self.layer, {"weight": rounded}, (x,))


@alternative("prepare_qat")
def prepare_qat__recursive(model, weight_bits, activation_bits):
    code_range(weight_bits, True)
    code_range(activation_bits, True)

    def wrap(module):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d):
                module._modules[name] = QATConv2d(child, weight_bits, activation_bits)
            elif isinstance(child, nn.Linear):
                module._modules[name] = QATLinear(child, weight_bits, activation_bits)
            else:
                wrap(child)
        return module

    return wrap(copy.deepcopy(model)).eval()


@alternative("prepare_qat")
def prepare_qat__by_parent(model, weight_bits, activation_bits):
    if not (2 <= weight_bits <= 16 and 2 <= activation_bits <= 16):
        raise ValueError("weight_bits, activation_bits")
    twin = copy.deepcopy(model)
    kinds = {nn.Conv2d: QATConv2d, nn.Linear: QATLinear}
    names = [name for name, layer in twin.named_modules() if type(layer) in kinds]
    for name in names:
        parent, _, leaf = name.rpartition(".")
        layer = twin.get_submodule(name)
        wrapped = kinds[type(layer)](layer, weight_bits, activation_bits)
        setattr(twin.get_submodule(parent), leaf, wrapped)
    for module in twin.modules():
        module.training = False
    return twin


@alternative("train_qat")
def train_qat__own_loop(model, loader, epochs, lr):
    if epochs < 0:
        raise ValueError("epochs must not be negative")
    if lr <= 0:
        raise ValueError("lr must be above 0")
    twin = copy.deepcopy(model)
    twin.train()
    optimizer = torch.optim.Adam(twin.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(twin(images), labels).backward()
            optimizer.step()
    twin.eval()
    return twin


@alternative("train_qat")
def train_qat__sgd(model, loader, epochs, lr):
    if epochs < 0 or lr <= 0:
        raise ValueError("epochs or lr")
    twin = copy.deepcopy(model).train()
    optimizer = torch.optim.SGD(twin.parameters(), lr=lr)
    loss = nn.CrossEntropyLoss()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            loss(twin(images), labels).backward()
            optimizer.step()
    return twin.eval()


@alternative("finetune_after_ptq")
def finetune_after_ptq__shadow_weights(model, qparams, loader, epochs, lr):
    if epochs < 0 or lr <= 0:
        raise ValueError("epochs or lr")
    tuned = copy.deepcopy(model)
    layers = dict(tuned.named_modules())
    for name, (_, _, bits, _) in qparams.items():
        if name not in layers or not 2 <= bits <= 16:
            raise ValueError(f"qparams: {name}")
    shadows = {name: layers[name].weight.detach().clone() for name in qparams}
    tuned.train()
    for _ in range(epochs):
        for images, labels in loader:
            tuned.zero_grad()
            for name, shadow in shadows.items():
                layers[name].weight.data = fake_quantize(shadow, *qparams[name])
            F.cross_entropy(tuned(images), labels).backward()
            with torch.no_grad():
                for name, parameter in tuned.named_parameters():
                    owner = name.removesuffix(".weight")
                    if name.endswith(".weight") and owner in shadows:
                        shadows[owner] -= lr * parameter.grad
                    else:
                        parameter -= lr * parameter.grad
    with torch.no_grad():
        for name, shadow in shadows.items():
            layers[name].weight.copy_(fake_quantize(shadow, *qparams[name]))
    tuned.zero_grad()
    return tuned.eval()


@alternative("finetune_after_ptq")
def finetune_after_ptq__functional_call(model, qparams, loader, epochs, lr):
    if not lr > 0:
        raise ValueError("lr")
    if epochs < 0:
        raise ValueError("epochs")
    tuned = copy.deepcopy(model).train()
    names = {name for name, _ in tuned.named_modules()}
    for name, (_, _, bits, _) in qparams.items():
        if name not in names:
            raise ValueError(f"unknown layer {name}")
        if bits < 2 or bits > 16:
            raise ValueError("bits")

    def rounded():
        return {
            name: fake_quantize(p, *qparams[name[: -len(".weight")]])
            if name.endswith(".weight") and name[: -len(".weight")] in qparams
            else p
            for name, p in tuned.named_parameters()
        }

    optimizer = torch.optim.AdamW(tuned.parameters(), lr=lr)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(
                torch.func.functional_call(tuned, rounded(), (images,)), labels
            ).backward()
            optimizer.step()
    tuned.load_state_dict(rounded(), strict=False)
    optimizer.zero_grad()
    return tuned.eval()


@alternative("convert")
def convert__dequantizes_in_forward(model):
    class Stored(nn.Module):
        def __init__(self, source):
            super().__init__()
            scale = weight_scale(source.layer.weight, source.weight_bits)
            rounded = source.quantized_weight().detach() / scale
            self.register_buffer("weight", rounded.round().to(torch.int8))
            self.register_buffer("scale", torch.tensor(scale))
            self.bias = source.layer.bias
            self.conv = None
            if isinstance(source.layer, nn.Conv2d):
                layer = source.layer
                self.conv = layer.stride, layer.padding, layer.dilation
            low, high = float(source.observer.low), float(source.observer.high)
            self.input = (*range_to_scale(low, high, source.activation_bits),)
            self.input += (source.activation_bits, False)

        def forward(self, x):
            x = fake_quantize(x, *self.input)
            weight = self.weight * self.scale
            if self.conv is None:
                return F.linear(x, weight, self.bias)
            return F.conv2d(x, weight, self.bias, *self.conv)

    result = nn.Sequential(copy.deepcopy(model))
    for name, layer in list(result.named_modules()):
        if isinstance(layer, QATLinear):
            result.set_submodule(name, Stored(layer))
    return result[0].eval()


@alternative("convert")
def convert__whole_bias_and_plain_attributes(model):
    class Whole(nn.Module):
        def __init__(self, source):
            super().__init__()
            layer, bits = source.layer, source.activation_bits
            self.s_x, self.z_x = range_to_scale(source.observer.low, source.observer.high, bits)
            self.last = 2**bits - 1
            self.s_w = weight_scale(layer.weight, source.weight_bits)
            top = 2 ** (source.weight_bits - 1)
            codes = torch.round(layer.weight.detach() / self.s_w).clamp(-top, top - 1)
            self.codes = codes.to(torch.int8)  # a plain attribute
            self.whole_bias = None
            if layer.bias is not None:
                whole = torch.round(layer.bias.detach() / (self.s_x * self.s_w))
                self.whole_bias = whole.to(torch.int64)
            self.options = None
            if isinstance(layer, nn.Conv2d):
                self.options = layer.stride, layer.padding, layer.dilation

        def forward(self, x):
            q = torch.round(x / self.s_x + 0).add(self.z_x).clamp(0, self.last).to(torch.int32)
            q = (q - self.z_x).double()
            if self.options is None:
                total = F.linear(q, self.codes.double())
            else:
                total = F.conv2d(q, self.codes.double(), None, *self.options)
            if self.whole_bias is not None:
                shape = (-1, 1, 1) if self.options is not None else (-1,)
                total = total + self.whole_bias.reshape(shape)
            return (total * (self.s_x * self.s_w)).to(torch.float32)

    def replace(module):
        for name, child in module.named_children():
            if isinstance(child, QATConv2d | QATLinear):
                setattr(module, name, Whole(child))
            else:
                replace(child)

    twin = copy.deepcopy(model)
    replace(twin)
    return twin.eval()
