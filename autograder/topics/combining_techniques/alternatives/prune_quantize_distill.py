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
def prune_quantize_distill__largest_weight_at_every_step(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )
    last = 2 ** (bits - 1) - 1

    class Round(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.round(x)

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    def squeezed(weight, mask):
        kept = weight * mask
        scale = (kept.detach().abs().max() / last).clamp(min=1e-8)
        return Round.apply(kept / scale) * scale

    small = copy.deepcopy(model)
    for layer in weight_layers(small).values():
        mask = magnitude_mask(layer.weight, sparsity)
        attach(layer, lambda w, mask=mask: squeezed(w, mask))
    learn_from(small, teacher, loader, epochs, temperature, alpha, lr)
    detach_all(small)
    return small


@alternative("prune_quantize_distill")
def prune_quantize_distill__the_scale_learns(
    model, teacher, loader, sparsity, bits, epochs, temperature, alpha, lr
):
    check_settings(
        epochs=epochs, lr=lr, temperature=temperature, alpha=alpha, sparsity=sparsity, bits=bits
    )

    class Learnt(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.register_buffer("mask", magnitude_mask(weight, sparsity))
            self.step = nn.Parameter(torch.tensor(weight_scale(weight * self.mask, bits)))

        def forward(self, weight):
            last, step = 2 ** (bits - 1) - 1, self.step.abs() + 1e-9
            x = (weight * self.mask / step).clamp(-last, last)
            return (x + (x.round() - x).detach()) * step

    small, frozen = copy.deepcopy(model), copy.deepcopy(teacher).eval()
    for layer in weight_layers(small).values():
        parametrize.register_parametrization(layer, "weight", Learnt(layer.weight))
    steps = [p for name, p in small.named_parameters() if name.endswith(".step")]
    others = [p for name, p in small.named_parameters() if not name.endswith(".step")]
    groups = [{"params": others, "lr": lr}, {"params": steps, "lr": lr / 100}]
    optimizer = torch.optim.Adam(groups)
    small.train()
    for _ in range(epochs):
        for images, labels in loader:
            with torch.no_grad():
                said = frozen(images)
            optimizer.zero_grad()
            distillation_loss(small(images), said, labels, temperature, alpha).backward()
            optimizer.step()
    detach_all(small)
    return small.eval()
