"""Wrong answers that students really give, each with the check that must reject it."""

from __future__ import annotations

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- trim


@mistake(
    "trim",
    caught_by="test_one_round_removes_the_silent_neurons",
    hint="APoZ is measured before the ReLU, where hardly anything is 0",
)
def trim__before_relu(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        inputs = torch.cat([images for images, _ in loader])
        features = nn.functional.max_pool2d(trimmed.conv1(inputs).relu(), 2)
        features = nn.functional.max_pool2d(trimmed.conv2(features).relu(), 2)
        values = apoz(trimmed.fc1(features.flatten(1)).detach())
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_every_image_counts_for_apoz",
    hint="APoZ is measured on one batch only: go through the whole loader",
)
def trim__first_batch(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", [next(iter(loader))]))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_reinitialize_draws_the_weights_afresh",
    hint="reinitialize is not used: with True the weights must be drawn afresh after the cut",
)
def trim__never_reinitializes(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_kept_neurons_keep_their_weights",
    hint="the trained weights are lost: with reinitialize=False the remaining weights stay",
    replay=False,
)
def trim__weights_lost(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed = LeNet(**{**trimmed.config, "fc1": len(keep)})
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_fine_tuning_lowers_the_loss",
    hint="the cut model is not fine-tuned, or another model is returned than the tuned one",
    replay=False,
)
def trim__no_fine_tuning(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        now = accuracy(trimmed, loader)
        history.append({**row, "accuracy_before": now, "accuracy_after": now})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_every_round_measures_anew",
    hint="APoZ is measured and neurons are removed in the first round only",
    replay=False,
)
def trim__measures_once(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    values = apoz(collect_activations(trimmed, "fc1", loader))
    keep = select_neurons(values, threshold)
    trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
    for _ in range(rounds):
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_trim_leaves_the_callers_model",
    hint="the caller's model is trimmed: work on a deep copy",
)
def trim__in_place(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = model.eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_history_tells_the_truth",
    hint="accuracies or APoZ in percent: fractions in [0, 1] are expected",
)
def trim__percent(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(keep), "mean_apoz": 100 * values.mean().item()}
        row["accuracy_before"] = 100 * accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": 100 * accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_one_round_removes_the_silent_neurons",
    hint="`neurons` is the number that was removed: it is the number left",
)
def trim__counts_the_removed(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(values) - len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_fresh_weights_are_trained",
    hint="the weights are drawn afresh after the training, or trained on one batch alone",
    replay=False,
)
def trim__drawn_after_the_training(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_fresh_weights_are_trained",
    hint="the weights are drawn afresh after the training, or trained on one batch alone",
    replay=False,
)
def trim__one_step_per_round(model, loader, rounds, threshold, reinitialize=False):
    require(rounds >= 0 and 0 <= threshold <= 1, "out of range")
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            for layer in trimmed.modules():
                if hasattr(layer, "reset_parameters"):
                    layer.reset_parameters()
        before = accuracy(trimmed, loader)
        optimizer = torch.optim.Adam(trimmed.parameters(), lr=2e-3)
        trimmed.train()
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(trimmed(images), labels).backward()
        optimizer.step()
        trimmed.eval()
        history.append(
            {
                "neurons": len(keep),
                "mean_apoz": float(apoz(collect_activations(trimmed, "fc1", loader)).mean()),
                "accuracy_before": before,
                "accuracy_after": accuracy(trimmed, loader),
            }
        )
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_every_round_looks_at_the_model_as_it_is",
    hint="APoZ is measured on the model as it was given: measure it on the trimmed one each round",
    replay=False,
)
def trim__measures_the_first_model(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for _ in range(rounds):
        values = apoz(collect_activations(model, "fc1", loader))[: trimmed.fc1.out_features]
        keep = select_neurons(values, threshold)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history


@mistake(
    "trim",
    caught_by="test_trim_at_the_ends_of_the_threshold",
    hint="the threshold falls from round to round: it is the same in all rounds",
    replay=False,
)
def trim__falling_threshold(model, loader, rounds, threshold, reinitialize=False):
    trimmed, history = copy.deepcopy(model).eval(), []
    for number in range(rounds):
        values = apoz(collect_activations(trimmed, "fc1", loader))
        keep = select_neurons(values, threshold * 0.9**number)
        trimmed.fc1, trimmed.fc2 = remove_neurons(trimmed.fc1, trimmed.fc2, keep)
        if reinitialize:
            [layer.reset_parameters() for layer in trimmed.children()]
        row = {"neurons": len(keep), "mean_apoz": values.mean().item()}
        row["accuracy_before"] = accuracy(trimmed, loader)
        train(trimmed, loader, 1)
        history.append({**row, "accuracy_after": accuracy(trimmed, loader)})
    return trimmed, history
