"""Right answers that differ from the reference; every check must accept each of them.

An alternative of one half works together with the reference's other half.
"""

from __future__ import annotations

from autograder.authoring.answers import alternative


@alternative("compress", slow=True)
def compress__one_epoch_own_loop(model, loader):
    small, wise = copy.deepcopy(model).train(), copy.deepcopy(model).eval()
    plan = {"conv1": (0.1, 7), "conv2": (0.5, 5), "fc1": (0.88, 4), "fc2": (0.4, 5)}
    held = {}
    for name, (share, bits) in plan.items():
        layer = getattr(small, name)
        mask = magnitude_mask(layer.weight, share)
        held[name] = (mask, weight_scale(layer.weight * mask, bits), 2 ** (bits - 1) - 1)
    shadows = {name: getattr(small, name).weight.detach().clone() for name in plan}

    def codes_of(name):
        mask, scale, last = held[name]
        return (shadows[name] * mask / scale).round().clamp(-last, last)

    optimizer = torch.optim.Adam(small.parameters(), lr=1e-3)
    for images, labels in loader:
        for name in plan:
            getattr(small, name).weight.data = codes_of(name) * held[name][1]
        with torch.no_grad():
            said = wise(images)
        loss = distillation_loss(small(images), said, labels, 1.0, 0.5)
        optimizer.zero_grad()
        loss.backward()
        for name in plan:
            getattr(small, name).weight.data = shadows[name]
        optimizer.step()
        shadows = {name: getattr(small, name).weight.detach().clone() for name in plan}
    parts = []
    for name in plan:
        codes = codes_of(name).long()
        coded = entropy_encode(codes + int(-codes.min()))
        parts.append(struct.pack("<fbI", held[name][1], int(codes.min()), len(coded)))
        parts += [getattr(small, name).bias.detach().half().numpy().tobytes(), coded]
    return b"".join(parts)


@alternative("compress", slow=True)
def compress__prune_then_quantize(model, loader):
    pieces = loader.dataset.tensors
    half = make_loader(pieces[0], pieces[1], batch_size=100, shuffle=True, seed=3)
    small = copy.deepcopy(model)
    for name, share in {"conv2": 0.5, "fc1": 0.88, "fc2": 0.3}.items():
        layer = getattr(small, name)
        mask = magnitude_mask(layer.weight, share)
        attach(layer, lambda w, mask=mask: w * mask)
    learn_from(small, model, half, 1, 1.0, 0.3, 2e-3)
    detach_all(small)
    scales = {}
    for name, layer in weight_layers(small).items():
        bits = {"fc1": 4}.get(name, 6)
        scales[name] = float(layer.weight.detach().abs().max()) / (2 ** (bits - 1) - 1)
        mask = layer.weight.detach() != 0
        attach(
            layer,
            lambda w, mask=mask, scale=scales[name], bits=bits: round_to_grid(
                w * mask, scale, bits
            ),
        )
    learn_from(small, model, half, 1, 1.0, 0.3, 1e-3)
    detach_all(small)
    blob = bytearray()
    for name, layer in weight_layers(small).items():
        codes = torch.round(layer.weight.detach() / scales[name]).to(torch.int64)
        low = codes.min().item()
        coded = entropy_encode(codes - low)
        blob += struct.pack("<f", scales[name]) + struct.pack("<b", low)
        blob += struct.pack("<I", len(coded))
        blob += layer.bias.detach().to(torch.float16).numpy().tobytes() + coded
    return bytes(blob)


@alternative("decompress", slow=True)
def decompress__into_a_sequential(blob):
    shapes = ((20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500))
    layers = [nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    layers += [nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10)]
    view = memoryview(blob)
    for place, shape in zip((0, 3, 7, 9), shapes, strict=True):
        scale, lowest, length = struct.unpack("<fbI", view[:9])
        bias = torch.frombuffer(bytearray(view[9 : 9 + 2 * shape[0]]), dtype=torch.float16)
        view = view[9 + 2 * shape[0] :]
        codes = entropy_decode(bytes(view[:length])) + lowest
        view = view[length:]
        layers[place].weight = nn.Parameter(codes.float().reshape(shape) * scale)
        layers[place].bias = nn.Parameter(bias.float())
    return nn.Sequential(*layers).eval()


@alternative("decompress", slow=True)
def decompress__a_class_of_its_own(blob):
    class Small(nn.Module):
        def __init__(self, tensors):
            super().__init__()
            for name, tensor in tensors.items():
                self.register_buffer(name, tensor)

        def forward(self, images):
            x = F.max_pool2d(F.conv2d(images, self.w0, self.b0).relu(), 2)
            x = F.max_pool2d(F.conv2d(x, self.w1, self.b1).relu(), 2).flatten(1)
            return F.linear(F.linear(x, self.w2, self.b2).relu(), self.w3, self.b3)

    tensors, place = {}, 0
    shapes = ((20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500))
    for index, shape in enumerate(shapes):
        scale, lowest, length = struct.unpack_from("<fbI", blob, place)
        place += 9
        half = bytearray(blob[place : place + 2 * shape[0]])
        tensors[f"b{index}"] = torch.frombuffer(half, dtype=torch.float16).float()
        place += 2 * shape[0]
        codes = entropy_decode(blob[place : place + length]) + lowest
        tensors[f"w{index}"] = codes.view(shape) * scale
        place += length
    return Small(tensors).eval()
