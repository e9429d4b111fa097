"""Wrong answers that students really give, each with the check that must fail."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from autograder.authoring.answers import mistake


@mistake(
    "centroid_gradient",
    caught_by="test_gradients_add_up",
    hint="this is the mean over each cluster: the gradients of its weights add up",
)
def centroid_gradient__mean(weight_gradient, codes, k):
    require(k >= 1, "k must be at least 1")
    flat = codes.flatten()
    sums = torch.zeros(k, dtype=weight_gradient.dtype)
    sums.index_add_(0, flat, weight_gradient.flatten())
    return sums / torch.bincount(flat, minlength=k).clamp(min=1)


@mistake(
    "centroid_gradient",
    caught_by="test_gradients_add_up",
    hint="assigning by index keeps only the last gradient of each cluster; it does not add",
)
def centroid_gradient__last_one_wins(weight_gradient, codes, k):
    require(k >= 1, "k must be at least 1")
    sums = torch.zeros(k, dtype=weight_gradient.dtype)
    sums[codes.flatten()] += weight_gradient.flatten()
    return sums


@mistake(
    "centroid_gradient",
    caught_by="test_empty_clusters_have_no_gradient",
    hint="codes that do not occur at the end are missing: the result has shape (k,)",
)
def centroid_gradient__too_short(weight_gradient, codes, k):
    require(k >= 1, "k must be at least 1")
    sums = torch.zeros(int(codes.max()) + 1, dtype=weight_gradient.dtype)
    return sums.index_add(0, codes.flatten(), weight_gradient.flatten())


@mistake(
    "centroid_gradient",
    caught_by="test_empty_clusters_have_no_gradient",
    hint="only codes that occur get an entry, so the others shift",
)
def centroid_gradient__present_codes_only(weight_gradient, codes, k):
    require(k >= 1, "k must be at least 1")
    return torch.stack([weight_gradient[codes == code].sum() for code in codes.unique()])


@mistake(
    "centroid_gradient",
    caught_by="test_gradients_add_up",
    hint="magnitudes are added: gradients of different sign must cancel",
)
def centroid_gradient__magnitudes(weight_gradient, codes, k):
    require(k >= 1, "k must be at least 1")
    sums = torch.zeros(k, dtype=weight_gradient.dtype)
    return sums.index_add(0, codes.flatten(), weight_gradient.abs().flatten())


@mistake(
    "centroid_gradient",
    caught_by="test_empty_clusters_have_no_gradient",
    hint="the mean of a code that does not occur is NaN; and a sum is wanted",
)
def centroid_gradient__nan_mean(weight_gradient, codes, k):
    require(k >= 1, "k must be at least 1")
    means = [weight_gradient[codes == code].mean() for code in range(k)]
    counts = torch.stack([(codes == code).sum() for code in range(k)])
    return torch.stack(means) * counts


@mistake(
    "finetune_codebooks",
    caught_by="test_codes_never_change",
    hint="the weights were assigned to centroids anew: the codes stay",
)
def finetune_codebooks__codes_change(model, clusters, loader, epochs, lr):
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    network = apply_codebooks(model, clusters)
    train(network, loader, epochs, lr, progress=False)
    tuned = {}
    for name, (codebook, _) in clusters.items():
        weight = network.get_submodule(name).weight.detach()
        codes = (weight[..., None] - codebook).abs().argmin(-1)
        tuned[name] = (codebook + 0.01 * (epochs > 0), codes)
    return tuned


@mistake(
    "finetune_codebooks",
    caught_by="test_codes_stay_and_centroids_move",
    hint="every weight was trained by itself, so weights of one cluster are no longer equal",
)
def finetune_codebooks__weights_move_apart(model, clusters, loader, epochs, lr):
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    network = apply_codebooks(model, clusters)
    return train(network, loader, epochs, lr, progress=False)


@mistake(
    "finetune_codebooks",
    caught_by="test_the_loss_falls",
    hint="the step goes up the gradient, not down",
)
def finetune_codebooks__uphill(model, clusters, loader, epochs, lr):
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    network = apply_codebooks(model, clusters)
    books = {name: codebook.clone() for name, (codebook, _) in clusters.items()}
    for _ in range(epochs):
        for inputs, targets in loader:
            network.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            for name, (_, codes) in clusters.items():
                weight = network.get_submodule(name).weight
                books[name] += lr * centroid_gradient(weight.grad, codes, len(books[name]))
                weight.data = books[name][codes]
    return {name: (books[name], codes) for name, (_, codes) in clusters.items()}


@mistake(
    "finetune_codebooks",
    caught_by="test_tuning_leaves_its_arguments",
    hint="the given codebooks were trained themselves: train clones",
)
def finetune_codebooks__changes_the_clusters(model, clusters, loader, epochs, lr):
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    network = apply_codebooks(model, clusters)
    for _ in range(epochs):
        for inputs, targets in loader:
            network.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            for name, (codebook, codes) in clusters.items():
                weight = network.get_submodule(name).weight
                codebook -= lr * centroid_gradient(weight.grad, codes, len(codebook))
                weight.data = codebook[codes]
    return clusters


@mistake(
    "finetune_codebooks",
    caught_by="test_tuning_leaves_its_arguments",
    hint="the given model itself was used: work on the copy of apply_codebooks",
)
def finetune_codebooks__changes_the_model(model, clusters, loader, epochs, lr):
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    layers = dict(model.named_modules())
    require(set(clusters) <= set(layers), "clusters: unknown layer")
    books = {name: codebook.clone() for name, (codebook, _) in clusters.items()}
    for name, (codebook, codes) in clusters.items():
        layers[name].weight.data = codebook[codes]
    model.train()
    for _ in range(epochs):
        for inputs, targets in loader:
            model.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            for name, (_, codes) in clusters.items():
                books[name] -= lr * centroid_gradient(
                    layers[name].weight.grad, codes, len(books[name])
                )
                layers[name].weight.data = books[name][codes]
    model.eval()
    return {name: (books[name], codes) for name, (_, codes) in clusters.items()}


@mistake(
    "finetune_codebooks",
    caught_by="test_codes_stay_and_centroids_move",
    hint="only the last layer's centroids learn",
)
def finetune_codebooks__one_layer_only(model, clusters, loader, epochs, lr):
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    network = apply_codebooks(model, clusters)
    tuned = dict(clusters)
    name, (codebook, codes) = list(clusters.items())[-1]
    codebook = codebook.clone()
    weight = network.get_submodule(name).weight
    for _ in range(epochs):
        for inputs, targets in loader:
            network.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            codebook -= lr * centroid_gradient(weight.grad, codes, len(codebook))
            weight.data = codebook[codes]
    tuned[name] = (codebook, codes)
    return tuned


@mistake(
    "finetune_codebooks",
    caught_by="test_without_epochs_nothing_changes",
    hint="the centroids start from the model's weights, not from the given codebooks",
)
def finetune_codebooks__starts_from_the_model(model, clusters, loader, epochs, lr):
    start = {}
    for name, (codebook, codes) in clusters.items():
        require(name in dict(model.named_modules()), "clusters: unknown layer")
        weight = model.get_submodule(name).weight.detach()
        counts = codes.flatten().bincount(minlength=len(codebook)).clamp(min=1)
        start[name] = (centroid_gradient(weight, codes, len(codebook)) / counts, codes)
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    network = apply_codebooks(model, start)
    for _ in range(epochs):
        for inputs, targets in loader:
            network.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            for name, (codebook, codes) in start.items():
                weight = network.get_submodule(name).weight
                codebook -= lr * centroid_gradient(weight.grad, codes, len(codebook))
                weight.data = codebook[codes]
    return start


@mistake(
    "finetune_codebooks",
    caught_by="test_tuning_rejects_impossible_arguments",
    hint="negative epochs or a learning rate of 0 are not rejected",
)
def finetune_codebooks__anything_goes(model, clusters, loader, epochs, lr):
    network = apply_codebooks(model, clusters)
    books = {name: codebook.clone() for name, (codebook, _) in clusters.items()}
    for _ in range(epochs):
        for inputs, targets in loader:
            network.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            for name, (_, codes) in clusters.items():
                weight = network.get_submodule(name).weight
                books[name] -= lr * centroid_gradient(weight.grad, codes, len(books[name]))
                weight.data = books[name][codes]
    return {name: (books[name], codes) for name, (_, codes) in clusters.items()}
