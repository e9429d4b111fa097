"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

from autograder.authoring.answers import mistake


@mistake(
    "quantize_and_cluster",
    caught_by="test_few_values_on_the_grid",
    hint="the weights are quantized but not clustered: more than k different values are left",
    replay=False,
)
def quantize_and_cluster__no_clustering(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        scale = weight_scale(layer.weight, bits)
        attach(layer, lambda w, scale=scale: round_to_grid(w, scale, bits))
    train(small, loader, epochs, lr, progress=False)
    detach_all(small)
    return small


@mistake(
    "quantize_and_cluster",
    caught_by="test_few_values_on_the_grid",
    hint="the centroids are float means: round the codebook to the grid as well",
    replay=False,
)
def quantize_and_cluster__off_the_grid(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        scale = weight_scale(layer.weight, bits)
        attach(layer, lambda w, scale=scale: round_to_grid(w, scale, bits))
    train(small, loader, epochs, lr, progress=False)
    detach_all(small)
    with torch.no_grad():
        for layer in weight_layers(small).values():
            codebook = kmeans_1d(layer.weight, k)
            nearest = (layer.weight.flatten()[:, None] - codebook).abs().argmin(dim=1)
            layer.weight.copy_(codebook[nearest].view_as(layer.weight))
    return small


@mistake(
    "quantize_and_cluster",
    caught_by="test_clusters_follow_the_weights",
    hint="k equal steps from smallest to largest weight are no clusters: use k-means",
    replay=False,
)
def quantize_and_cluster__uniform_levels(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    scales = {name: weight_scale(x.weight, bits) for name, x in weight_layers(small).items()}
    for name, layer in weight_layers(small).items():
        attach(layer, lambda w, scale=scales[name]: round_to_grid(w, scale, bits))
    train(small, loader, epochs, lr, progress=False)
    detach_all(small)
    with torch.no_grad():
        for name, layer in weight_layers(small).items():
            low, high = layer.weight.min(), layer.weight.max()
            codebook = round_to_grid(torch.linspace(low, high, k), scales[name], bits)
            nearest = (layer.weight.flatten()[:, None] - codebook).abs().argmin(dim=1)
            layer.weight.copy_(codebook[nearest].view_as(layer.weight))
    return small


@mistake(
    "quantize_and_cluster",
    caught_by="test_every_layer_has_its_own_codebook",
    hint="one scale and one codebook for all layers: a layer of small weights is lost",
    replay=False,
)
def quantize_and_cluster__one_codebook_for_all(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    layers = weight_layers(small).values()
    together = torch.cat([layer.weight.detach().flatten() for layer in layers])
    scale = weight_scale(together, bits)
    for layer in layers:
        attach(layer, lambda w: round_to_grid(w, scale, bits))
    train(small, loader, epochs, lr, progress=False)
    detach_all(small)
    with torch.no_grad():
        together = torch.cat([layer.weight.flatten() for layer in layers])
        codebook = round_to_grid(kmeans_1d(together, k), scale, bits)
        for layer in layers:
            nearest = (layer.weight.flatten()[:, None] - codebook).abs().argmin(dim=1)
            layer.weight.copy_(codebook[nearest].view_as(layer.weight))
    return small


@mistake(
    "quantize_and_cluster",
    caught_by="test_training_feels_the_rounding",
    hint="it is trained in float and rounded at the end: the loss never sees the rounding",
    replay=False,
)
def quantize_and_cluster__trains_in_float(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    train(small, loader, epochs, lr, progress=False)
    with torch.no_grad():
        for layer in weight_layers(small).values():
            scale = float(layer.weight.abs().max()) / (2 ** (bits - 1) - 1)
            rounded = round_to_grid(layer.weight, scale, bits)
            codebook = round_to_grid(kmeans_1d(rounded, k), scale, bits)
            nearest = (rounded.flatten()[:, None] - codebook).abs().argmin(dim=1)
            layer.weight.copy_(codebook[nearest].view_as(rounded))
    return small


@mistake(
    "quantize_and_cluster",
    caught_by="test_callers_model_does_not_change",
    hint="the given model itself is changed: work on a deep copy",
    replay=False,
)
def quantize_and_cluster__changes_the_model(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    scales = {name: weight_scale(x.weight, bits) for name, x in weight_layers(model).items()}
    for name, layer in weight_layers(model).items():
        attach(layer, lambda w, scale=scales[name]: round_to_grid(w, scale, bits))
    train(model, loader, epochs, lr, progress=False)
    detach_all(model)
    with torch.no_grad():
        for name, layer in weight_layers(model).items():
            codebook = round_to_grid(kmeans_1d(layer.weight, k), scales[name], bits)
            nearest = (layer.weight.flatten()[:, None] - codebook).abs().argmin(dim=1)
            layer.weight.copy_(codebook[nearest].view_as(layer.weight))
    return model


@mistake(
    "quantize_and_cluster",
    caught_by="test_result_is_in_eval_mode",
    hint="the result is left in train mode: call eval() at the end",
    replay=False,
)
def quantize_and_cluster__left_in_train_mode(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    scales = {name: weight_scale(x.weight, bits) for name, x in weight_layers(small).items()}
    for name, layer in weight_layers(small).items():
        attach(layer, lambda w, scale=scales[name]: round_to_grid(w, scale, bits))
    train(small, loader, epochs, lr, progress=False)
    detach_all(small)
    with torch.no_grad():
        for name, layer in weight_layers(small).items():
            codebook = round_to_grid(kmeans_1d(layer.weight, k), scales[name], bits)
            nearest = (layer.weight.flatten()[:, None] - codebook).abs().argmin(dim=1)
            layer.weight.copy_(codebook[nearest].view_as(layer.weight))
    return small.train()


@mistake(
    "quantize_and_cluster",
    caught_by="test_training_helps",
    hint="nothing is trained: the weights and biases that are returned never learnt",
    replay=False,
)
def quantize_and_cluster__does_not_train(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model).eval()
    with torch.no_grad():
        for layer in weight_layers(small).values():
            scale = weight_scale(layer.weight, bits)
            codebook = round_to_grid(kmeans_1d(layer.weight, k), scale, bits)
            nearest = (layer.weight.flatten()[:, None] - codebook).abs().argmin(dim=1)
            layer.weight.copy_(codebook[nearest].view_as(layer.weight))
    return small


@mistake(
    "quantize_and_cluster",
    caught_by="test_only_weights_are_rounded",
    hint="biases are rounded too: they stay in float",
    replay=False,
)
def quantize_and_cluster__biases_rounded(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    scales = {name: weight_scale(x.weight, bits) for name, x in weight_layers(small).items()}
    for name, layer in weight_layers(small).items():
        attach(layer, lambda w, scale=scales[name]: round_to_grid(w, scale, bits))
    train(small, loader, epochs, lr, progress=False)
    detach_all(small)
    with torch.no_grad():
        for name, layer in weight_layers(small).items():
            codebook = round_to_grid(kmeans_1d(layer.weight, k), scales[name], bits)
            for part in (layer.weight, layer.bias):
                if part is not None:
                    nearest = (part.flatten()[:, None] - codebook).abs().argmin(dim=1)
                    part.copy_(codebook[nearest].view_as(part))
    return small


@mistake(
    "quantize_and_cluster",
    caught_by="test_two_groups_are_two_clusters",
    hint="there is one cluster fewer than k: zero or an end of the range has taken its place",
    replay=False,
)
def quantize_and_cluster__too_few_clusters(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        codebook = kmeans_1d(layer.weight, max(1, k - 1))
        codebook = round_to_grid(codebook, weight_scale(layer.weight, bits), bits).unique()
        attach(layer, lambda weight, codebook=codebook: nearest(weight, codebook))
    train(small, loader, epochs, lr, progress=False)
    detach_all(small)
    return small


@mistake(
    "quantize_and_cluster",
    caught_by="test_many_settings",
    hint="k = 1 is refused: it is a codebook with one entry",
)
def quantize_and_cluster__refuses_a_single_value(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    require(k >= 2, f"k must be at least 2, got {k}")
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        codebook = kmeans_1d(layer.weight, k)
        codebook = round_to_grid(codebook, weight_scale(layer.weight, bits), bits).unique()
        attach(layer, lambda weight, codebook=codebook: nearest(weight, codebook))
    train(small, loader, epochs, lr, progress=False)
    detach_all(small)
    return small


@mistake(
    "quantize_and_cluster",
    caught_by="test_every_layer_has_its_own_codebook",
    hint="only layers directly under the model are clustered: look at all of named_modules()",
    replay=False,
)
def quantize_and_cluster__outer_layers_only(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    for layer in small.children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            codebook = kmeans_1d(layer.weight, k)
            codebook = round_to_grid(codebook, weight_scale(layer.weight, bits), bits).unique()
            attach(layer, lambda weight, codebook=codebook: nearest(weight, codebook))
    train(small, loader, epochs, lr, progress=False)
    detach_all(small)
    return small


@mistake(
    "quantize_and_cluster",
    caught_by="test_all_batches_are_learnt",
    hint="every epoch sees its first batch only: go through the whole loader",
    replay=False,
)
def quantize_and_cluster__one_batch_only(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        codebook = kmeans_1d(layer.weight, k)
        codebook = round_to_grid(codebook, weight_scale(layer.weight, bits), bits).unique()
        attach(layer, lambda weight, codebook=codebook: nearest(weight, codebook))
    train(small, [next(iter(loader))], epochs, lr, progress=False)
    detach_all(small)
    return small
