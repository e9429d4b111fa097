"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

from autograder.authoring.answers import mistake


@mistake(
    "prune_then_distill",
    caught_by="test_every_layer_has_its_sparsity",
    hint="weights are set to zero once; the optimizer moves them again: hold the mask",
    replay=False,
)
def prune_then_distill__masks_lost(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned = copy.deepcopy(model)
    with torch.no_grad():
        for layer in weight_layers(pruned).values():
            layer.weight.mul_(magnitude_mask(layer.weight, sparsity))
    learn_from(pruned, teacher, loader, epochs, temperature, alpha, lr)
    return pruned


@mistake(
    "prune_then_distill",
    caught_by="test_every_layer_has_its_sparsity",
    hint="one threshold for all layers: each layer must reach the sparsity by itself",
    replay=False,
)
def prune_then_distill__global_threshold(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned = copy.deepcopy(model)
    layers = weight_layers(pruned).values()
    together = torch.cat([layer.weight.detach().flatten() for layer in layers])
    masks = magnitude_mask(together, sparsity).split([layer.weight.numel() for layer in layers])
    for layer, mask in zip(layers, masks, strict=True):
        mask = mask.view_as(layer.weight)
        attach(layer, lambda weight, mask=mask: weight * mask)
    learn_from(pruned, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(pruned)
    return pruned


@mistake(
    "prune_then_distill",
    caught_by="test_the_smallest_magnitudes_go",
    hint="compares signed values, so large negative weights are pruned",
    replay=False,
)
def prune_then_distill__signed_comparison(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned = copy.deepcopy(model)
    for layer in weight_layers(pruned).values():
        mask = torch.ones(layer.weight.numel())
        mask[layer.weight.detach().flatten().argsort()[: round(sparsity * len(mask))]] = 0
        mask = mask.view_as(layer.weight)
        attach(layer, lambda weight, mask=mask: weight * mask)
    learn_from(pruned, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(pruned)
    return pruned


@mistake(
    "prune_then_distill",
    caught_by="test_learns_from_the_teacher",
    hint="the teacher is used in the mode it comes in; in train mode it says other things",
    replay=False,
)
def prune_then_distill__teacher_in_train_mode(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned, frozen = copy.deepcopy(model), copy.deepcopy(teacher)
    for layer in weight_layers(pruned).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda weight, mask=mask: weight * mask)
    optimizer = torch.optim.Adam(pruned.parameters(), lr)
    pruned.train()
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                said = frozen(images)
            loss = distillation_loss(pruned(images), said, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    detach_all(pruned)
    return pruned.eval()


@mistake(
    "prune_then_distill",
    caught_by="test_alpha_weighs_the_labels",
    hint="alpha weighs the hard loss and (1 - alpha) the soft one, not the other way round",
    replay=False,
)
def prune_then_distill__alpha_swapped(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned = copy.deepcopy(model)
    for layer in weight_layers(pruned).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda weight, mask=mask: weight * mask)
    learn_from(pruned, teacher, loader, epochs, temperature, 1 - alpha, lr)
    detach_all(pruned)
    return pruned


@mistake(
    "prune_then_distill",
    caught_by="test_soft_loss_keeps_its_weight",
    hint="T² is missing: at a high temperature the soft loss has hardly any weight",
    replay=False,
)
def prune_then_distill__t_squared_missing(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned, frozen = copy.deepcopy(model), copy.deepcopy(teacher).eval()
    for layer in weight_layers(pruned).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda weight, mask=mask: weight * mask)
    optimizer = torch.optim.Adam(pruned.parameters(), lr)
    pruned.train()
    for _ in range(epochs):
        for images, labels in loader:
            logits = pruned(images)
            with torch.no_grad():
                wanted = (frozen(images) / temperature).softmax(dim=1)
            log_p = (logits / temperature).log_softmax(dim=1)
            soft = F.kl_div(log_p, wanted, reduction="batchmean")
            loss = alpha * F.cross_entropy(logits, labels) + (1 - alpha) * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    detach_all(pruned)
    return pruned.eval()


@mistake(
    "prune_then_distill",
    caught_by="test_temperature_is_used",
    hint="the temperature has no effect: both models' logits must be divided by it",
    replay=False,
)
def prune_then_distill__temperature_ignored(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned = copy.deepcopy(model)
    for layer in weight_layers(pruned).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda weight, mask=mask: weight * mask)
    learn_from(pruned, teacher, loader, epochs, 1.0, alpha, lr)
    detach_all(pruned)
    return pruned


@mistake(
    "prune_then_distill",
    caught_by="test_callers_models_do_not_change",
    hint="the given model itself is pruned and trained: work on a deep copy",
    replay=False,
)
def prune_then_distill__changes_the_model(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    teacher = copy.deepcopy(teacher)
    for layer in weight_layers(model).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda weight, mask=mask: weight * mask)
    learn_from(model, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(model)
    return model


@mistake(
    "prune_then_distill",
    caught_by="test_callers_models_do_not_change",
    hint="the teacher learns or changes its mode: only the pruned copy may",
    replay=False,
)
def prune_then_distill__teacher_changed(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned = copy.deepcopy(model)
    for layer in weight_layers(pruned).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda weight, mask=mask: weight * mask)
    teacher.eval()
    learn_from(pruned, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(pruned)
    return pruned


@mistake(
    "prune_then_distill",
    caught_by="test_it_trains_properly",
    hint="the result is left in train mode: call eval() at the end",
    replay=False,
)
def prune_then_distill__left_in_train_mode(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned = copy.deepcopy(model)
    for layer in weight_layers(pruned).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda weight, mask=mask: weight * mask)
    learn_from(pruned, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(pruned)
    return pruned.train()


@mistake(
    "prune_then_distill",
    caught_by="test_biases_and_norms_are_kept",
    hint="every parameter is pruned; biases and batch norm must stay",
    replay=False,
)
def prune_then_distill__prunes_all(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned, frozen = copy.deepcopy(model), copy.deepcopy(teacher).eval()
    masks = {name: magnitude_mask(p, sparsity) for name, p in pruned.named_parameters()}

    def hold():
        with torch.no_grad():
            for name, parameter in pruned.named_parameters():
                parameter.mul_(masks[name])

    hold()
    optimizer = torch.optim.Adam(pruned.parameters(), lr)
    pruned.train()
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                said = frozen(images)
            loss = distillation_loss(pruned(images), said, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            hold()
    return pruned.eval()


@mistake(
    "prune_then_distill",
    caught_by="test_a_model_teaches_its_pruned_copy",
    hint="the pruned model teaches itself: the teacher must be whole",
    replay=False,
)
def prune_then_distill__teacher_is_pruned_too(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned = copy.deepcopy(model)
    for layer in weight_layers(pruned).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda weight, mask=mask: weight * mask)
    learn_from(pruned, copy.deepcopy(pruned), loader, epochs, temperature, alpha, lr)
    detach_all(pruned)
    return pruned


@mistake(
    "prune_then_distill",
    caught_by="test_it_trains_properly",
    hint="the student learns in eval mode, so batch norm and dropout do not do their part",
    replay=False,
)
def prune_then_distill__learns_in_eval_mode(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned, frozen = copy.deepcopy(model).eval(), copy.deepcopy(teacher).eval()
    for layer in weight_layers(pruned).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda weight, mask=mask: weight * mask)
    optimizer = torch.optim.Adam(pruned.parameters(), lr)
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                said = frozen(images)
            loss = distillation_loss(pruned(images), said, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    detach_all(pruned)
    return pruned


@mistake(
    "prune_then_distill",
    caught_by="test_the_same_weights_stay_zero",
    hint="the mask is made anew at every step, so weights that were pruned come back",
    replay=False,
)
def prune_then_distill__moving_mask(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned = copy.deepcopy(model)
    for layer in weight_layers(pruned).values():
        attach(layer, lambda weight: weight * magnitude_mask(weight, sparsity))
    learn_from(pruned, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(pruned)
    return pruned


@mistake(
    "prune_then_distill",
    caught_by="test_the_smallest_magnitudes_go",
    hint="only layers directly under the model are pruned: look at all of named_modules()",
    replay=False,
)
def prune_then_distill__outer_layers_only(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned = copy.deepcopy(model)
    for layer in pruned.children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            mask = magnitude_mask(layer.weight, sparsity)
            attach(layer, lambda weight, mask=mask: weight * mask)
    learn_from(pruned, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(pruned)
    return pruned


@mistake(
    "prune_then_distill",
    caught_by="test_hard_loss_is_not_softened",
    hint="the hard loss is computed with logits / T: only the soft loss uses the temperature",
    replay=False,
)
def prune_then_distill__softens_the_hard_loss(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned, frozen = copy.deepcopy(model), copy.deepcopy(teacher).eval()
    for layer in weight_layers(pruned).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda weight, mask=mask: weight * mask)
    optimizer = torch.optim.Adam(pruned.parameters(), lr)
    pruned.train()
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                said = F.softmax(frozen(images) / temperature, dim=1)
            logits = pruned(images) / temperature
            soft = F.kl_div(F.log_softmax(logits, dim=1), said, reduction="batchmean")
            loss = alpha * F.cross_entropy(logits, labels)
            loss = loss + (1 - alpha) * temperature**2 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    detach_all(pruned)
    return pruned.eval()
