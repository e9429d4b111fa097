"""Wrong answers that students really give, each with the check that must reject it."""

from __future__ import annotations

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- finetune_pruned


@mistake(
    "finetune_pruned",
    caught_by="test_zeros_stay_zero",
    hint="the masks are applied once, before the training, and the zeros come back",
    replay=False,
)
def finetune_pruned__zeros_come_back(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    for name, mask in masks.items():
        tuned.get_parameter(name).data *= mask
    return train(tuned, loader, epochs, lr)


@mistake(
    "finetune_pruned",
    caught_by="test_masks_are_applied_first",
    hint="the masks are applied after the steps only: without a step the model is not pruned",
    replay=False,
)
def finetune_pruned__masks_not_applied_first(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)

    def hold():
        for name, mask in masks.items():
            tuned.get_parameter(name).data *= mask

    return train(tuned, loader, epochs, lr, after_step=hold)


@mistake(
    "finetune_pruned",
    caught_by="test_zeros_are_held_during_training",
    hint="the pruned weights learn all the time and are cut at the end: mask after every step",
    replay=False,
)
def finetune_pruned__masked_only_at_the_end(model, masks, loader, epochs, lr):
    tuned = train(copy.deepcopy(model), loader, epochs, lr)
    for name, mask in masks.items():
        tuned.get_parameter(name).data *= mask
    return tuned


@mistake(
    "finetune_pruned",
    caught_by="test_finetuned_model_is_in_eval_mode",
    hint="the model comes back in train mode: end with model.eval()",
    replay=False,
)
def finetune_pruned__left_in_train_mode(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)

    def hold():
        for name, mask in masks.items():
            tuned.get_parameter(name).data *= mask

    hold()
    return train(tuned, loader, epochs, lr, after_step=hold).train()


@mistake(
    "finetune_pruned",
    caught_by="test_finetuning_leaves_the_callers_model",
    hint="the caller's model is trained: work on copy.deepcopy(model)",
    replay=False,
)
def finetune_pruned__changes_the_callers_model(model, masks, loader, epochs, lr):

    def hold():
        for name, mask in masks.items():
            model.get_parameter(name).data *= mask

    hold()
    return train(model, loader, epochs, lr, after_step=hold)


@mistake(
    "finetune_pruned",
    caught_by="test_the_pruned_model_learns",
    hint="the model that is returned was never trained",
    replay=False,
)
def finetune_pruned__does_not_train(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model).eval()
    for name, mask in masks.items():
        tuned.get_parameter(name).data *= mask
    train(copy.deepcopy(tuned), loader, epochs, lr)
    return tuned


@mistake(
    "finetune_pruned",
    caught_by="test_the_pruned_model_learns",
    hint="the pruned layers are frozen, and only biases and norm layers learn",
    replay=False,
)
def finetune_pruned__kept_weights_frozen(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    for name, mask in masks.items():
        tuned.get_parameter(name).data *= mask
        tuned.get_parameter(name).requires_grad_(False)
    tuned = train(tuned, loader, epochs, lr)
    for name in masks:
        tuned.get_parameter(name).requires_grad_(True)
    return tuned


@mistake(
    "finetune_pruned",
    caught_by="test_only_the_masked_layers_are_held",
    hint="every zero of the model is held, also where its mask says keep",
    replay=False,
)
def finetune_pruned__holds_every_zero(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    for name, mask in masks.items():
        tuned.get_parameter(name).data *= mask
    zeros = {name: parameter.detach() == 0 for name, parameter in tuned.named_parameters()}

    def hold():
        for name, parameter in tuned.named_parameters():
            parameter.data[zeros[name]] = 0

    return train(tuned, loader, epochs, lr, after_step=hold)


@mistake(
    "finetune_pruned",
    caught_by="test_epochs_and_learning_rate_count",
    hint="only one epoch is trained, whatever `epochs` says",
    replay=False,
)
def finetune_pruned__trains_one_epoch_only(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)

    def hold():
        for name, mask in masks.items():
            tuned.get_parameter(name).data *= mask

    hold()
    return train(tuned, loader, min(epochs, 1), lr, after_step=hold)


@mistake(
    "finetune_pruned",
    caught_by="test_epochs_and_learning_rate_count",
    hint="`lr` is not used",
    replay=False,
)
def finetune_pruned__ignores_the_learning_rate(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)

    def hold():
        for name, mask in masks.items():
            tuned.get_parameter(name).data *= mask

    hold()
    return train(tuned, loader, epochs, after_step=hold)


@mistake(
    "finetune_pruned",
    caught_by="test_every_batch_is_trained_on",
    hint="only one batch of each epoch is trained on: make a step for every batch of the loader",
    replay=False,
)
def finetune_pruned__trains_on_one_batch(model, masks, loader, epochs, lr):
    if epochs < 0 or lr <= 0:
        raise ValueError("epochs or lr")
    tuned = copy.deepcopy(model)
    parameters = dict(tuned.named_parameters())
    if not set(masks) <= set(parameters):
        raise ValueError("masks")
    for name, mask in masks.items():
        parameters[name].data *= mask
    optimizer = torch.optim.Adam(tuned.parameters(), lr=lr)
    tuned.train()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(tuned(images), labels).backward()
            optimizer.step()
            for name, mask in masks.items():
                parameters[name].data *= mask
            break
    return tuned.eval()


@mistake(
    "finetune_pruned",
    caught_by="test_finetuning_rejects_impossible_arguments",
    hint="masks with unknown names are skipped in silence: they must raise a ValueError",
)
def finetune_pruned__skips_unknown_names(model, masks, loader, epochs, lr):
    if epochs < 0 or lr <= 0:
        raise ValueError("epochs or lr")
    tuned = copy.deepcopy(model)

    def hold():
        for name, parameter in tuned.named_parameters():
            if name in masks:
                parameter.data *= masks[name]

    hold()
    return train(tuned, loader, epochs, lr, after_step=hold)


# ---------------------------------------------------------------- sensitivity_scan


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_prunes_one_layer_at_a_time",
    hint="layers stay pruned: every measurement must start from the whole model",
)
def sensitivity_scan__layers_stay_pruned(model, loader, sparsities):
    trial, result = copy.deepcopy(model), {}
    for name, layer in trial.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sparsities:
                prune_weights(nn.Sequential(layer), sparsity)
                result[name].append(accuracy(trial, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_follows_the_order_of_sparsities",
    hint="a layer stays pruned from one sparsity to the next",
)
def sensitivity_scan__restored_too_late(model, loader, sparsities):
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            trial, result[name] = copy.deepcopy(model), []
            for sparsity in sparsities:
                prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                result[name].append(accuracy(trial, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_follows_the_order_of_sparsities",
    hint="the sparsities are sorted: the accuracies must be in the order given",
)
def sensitivity_scan__sorted(model, loader, sparsities):
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sorted(sparsities):
                trial = copy.deepcopy(model)
                prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                result[name].append(accuracy(trial, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_leaves_the_model_alone",
    hint="the caller's model stays pruned: work on a copy",
)
def sensitivity_scan__changes_the_model(model, loader, sparsities):
    whole, result = copy.deepcopy(model.state_dict()), {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sparsities:
                model.load_state_dict(whole)
                prune_weights(nn.Sequential(layer), sparsity)
                result[name].append(accuracy(model, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_leaves_the_model_alone",
    hint="model.eval() is called on the caller's model, so its modes change: use a copy",
)
def sensitivity_scan__sets_eval_mode(model, loader, sparsities):
    model.eval()
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sparsities:
                trial = copy.deepcopy(model)
                prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                result[name].append(accuracy(trial, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_prunes_one_layer_at_a_time",
    hint="the keys are names of parameters; they are names of layers, without .weight",
)
def sensitivity_scan__names_of_parameters(model, loader, sparsities):
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[f"{name}.weight"] = []
            for sparsity in sparsities:
                trial = copy.deepcopy(model)
                prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                result[f"{name}.weight"].append(accuracy(trial, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_every_image_counts_the_same",
    hint="the mean of the batches' accuracies counts the images of a small last batch too much",
)
def sensitivity_scan__mean_of_batches(model, loader, sparsities):
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sparsities:
                trial = copy.deepcopy(model).eval()
                prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                parts = [(trial(x).argmax(1) == y).float().mean().item() for x, y in loader]
                result[name].append(sum(parts) / len(parts))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_prunes_one_layer_at_a_time",
    hint="accuracies in percent: they are fractions in [0, 1]",
)
def sensitivity_scan__percent(model, loader, sparsities):
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sparsities:
                trial = copy.deepcopy(model)
                prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                result[name].append(100 * accuracy(trial, loader))
    return result


@mistake(
    "sensitivity_scan",
    caught_by="test_scan_rejects_impossible_sparsities",
    hint="a sparsity of 1 is accepted: sparsities lie in [0, 1)",
)
def sensitivity_scan__takes_one(model, loader, sparsities):
    if not all(0 <= sparsity <= 1 for sparsity in sparsities):
        raise ValueError("sparsities")
    result = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            result[name] = []
            for sparsity in sparsities:
                trial = copy.deepcopy(model)
                if sparsity < 1:
                    prune_weights(nn.Sequential(trial.get_submodule(name)), sparsity)
                else:
                    trial.get_submodule(name).weight.data.zero_()
                result[name].append(accuracy(trial, loader))
    return result
