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
def quantize_and_cluster__best_clusters_by_numpy(model, loader, k, bits, epochs, lr):
    import numpy as np

    def clustered(values, counts, k):
        # In one dimension clusters are intervals, so dynamic programming finds the best ones.
        n = len(values)
        if n <= k:
            return values
        powers = [np.r_[0, np.cumsum(counts * values**p)] for p in range(3)]
        weight, total, square = (s[None, :] - s[:, None] for s in powers)
        with np.errstate(divide="ignore", invalid="ignore"):
            cost = np.where(weight > 0, square - total**2 / weight, np.inf)
        best, starts = cost[0], []
        for _ in range(k - 1):
            ways = best[:, None] + cost
            starts.append(ways.argmin(axis=0))
            best = ways.min(axis=0)
        means, end = np.empty(n), n
        for start in [*(s for s in reversed(starts)), np.zeros(n + 1, int)]:
            first = start[end]
            means[first:end] = np.average(values[first:end], weights=counts[first:end])
            end = first
        return means

    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    scales = {name: weight_scale(x.weight, bits) for name, x in weight_layers(small).items()}
    for name, layer in weight_layers(small).items():
        attach(layer, lambda w, scale=scales[name]: round_to_grid(w, scale, bits))
    optimizer = torch.optim.AdamW(small.parameters(), lr=lr)
    train(small, loader, epochs, optimizer=optimizer, progress=False)
    detach_all(small)
    for name, layer in weight_layers(small).items():
        codes = np.rint(layer.weight.detach().double().numpy() / scales[name])
        values, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
        centres = torch.tensor(np.rint(clustered(values, counts, k)))
        codes = centres[torch.tensor(places.reshape(-1))].view_as(layer.weight)
        layer.weight.data = codes.float() * scales[name]
    return small.eval()


@alternative("quantize_and_cluster")
def quantize_and_cluster__the_codebook_learns(model, loader, k, bits, epochs, lr):
    check_settings(epochs=epochs, lr=lr, bits=bits, k=k)
    small = copy.deepcopy(model)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    class Shared(nn.Module):
        def __init__(self, weight):
            super().__init__()
            weight = weight.detach()
            codebook = kmeans_1d(weight, k)
            self.scale = max(float(weight.max()) / high, float(weight.min()) / low, 1e-12)
            edges = (codebook[1:] + codebook[:-1]) / 2
            self.codes = torch.bucketize(weight, edges)
            self.codebook = nn.Parameter(codebook)

        def forward(self, weight):
            x = self.codebook / self.scale
            x = (x + (x.round() - x).detach()).clamp(low, high)
            return (x * self.scale)[self.codes]

    for layer in weight_layers(small).values():
        parametrize.register_parametrization(layer, "weight", Shared(layer.weight))
    train(small, loader, epochs, lr / 4, progress=False)
    detach_all(small)
    return small


@alternative("quantize_and_cluster")
def quantize_and_cluster__plain_descent_from_the_largest(model, loader, k, bits, epochs, lr):
    if k < 1 or not 2 <= bits <= 16 or epochs < 0 or lr <= 0:
        raise ValueError("k, bits, epochs or lr")
    small, last = copy.deepcopy(model), 2 ** (bits - 1) - 1
    layers, codebooks = list(weight_layers(small).values()), []
    for layer in layers:
        scale = float(layer.weight.detach().abs().max()) / last or 1.0
        codes = (kmeans_1d(layer.weight, k) / scale).round().clamp(-last, last)
        codebooks.append(codes.unique() * scale)

    def snapped():
        return [nearest(x.weight.data, book) for x, book in zip(layers, codebooks, strict=True)]

    optimizer = torch.optim.SGD(small.parameters(), lr=lr, momentum=0.9)
    small.train()
    for _ in range(epochs):
        for images, labels in loader:
            floats = [layer.weight.data for layer in layers]
            for layer, weight in zip(layers, snapped(), strict=True):
                layer.weight.data = weight
            optimizer.zero_grad()
            F.cross_entropy(small(images), labels).backward()
            for layer, weight in zip(layers, floats, strict=True):
                layer.weight.data = weight
            optimizer.step()
    for layer, weight in zip(layers, snapped(), strict=True):
        layer.weight.data = weight
    return small.eval()
