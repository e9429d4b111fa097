"""Right answers that differ from the reference; every check must accept each of them."""

from __future__ import annotations

from autograder.authoring.answers import alternative


@alternative("prune_then_distill")
def prune_then_distill__masks_after_each_step(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    if not 0 <= sparsity < 1 or epochs < 0 or temperature <= 0 or not 0 <= alpha <= 1 or lr <= 0:
        raise ValueError("sparsity, epochs, temperature, alpha or lr")
    pruned, wise = copy.deepcopy(model), copy.deepcopy(teacher).eval()
    masks = {}
    for name, part in pruned.named_modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            count = round(sparsity * part.weight.numel())
            sizes = part.weight.detach().abs().flatten()
            mask = torch.ones_like(sizes)
            if count:
                mask[sizes.topk(count, largest=False).indices] = 0
            masks[name] = mask.view_as(part.weight)
            part.weight.data *= masks[name]
    optimizer = torch.optim.SGD(pruned.parameters(), lr=lr, momentum=0.9, nesterov=True)
    pruned.train()
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                target = (wise(images) / temperature).softmax(dim=1)
            logits = pruned(images)
            log_p = (logits / temperature).log_softmax(dim=1)
            soft = (target * (target.clamp_min(1e-12).log() - log_p)).sum(dim=1).mean()
            loss = alpha * F.cross_entropy(logits, labels) + (1 - alpha) * temperature**2 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for name, mask in masks.items():
                pruned.get_submodule(name).weight.data *= mask
    return pruned.eval()


@alternative("prune_then_distill")
def prune_then_distill__with_torch_prune(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    from torch.nn.utils import prune

    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned, wise = copy.deepcopy(model), copy.deepcopy(teacher)
    layers = [m for m in pruned.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for layer in layers:
        prune.l1_unstructured(layer, "weight", amount=round(sparsity * layer.weight.numel()))
    learn_from(pruned, wise, loader, epochs, temperature, alpha, lr)
    for layer in layers:
        prune.remove(layer, "weight")
    return pruned.eval()


@alternative("prune_then_distill")
def prune_then_distill__teacher_asked_before(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned = copy.deepcopy(model)
    wise = copy.deepcopy(teacher).eval()
    batches = list(loader)
    with torch.no_grad():
        answers = [wise(images) for images, _ in batches]
    factors = {}
    for name, layer in weight_layers(pruned).items():
        order = layer.weight.detach().abs().flatten().sort().indices
        keep = torch.ones(layer.weight.numel())
        keep[order[: round(sparsity * len(order))]] = 0.0
        factors[f"{name}.weight"] = keep.reshape(layer.weight.shape)
    with torch.no_grad():
        for name, parameter in pruned.named_parameters():
            parameter.mul_(factors.get(name, torch.ones(())))
    for name, parameter in pruned.named_parameters():
        if name in factors:
            parameter.register_hook(lambda g, factor=factors[name]: g * factor)
    optimizer = torch.optim.AdamW(pruned.parameters(), lr=lr, weight_decay=1e-3)
    pruned.train()
    for _ in range(epochs):
        for place in torch.randperm(len(batches)).tolist():
            images, labels = batches[place]
            loss = distillation_loss(pruned(images), answers[place], labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for parameter in pruned.parameters():
        parameter._backward_hooks = None
    return pruned.eval()


@alternative("prune_then_distill")
def prune_then_distill__functional_call(
    model, teacher, loader, sparsity, epochs, temperature, alpha, lr
):
    check_settings(epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity)
    pruned, frozen = copy.deepcopy(model), copy.deepcopy(teacher).eval()
    masks = {
        f"{name}.weight": magnitude_mask(layer.weight, sparsity)
        for name, layer in weight_layers(pruned).items()
    }
    learnt = dict(pruned.named_parameters())

    def masked():
        return {name: p * masks[name] if name in masks else p for name, p in learnt.items()}

    optimizer = torch.optim.RMSprop(list(learnt.values()), lr=lr / 3)
    pruned.train()
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                said = frozen(images)
            logits = torch.func.functional_call(pruned, masked(), (images,))
            loss = distillation_loss(logits, said, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learnt.values(), 5.0)
            optimizer.step()
    with torch.no_grad():
        for name, value in masked().items():
            learnt[name].copy_(value)
    return pruned.eval()
