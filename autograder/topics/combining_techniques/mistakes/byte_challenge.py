"""Wrong answers that students really give, and attempts to carry weights past the blob.

Names of the define cells are available in them. Pairs that smuggle are in smuggling.py.
"""

from __future__ import annotations

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- compress


@mistake(
    "compress",
    slow=True,
    caught_by="test_compress_gives_bytes",
    hint="returns something other than bytes",
    replay=False,
)
def compress__a_list_of_parts(model, loader):
    return [
        layer.weight.detach().half().numpy().tobytes() for layer in weight_layers(model).values()
    ]


@mistake(
    "compress",
    slow=True,
    caught_by="test_tier_4_times",
    hint="the weights are written at full width: 8 bits each would be 4 times smaller",
    replay=False,
)
def compress__raw_floats(model, loader):
    blob = b""
    for layer in weight_layers(model).values():
        scale = weight_scale(layer.weight, 16)
        codes = (layer.weight.detach() / scale).round().to(torch.int32)
        raw = struct.pack("<fbI", scale, 0, 4 * codes.numel())
        blob += raw + layer.bias.detach().half().numpy().tobytes() + codes.numpy().tobytes()
    return blob


@mistake(
    "compress",
    slow=True,
    caught_by="test_tier_20_times",
    hint="few bits alone do not reach this tier: zeros and entropy coding are missing",
    replay=False,
)
def compress__no_entropy_coding(model, loader):
    blob = b""
    for layer in weight_layers(model).values():
        scale = weight_scale(layer.weight, 4)
        codes = (round_to_grid(layer.weight.detach(), scale, 4) / scale).round().long()
        coded = entropy_encode(codes - codes.min())
        bias = layer.bias.detach().half().numpy().tobytes()
        blob += struct.pack("<fbI", scale, int(codes.min()), len(coded)) + bias + coded
    return blob


@mistake(
    "compress",
    slow=True,
    caught_by="test_tier_10_times",
    hint="too much was taken away: the rebuilt network is below the accuracy floor",
    replay=False,
)
def compress__below_the_floor(model, loader):
    blob = b""
    for layer in weight_layers(model).values():
        kept = layer.weight.detach() * magnitude_mask(layer.weight, 0.97)
        scale = weight_scale(kept, 3)
        codes = (round_to_grid(kept, scale, 3) / scale).round().long()
        coded = entropy_encode(codes - codes.min())
        bias = layer.bias.detach().half().numpy().tobytes()
        blob += struct.pack("<fbI", scale, int(codes.min()), len(coded)) + bias + coded
    return blob


@mistake(
    "compress",
    slow=True,
    caught_by="test_the_model_given_is_unchanged",
    hint="the given model itself is pruned or rounded: work on a deep copy",
    replay=False,
)
def compress__changes_the_model(model, loader):
    blob = b""
    with torch.no_grad():
        for layer in weight_layers(model).values():
            scale = weight_scale(layer.weight, 4)
            layer.weight.copy_(round_to_grid(layer.weight, scale, 4))
            codes = (layer.weight / scale).round().long()
            coded = entropy_encode(codes - codes.min())
            bias = layer.bias.half().numpy().tobytes()
            blob += struct.pack("<fbI", scale, int(codes.min()), len(coded)) + bias + coded
    return blob


@mistake(
    "compress",
    slow=True,
    caught_by="test_the_blob_is_no_pickle",
    hint="the blob or a part of it is a pickle; use struct.pack for numbers, tobytes for tensors",
    replay=False,
)
def compress__pickle(model, loader):
    import pickle

    parts = {}
    for name, layer in weight_layers(model).items():
        scale = weight_scale(layer.weight, 4)
        codes = (round_to_grid(layer.weight.detach(), scale, 4) / scale).round().to(torch.int8)
        parts[name] = (scale, codes.numpy(), layer.bias.detach().numpy())
    return zlib.compress(pickle.dumps(parts), 9)


@mistake(
    "compress",
    slow=True,
    caught_by="test_the_blob_is_no_pickle",
    hint="the blob or a part of it is a pickle; use struct.pack for numbers, tobytes for tensors",
    replay=False,
)
def compress__pickle_behind_a_number(model, loader):
    import pickle

    blob = struct.pack("<I", 4)
    for layer in weight_layers(model).values():
        scale = weight_scale(layer.weight, 4)
        codes = (round_to_grid(layer.weight.detach(), scale, 4) / scale).round().to(torch.int8)
        blob += pickle.dumps((scale, codes.numpy(), layer.bias.detach().numpy()))
    return blob


# ---------------------------------------------------------------- decompress


@mistake(
    "decompress",
    slow=True,
    caught_by="test_the_network_comes_back_elsewhere",
    hint="it needs more than the blob: a file, a global, or a checkpoint that is not there",
    replay=False,
)
def decompress__needs_more_than_the_blob(blob):
    from course_utils.checkpoints import load_checkpoint

    return load_checkpoint("lenet")


@mistake(
    "decompress",
    slow=True,
    caught_by="test_it_classifies",
    hint="the layers are filled in another order, or with other scales, than compress wrote",
    replay=False,
)
def decompress__weights_in_the_wrong_places(blob):
    model, place = LeNet(), 0
    with torch.no_grad():
        for layer in weight_layers(model).values():
            scale, _lowest, length = struct.unpack_from("<fbI", blob, place)
            place += struct.calcsize("<fbI")
            bias = bytearray(blob[place : place + 2 * layer.bias.numel()])
            layer.bias.copy_(torch.frombuffer(bias, dtype=torch.float16))
            place += len(bias)
            codes = entropy_decode(blob[place : place + length])
            layer.weight.copy_(codes.view_as(layer.weight) * scale)  # not shifted by lowest
            place += length
    return model.eval()


@mistake(
    "decompress",
    slow=True,
    caught_by="test_it_is_in_eval_mode",
    hint="the result is left in train mode: call eval() at the end",
    replay=False,
)
def decompress__left_in_train_mode(blob):
    model, place = LeNet(), 0
    with torch.no_grad():
        for layer in weight_layers(model).values():
            scale, lowest, length = struct.unpack_from("<fbI", blob, place)
            place += struct.calcsize("<fbI")
            bias = bytearray(blob[place : place + 2 * layer.bias.numel()])
            layer.bias.copy_(torch.frombuffer(bias, dtype=torch.float16))
            place += len(bias)
            codes = entropy_decode(blob[place : place + length])
            layer.weight.copy_((codes + lowest).view_as(layer.weight) * scale)
            place += length
    return model


@mistake(
    "decompress",
    slow=True,
    caught_by="test_the_network_comes_back_elsewhere",
    hint="returns the tensors, not a network that maps images to logits",
    replay=False,
)
def decompress__returns_tensors(blob):
    state, place, shapes = {}, 0, {n: p.shape for n, p in LeNet().state_dict().items()}
    for name in ("conv1", "conv2", "fc1", "fc2"):
        scale, lowest, length = struct.unpack_from("<fbI", blob, place)
        place += struct.calcsize("<fbI")
        count = shapes[f"{name}.bias"].numel()
        bias = bytearray(blob[place : place + 2 * count])
        state[f"{name}.bias"] = torch.frombuffer(bias, dtype=torch.float16).float()
        place += len(bias)
        codes = entropy_decode(blob[place : place + length])
        state[f"{name}.weight"] = (codes + lowest).view(shapes[f"{name}.weight"]) * scale
        place += length
    return state


@mistake(
    "decompress",
    slow=True,
    caught_by="test_one_image_at_a_time",
    hint="the network normalises by the batch, so an image's logits depend on the others",
    replay=False,
)
def decompress__depends_on_the_batch(blob):
    class Normalised(nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base = base

        def forward(self, images):
            mixed = images - images.mean(dim=0) + images.mean()
            return self.base(0.5 * images + 0.5 * mixed)

    model, place = LeNet(), 0
    with torch.no_grad():
        for layer in weight_layers(model).values():
            scale, lowest, length = struct.unpack_from("<fbI", blob, place)
            place += struct.calcsize("<fbI")
            bias = bytearray(blob[place : place + 2 * layer.bias.numel()])
            layer.bias.copy_(torch.frombuffer(bias, dtype=torch.float16))
            place += len(bias)
            codes = entropy_decode(blob[place : place + length])
            layer.weight.copy_((codes + lowest).view_as(layer.weight) * scale)
            place += length
    return Normalised(model).eval()


@mistake(
    "decompress",
    slow=True,
    caught_by="test_the_same_bytes_give_the_same_network",
    hint="what the blob does not hold is drawn at random",
    replay=False,
)
def decompress__another_network_each_time(blob):
    model, place = LeNet(), 0
    with torch.no_grad():
        for layer in weight_layers(model).values():
            scale, lowest, length = struct.unpack_from("<fbI", blob, place)
            # The biases are not read: they stay at random.
            place += struct.calcsize("<fbI") + 2 * layer.bias.numel()
            codes = entropy_decode(blob[place : place + length])
            layer.weight.copy_((codes + lowest).view_as(layer.weight) * scale)
            layer.bias.add_(torch.randn(layer.bias.shape))
            place += length
    return model.eval()
