"""Wrong answers that students really give: the wrong things are trained, or too little."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import mistake


@mistake(
    "finetune_codebooks",
    caught_by="test_epochs_and_learning_rate_of_tuning_count",
    hint="only the first epoch is trained: a break, or a return, stands too far to the left",
)
def finetune_codebooks__one_epoch(model, clusters, loader, epochs, lr):
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    network = apply_codebooks(model, clusters).train()
    books = {name: nn.Parameter(codebook.clone()) for name, (codebook, _) in clusters.items()}
    optimizer = torch.optim.Adam(books.values(), lr)
    for _ in range(epochs):
        for inputs, targets in loader:
            network.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            for name, (_, codes) in clusters.items():
                gradient = network.get_submodule(name).weight.grad
                books[name].grad = centroid_gradient(gradient, codes, len(books[name]))
            optimizer.step()
            for name, (_, codes) in clusters.items():
                network.get_submodule(name).weight.data = books[name].data[codes]
        break
    return {name: (books[name].detach(), codes) for name, (_, codes) in clusters.items()}


@mistake(
    "finetune_codebooks",
    caught_by="test_epochs_and_learning_rate_of_tuning_count",
    hint="the optimizer has a fixed learning rate, lr is ignored",
)
def finetune_codebooks__own_learning_rate(model, clusters, loader, epochs, lr):
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    network = apply_codebooks(model, clusters).train()
    books = {name: nn.Parameter(codebook.clone()) for name, (codebook, _) in clusters.items()}
    optimizer = torch.optim.Adam(books.values(), 1e-3)
    for _ in range(epochs):
        for inputs, targets in loader:
            network.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            for name, (_, codes) in clusters.items():
                gradient = network.get_submodule(name).weight.grad
                books[name].grad = centroid_gradient(gradient, codes, len(books[name]))
            optimizer.step()
            for name, (_, codes) in clusters.items():
                network.get_submodule(name).weight.data = books[name].data[codes]
    return {name: (books[name].detach(), codes) for name, (_, codes) in clusters.items()}


@mistake(
    "finetune_codebooks",
    caught_by="test_tuning_uses_every_batch",
    hint="only the first batch of each epoch is used",
)
def finetune_codebooks__one_batch(model, clusters, loader, epochs, lr):
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    network = apply_codebooks(model, clusters).train()
    books = {name: nn.Parameter(codebook.clone()) for name, (codebook, _) in clusters.items()}
    optimizer = torch.optim.Adam(books.values(), lr)
    for _ in range(epochs):
        for inputs, targets in loader:
            network.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            for name, (_, codes) in clusters.items():
                gradient = network.get_submodule(name).weight.grad
                books[name].grad = centroid_gradient(gradient, codes, len(books[name]))
            optimizer.step()
            for name, (_, codes) in clusters.items():
                network.get_submodule(name).weight.data = books[name].data[codes]
            break
    return {name: (books[name].detach(), codes) for name, (_, codes) in clusters.items()}


@mistake(
    "finetune_codebooks",
    caught_by="test_only_the_centroids_learn",
    hint="biases learn too, but the result holds only centroids, so what they learn is lost",
)
def finetune_codebooks__biases_too(model, clusters, loader, epochs, lr):
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    network = apply_codebooks(model, clusters).train()
    books = {name: nn.Parameter(codebook.clone()) for name, (codebook, _) in clusters.items()}
    biases = [p for name, p in network.named_parameters() if name.endswith("bias")]
    optimizer = torch.optim.Adam([*books.values(), *biases], lr)
    for _ in range(epochs):
        for inputs, targets in loader:
            network.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            for name, (_, codes) in clusters.items():
                gradient = network.get_submodule(name).weight.grad
                books[name].grad = centroid_gradient(gradient, codes, len(books[name]))
            optimizer.step()
            for name, (_, codes) in clusters.items():
                network.get_submodule(name).weight.data = books[name].data[codes]
    return {name: (books[name].detach(), codes) for name, (_, codes) in clusters.items()}


@mistake(
    "finetune_codebooks",
    caught_by="test_only_the_centroids_learn",
    hint="softmax before cross_entropy, which takes the softmax itself",
)
def finetune_codebooks__softmax_twice(model, clusters, loader, epochs, lr):
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    network = apply_codebooks(model, clusters).train()
    books = {name: nn.Parameter(codebook.clone()) for name, (codebook, _) in clusters.items()}
    optimizer = torch.optim.Adam(books.values(), lr)
    for _ in range(epochs):
        for inputs, targets in loader:
            network.zero_grad()
            F.cross_entropy(network(inputs).softmax(1), targets).backward()
            for name, (_, codes) in clusters.items():
                gradient = network.get_submodule(name).weight.grad
                books[name].grad = centroid_gradient(gradient, codes, len(books[name]))
            optimizer.step()
            for name, (_, codes) in clusters.items():
                network.get_submodule(name).weight.data = books[name].data[codes]
    return {name: (books[name].detach(), codes) for name, (_, codes) in clusters.items()}


@mistake(
    "finetune_codebooks",
    caught_by="test_codes_never_change",
    hint="each layer has its own k: take the length of its own codebook",
)
def finetune_codebooks__one_k_for_all(model, clusters, loader, epochs, lr):
    require(epochs >= 0, "epochs")
    require(lr > 0, "lr")
    network = apply_codebooks(model, clusters).train()
    books = {name: nn.Parameter(codebook.clone()) for name, (codebook, _) in clusters.items()}
    optimizer = torch.optim.Adam(books.values(), lr)
    for _ in range(epochs):
        for inputs, targets in loader:
            network.zero_grad()
            F.cross_entropy(network(inputs), targets).backward()
            for name, (_, codes) in clusters.items():
                gradient = network.get_submodule(name).weight.grad
                books[name].grad = centroid_gradient(
                    gradient, codes, len(next(iter(books.values())))
                )
            optimizer.step()
            for name, (_, codes) in clusters.items():
                network.get_submodule(name).weight.data = books[name].data[codes]
    return {name: (books[name].detach(), codes) for name, (_, codes) in clusters.items()}
