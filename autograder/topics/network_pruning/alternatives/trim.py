"""Right answers that differ from the reference; every check must accept each of them."""

from __future__ import annotations

from autograder.authoring.answers import alternative

# ---------------------------------------------------------------- trim


@alternative("trim")
def trim__apoz_before_the_cut(model, loader, rounds, threshold, reinitialize=False):
    if rounds < 0 or not 0 <= threshold <= 1:
        raise ValueError("rounds or threshold")
    small, history = copy.deepcopy(model), []
    for number in range(rounds):
        values = apoz(collect_activations(small, "fc1", loader))
        before = accuracy(small, loader)
        keep = select_neurons(values, threshold)
        config, state = {**small.config, "fc1": len(keep)}, small.state_dict()
        small = LeNet(**config)
        if not reinitialize:
            state["fc1.weight"] = state["fc1.weight"][keep]
            state["fc1.bias"] = state["fc1.bias"][keep]
            state["fc2.weight"] = state["fc2.weight"][:, keep]
            small.load_state_dict(state)
        train(small, loader, epochs=2, lr=5e-4)
        history.append(
            {
                "round": number,
                "neurons": len(keep),
                "mean_apoz": float(values.mean()),
                "accuracy_before": before,
                "accuracy_after": accuracy(small, loader),
            }
        )
    return small.eval(), history


@alternative("trim")
def trim__sgd_hidden_layers_only(model, loader, rounds, threshold, reinitialize=False):
    if rounds < 0:
        raise ValueError("rounds")
    if not (0.0 <= threshold <= 1.0):
        raise ValueError("threshold")
    small, history = copy.deepcopy(model), []
    for _ in range(rounds):
        small.eval()
        zeros, count = torch.zeros(small.fc1.out_features), 0
        with torch.no_grad():
            for images, _ in loader:
                x = nn.functional.max_pool2d(small.conv1(images).relu(), 2)
                x = nn.functional.max_pool2d(small.conv2(x).relu(), 2)
                zeros += (small.fc1(x.flatten(1)).relu() == 0).sum(0)
                count += len(images)
        keep = select_neurons(zeros / count, threshold)
        small.fc1, small.fc2 = remove_neurons(small.fc1, small.fc2, keep)
        row = {"neurons": torch.tensor(len(keep)), "mean_apoz": (zeros / count)[keep].mean()}
        if reinitialize:
            small.fc1.reset_parameters()
            small.fc2.reset_parameters()
        row["accuracy_before"] = accuracy(small, loader)
        optimizer = torch.optim.SGD(small.parameters(), lr=0.02, momentum=0.9)
        small.train()
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(small(images), labels).backward()
            optimizer.step()
        row["accuracy_after"] = accuracy(small, loader)
        history.append(row)
    return small.eval(), history
