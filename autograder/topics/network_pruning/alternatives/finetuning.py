"""Right answers that differ from the reference; every check must accept each of them."""

from __future__ import annotations

from autograder.authoring.answers import alternative

# ---------------------------------------------------------------- finetune_pruned


@alternative("finetune_pruned")
def finetune_pruned__own_loop_sgd(model, masks, loader, epochs, lr):
    if epochs < 0 or lr <= 0:
        raise ValueError("epochs or lr")
    tuned = copy.deepcopy(model).train()
    parameters = dict(tuned.named_parameters())
    if any(name not in parameters for name in masks):
        raise ValueError("masks")
    optimizer = torch.optim.SGD(tuned.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    for name, mask in masks.items():
        parameters[name].data.mul_(mask)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(tuned(images), labels).backward()
            optimizer.step()
            for name, mask in masks.items():
                parameters[name].data.mul_(mask)
    return tuned.eval()


@alternative("finetune_pruned")
def finetune_pruned__gradient_hooks(model, masks, loader, epochs, lr):
    tuned = copy.deepcopy(model)
    if lr <= 0 or epochs < 0:
        raise ValueError("lr must be above 0 and epochs not negative")
    handles = []
    for name, mask in masks.items():
        try:
            parameter = tuned.get_parameter(name)
        except AttributeError:
            raise ValueError(f"masks: unknown name {name}") from None
        parameter.data[~mask] = 0
        handles.append(parameter.register_hook(lambda gradient, mask=mask: gradient * mask))
    tuned = train(tuned, loader, epochs, lr)
    for handle in handles:
        handle.remove()
    return tuned


@alternative("finetune_pruned")
def finetune_pruned__through_the_mask(model, masks, loader, epochs, lr):
    if epochs < 0 or not lr > 0 or not set(masks) <= {n for n, _ in model.named_parameters()}:
        raise ValueError("impossible arguments")
    tuned = copy.deepcopy(model)
    free = {name: p.detach().clone().requires_grad_() for name, p in tuned.named_parameters()}
    optimizer = torch.optim.RMSprop(free.values(), lr=lr / 3)
    factors = {name: mask.float() for name, mask in masks.items()}
    tuned.train()
    for _ in range(epochs):
        for images, labels in loader:
            used = {name: p * factors.get(name, 1.0) for name, p in free.items()}
            logits = torch.func.functional_call(tuned, used, (images,))
            loss = nn.functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            parameter.copy_(free[name] * factors.get(name, 1.0))
    return tuned.eval()


@alternative("finetune_pruned")
def finetune_pruned__adamw_cosine(model, masks, loader, epochs, lr):
    if epochs < 0:
        raise ValueError("epochs")
    if lr <= 0:
        raise ValueError("lr")
    state = model.state_dict()
    for name in masks:
        if name not in state:
            raise ValueError("masks")
    tuned = copy.deepcopy(model)
    tuned.load_state_dict({n: t * masks[n] if n in masks else t for n, t in state.items()})
    for parameter in tuned.parameters():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(tuned.parameters(), lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, epochs * len(loader)))
    tuned.train()
    for _ in range(epochs):
        for images, labels in loader:
            loss = nn.functional.cross_entropy(tuned(images), labels, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for name, mask in masks.items():
                    tuned.get_parameter(name)[~mask] = 0
    return tuned.eval()


@alternative("finetune_pruned")
def finetune_pruned__plain_sgd_falling(model, masks, loader, epochs, lr):
    if epochs < 0 or not lr > 0:
        raise ValueError("epochs or lr")
    tuned = copy.deepcopy(model)
    for name, mask in masks.items():
        if name not in dict(tuned.named_parameters()):
            raise ValueError("masks")
        tuned.get_parameter(name).data *= mask
    steps = max(1, epochs * len(loader))
    optimizer = torch.optim.SGD(tuned.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    tuned.train()
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(tuned(images), labels).backward()
            optimizer.step()
            schedule.step()
            for name, mask in masks.items():
                tuned.get_parameter(name).data *= mask
    return tuned.eval()


# ---------------------------------------------------------------- sensitivity_scan


@alternative("sensitivity_scan")
def sensitivity_scan__restore_each_time(model, loader, sparsities):
    if any(not (0 <= sparsity < 1) for sparsity in sparsities):
        raise ValueError("sparsities")
    trial = copy.deepcopy(model).eval()
    result = {}
    for name, layer in trial.named_modules():
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            continue
        whole, result[name] = layer.weight.detach().clone(), []
        for sparsity in sparsities:
            layer.weight.data = whole * magnitude_mask(whole, sparsity)
            right = total = 0
            with torch.no_grad():
                for images, labels in loader:
                    right += (trial(images).argmax(1) == labels).sum()
                    total += len(labels)
            result[name].append(float(right / total))
        layer.weight.data = whole
    return result


@alternative("sensitivity_scan")
def sensitivity_scan__sparsity_outside(model, loader, sparsities):
    sparsities = list(sparsities)
    if sparsities and not (min(sparsities) >= 0 and max(sparsities) < 1):
        raise ValueError("sparsities")
    if any(sparsity != sparsity for sparsity in sparsities):
        raise ValueError("sparsities")
    result = {}
    for sparsity in sparsities:
        pruned = copy.deepcopy(model)
        prune_weights(pruned, sparsity)
        for name, layer in pruned.named_modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                trial = copy.deepcopy(model)
                trial.get_submodule(name).load_state_dict(layer.state_dict())
                result.setdefault(name, []).append(torch.tensor(accuracy(trial, loader)))
    return result
