"""Right answers that differ from the reference; every check must accept each of them."""

from __future__ import annotations

from autograder.authoring.answers import alternative


@alternative("quantize_and_cluster")
def quantize_and_cluster__own_straight_through(model, loader, k, bits, epochs, lr):
    if k < 1 or not 2 <= bits <= 16 or epochs < 0 or lr <= 0:
        raise ValueError("k, bits, epochs or lr")
    small = copy.deepcopy(model)
    layers = [m for m in small.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    last = 2 ** (bits - 1) - 1
    floats = [layer.weight.detach().clone() for layer in layers]

    def step_of(weight):
        size = weight.abs()
        return float(torch.minimum(size.max() / last, 2 * size.mean() / last**0.5)) or 1.0

    scales = [step_of(weight) for weight in floats]
    optimizer = torch.optim.Adam(small.parameters(), lr=lr)
    small.train()
    for _ in range(epochs):
        for images, labels in loader:
            for layer, weight, scale in zip(layers, floats, scales, strict=True):
                layer.weight.data = (weight / scale).round().clamp(-last, last) * scale
            loss = F.cross_entropy(small(images), labels)
            optimizer.zero_grad()
            loss.backward()
            for layer, weight in zip(layers, floats, strict=True):
                layer.weight.data = weight
            optimizer.step()
            floats = [layer.weight.detach().clone() for layer in layers]
    for layer, weight, scale in zip(layers, floats, scales, strict=True):
        codes = (weight / scale).round().clamp(-last, last)
        centres = kmeans_1d(codes, k).round().unique()
        nearest = (codes.flatten()[:, None] - centres).abs().argmin(dim=1)
        layer.weight.data = centres[nearest].view_as(codes) * scale
    return small.eval()


@alternative("quantize_and_cluster")
def quantize_and_cluster__clusters_first(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    last = 2 ** (bits - 1) - 1

    def clustered(weight):
        codebook = kmeans_1d(weight.detach(), k)
        scale = float(codebook.abs().max()) / last or 1.0
        codebook = (codebook / scale).round().clamp(-last, last) * scale
        edges = (codebook[1:] + codebook[:-1]) / 2
        hard = codebook[torch.bucketize(weight.detach(), edges)]
        return weight + (hard - weight).detach()

    for layer in weight_layers(small).values():
        attach(layer, clustered)
    learn_from(small, small, loader, epochs, 1.0, 1.0, lr)
    with torch.no_grad():
        finals = {
            name: clustered(x.parametrizations.weight.original)
            for name, x in weight_layers(small).items()
        }
    detach_all(small)
    with torch.no_grad():
        for name, layer in weight_layers(small).items():
            layer.weight.copy_(finals[name])
            values = layer.weight.unique()
            top = values.abs().max()
            codes = (layer.weight / top * last).round() if top > 0 else layer.weight
            layer.weight.copy_(codes * (top / last))
    return small.eval()


@alternative("quantize_and_cluster")
def quantize_and_cluster__with_sklearn(model, loader, k, bits, epochs, lr):
    from sklearn.cluster import KMeans

    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    scales = {name: weight_scale(x.weight, bits) for name, x in weight_layers(small).items()}
    for name, layer in weight_layers(small).items():
        attach(layer, lambda w, scale=scales[name]: round_to_grid(w, scale, bits))
    optimizer = torch.optim.AdamW(small.parameters(), lr=lr)
    train(small, loader, epochs, optimizer=optimizer, progress=False)
    detach_all(small)
    for name, layer in weight_layers(small).items():
        codes = (layer.weight.detach() / scales[name]).round()
        values, places, counts = codes.unique(return_inverse=True, return_counts=True)
        if len(values) > k:
            means = KMeans(k, n_init=2, random_state=0)
            groups = means.fit(values[:, None].numpy(), sample_weight=counts.numpy())
            centres = torch.tensor(groups.cluster_centers_[:, 0]).round().float()
            values = centres[torch.tensor(groups.labels_).long()]
        layer.weight.data = values[places].view_as(codes) * scales[name]
    return small.eval()
