"""Right answers that differ from the reference; every check must accept each of them."""

from __future__ import annotations

from autograder.authoring.answers import alternative


@alternative("prune_quantize_distill")
def prune_quantize_distill__own_loop(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    if not 0 <= sparsity < 1 or not 2 <= bits <= 16 or epochs < 0:
        raise ValueError("sparsity, bits or epochs")
    if temperature <= 0 or not 0 <= alpha <= 1 or lr <= 0:
        raise ValueError("temperature, alpha or lr")
    small, wise = copy.deepcopy(model), copy.deepcopy(teacher).eval()
    last = 2 ** (bits - 1) - 1
    held = []
    for layer in small.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            count, sizes = round(sparsity * layer.weight.numel()), layer.weight.detach().abs()
            mask = torch.ones(sizes.numel())
            mask[sizes.flatten().argsort()[:count]] = 0
            mask = mask.view_as(sizes)
            kept = sizes * mask
            some = kept[kept > 0]
            mean = float(some.mean()) if len(some) else 1.0
            scale = min(float(kept.max()) / last, 2.2 * mean / last**0.5) or 1.0
            held.append([layer, mask, scale, layer.weight.detach().clone()])

    def rounded(mask, scale, weight):
        return (weight / scale).round().clamp(-last, last) * scale * mask

    optimizer = torch.optim.Adam(small.parameters(), lr=lr)
    small.train()
    for _ in range(epochs):
        for images, labels in loader:
            for layer, *rest in held:
                layer.weight.data = rounded(*rest)
            with torch.no_grad():
                said = wise(images)
            loss = distillation_loss(small(images), said, labels, temperature, alpha)
            optimizer.zero_grad()
            loss.backward()
            for entry in held:
                entry[0].weight.data = entry[3]
            optimizer.step()
            for entry in held:
                entry[3] = entry[0].weight.detach().clone()
    for layer, *rest in held:
        layer.weight.data = rounded(*rest)
    return small.eval()


@alternative("prune_quantize_distill")
def prune_quantize_distill__scale_follows_the_weights(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)

    def squeezed(weight, mask):
        kept = weight * mask
        return round_to_grid(kept, weight_scale(kept, bits), bits)

    for layer in weight_layers(small).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda w, mask=mask: squeezed(w, mask))
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    return small


@alternative("prune_quantize_distill")
def prune_quantize_distill__one_scale_a_channel(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    small = copy.deepcopy(model)
    last = 2 ** (bits - 1) - 1

    def squeezed(weight, mask, scale):
        x = (weight * mask / scale).clamp(-last, last)
        return (x + (x.round() - x).detach()) * scale

    for layer in weight_layers(small).values():
        mask = magnitude_mask(layer.weight, sparsity)
        rows = (layer.weight.detach() * mask).abs().flatten(1)
        mean = rows.sum(dim=1) / (rows > 0).sum(dim=1).clamp_min(1)
        scale = torch.minimum(rows.amax(dim=1) / last, 2 * mean / last**0.5)
        scale = torch.where(scale > 0, scale, torch.ones(()))
        scale = scale.view(-1, *[1] * (layer.weight.dim() - 1))
        attach(layer, lambda w, mask=mask, scale=scale: squeezed(w, mask, scale))
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    return small
