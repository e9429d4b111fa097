"""Right answers that differ from the reference; every check must accept each of them."""

from __future__ import annotations

from autograder.authoring.answers import alternative

# ---------------------------------------------------------------- magnitude_mask


@alternative("magnitude_mask")
def magnitude_mask__by_topk(weight, sparsity):
    if not 0 <= sparsity < 1:
        raise ValueError("sparsity")
    if torch.isnan(weight).any():
        raise ValueError("weight")
    total = weight.numel()
    kept = total - round(sparsity * total)
    mask = torch.zeros(total, dtype=torch.bool)
    mask[weight.detach().abs().reshape(-1).topk(kept).indices] = True
    return mask.view(weight.shape)


@alternative("magnitude_mask")
def magnitude_mask__in_python(weight, sparsity):
    values = weight.detach().flatten().tolist()
    if not 0.0 <= sparsity < 1.0 or any(value != value for value in values):
        raise ValueError("sparsity must lie in [0, 1) and weight must not hold NaN")
    order = sorted(range(len(values)), key=lambda place: abs(values[place]))
    pruned = set(order[: round(sparsity * len(values))])
    kept = [place not in pruned for place in range(len(values))]
    return torch.tensor(kept, dtype=torch.bool).reshape(weight.shape)


@alternative("magnitude_mask")
def magnitude_mask__threshold_and_ties(weight, sparsity):
    if not (sparsity >= 0 and sparsity < 1) or bool((weight != weight).any()):
        raise ValueError("impossible")
    magnitudes = weight.detach().abs().flatten()
    count = round(sparsity * magnitudes.numel())
    if count == 0:
        return torch.ones_like(weight, dtype=torch.bool)
    threshold = magnitudes.kthvalue(count).values
    pruned = magnitudes < threshold
    # The last of the equal ones go, until the number is right.
    equal = (magnitudes == threshold).nonzero().flatten()
    pruned[equal[len(equal) - (count - int(pruned.sum())) :]] = True
    return (~pruned).reshape(weight.shape)


@alternative("magnitude_mask")
def magnitude_mask__by_numpy(weight, sparsity):
    import numpy as np

    array = np.abs(weight.detach().numpy())
    if np.isnan(array).any() or np.isnan(sparsity) or sparsity < 0 or sparsity >= 1:
        raise ValueError("impossible")
    mask = np.ones(array.size, dtype=bool)
    mask[np.argsort(array, axis=None, kind="stable")[: round(sparsity * array.size)]] = False
    return torch.from_numpy(mask.reshape(array.shape))


# ---------------------------------------------------------------- prune_weights


@alternative("prune_weights")
def prune_weights__by_torch(model, sparsity, scope="layer"):
    from torch.nn.utils import prune

    if not 0 <= sparsity < 1 or scope not in {"layer", "global"}:
        raise ValueError("sparsity or scope")
    layers = {n: m for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    if scope == "global":
        total = sum(layer.weight.numel() for layer in layers.values())
        prune.global_unstructured(
            [(layer, "weight") for layer in layers.values()],
            pruning_method=prune.L1Unstructured,
            amount=round(sparsity * total),
        )
    masks = {}
    for name, layer in layers.items():
        if scope == "layer":
            amount = round(sparsity * layer.weight.numel())
            prune.l1_unstructured(layer, "weight", amount=amount)
        masks[f"{name}.weight"] = layer.weight_mask.bool()
        prune.remove(layer, "weight")
    return masks


@alternative("prune_weights")
def prune_weights__sorted_triples(model, sparsity, scope="layer"):
    if not 0 <= sparsity < 1:
        raise ValueError("sparsity")
    if scope not in ("layer", "global"):
        raise ValueError("scope")
    masks, everything = {}, []
    for name, layer in model.named_modules():
        if not isinstance(layer, (nn.Linear, nn.Conv2d)):
            continue
        flat = layer.weight.detach().flatten()
        triples = [(abs(value), name, place) for place, value in enumerate(flat.tolist())]
        masks[name] = torch.ones(flat.numel(), dtype=torch.bool)
        if scope == "layer":
            triples = sorted(triples)[: round(sparsity * len(triples))]
        everything += triples
    if scope == "global":
        everything = sorted(everything)[: round(sparsity * len(everything))]
    for _, name, place in everything:
        masks[name][place] = False
    shaped = {}
    for name, mask in masks.items():
        weight = model.get_submodule(name).weight
        shaped[name + ".weight"] = mask.reshape(weight.shape)
        weight.data[~shaped[name + ".weight"]] = 0.0
    return shaped


@alternative("prune_weights")
def prune_weights__new_parameters(model, sparsity, scope="layer"):
    if scope != "layer" and scope != "global":
        raise ValueError(scope)
    weights = {}
    for path, parameter in reversed(list(model.named_parameters())):
        owner = model.get_submodule(path.rpartition(".")[0])
        if path.endswith("weight") and type(owner) in (nn.Conv2d, nn.Linear):
            weights[path] = parameter.detach().clone()
    flat = torch.cat([weight.reshape(-1) for weight in weights.values()])
    over_all, start, masks = magnitude_mask(flat, sparsity), 0, {}
    for path, weight in weights.items():
        part = over_all[start : start + weight.numel()].reshape(weight.shape)
        start += weight.numel()
        masks[path] = part if scope == "global" else magnitude_mask(weight, sparsity)
        owner = model.get_submodule(path.rpartition(".")[0])
        owner.weight = nn.Parameter(torch.where(masks[path], weight, torch.zeros_like(weight)))
    return masks


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


# ---------------------------------------------------------------- dense_to_csr


@alternative("dense_to_csr")
def dense_to_csr__loops(matrix):
    if matrix.dim() != 2:
        raise ValueError("matrix")
    values, columns, pointers = [], [], [0]
    for row in range(matrix.shape[0]):
        for column in range(matrix.shape[1]):
            if matrix[row, column] != 0:
                values.append(matrix[row, column].item())
                columns.append(column)
        pointers.append(len(values))
    kinds = (matrix.dtype, torch.int64, torch.int64)
    parts = (values, columns, pointers)
    return tuple(torch.tensor(part, dtype=kind) for part, kind in zip(parts, kinds, strict=True))


@alternative("dense_to_csr")
def dense_to_csr__by_torch(matrix):
    if matrix.ndim != 2:
        raise ValueError("matrix")
    csr = matrix.to_sparse_csr()
    return csr.values(), csr.col_indices(), csr.crow_indices()


@alternative("dense_to_csr")
def dense_to_csr__by_search(matrix):
    if len(matrix.shape) != 2 or torch.isnan(matrix).any():
        raise ValueError("matrix")
    places = matrix.flatten().nonzero().squeeze(1)
    row_starts = torch.arange(matrix.shape[0] + 1) * matrix.shape[1]
    pointers = torch.searchsorted(places, row_starts)
    return [matrix.flatten()[places], places % matrix.shape[1], pointers]


# ---------------------------------------------------------------- csr_matvec


@alternative("csr_matvec")
def csr_matvec__loops(values, column_indices, row_pointers, x):
    if x.dim() != 1 or (len(column_indices) and int(column_indices.max()) >= len(x)):
        raise ValueError("x")
    out = torch.zeros(len(row_pointers) - 1, dtype=values.dtype)
    for row in range(len(out)):
        for place in range(row_pointers[row], row_pointers[row + 1]):
            out[row] += values[place] * x[column_indices[place]]
    return out


@alternative("csr_matvec")
def csr_matvec__through_dense(values, column_indices, row_pointers, x):
    if x.ndim != 1:
        raise ValueError("x")
    dense = values.new_zeros(len(row_pointers) - 1, len(x))
    rows = torch.repeat_interleave(torch.arange(len(dense)), row_pointers[1:] - row_pointers[:-1])
    if (column_indices >= len(x)).any():
        raise ValueError("x")
    dense[rows, column_indices] = values
    return dense @ x


@alternative("csr_matvec")
def csr_matvec__running_sum(values, column_indices, row_pointers, x):
    if x.ndim != 1:
        raise ValueError("x")
    if len(column_indices) > 0 and column_indices.max() >= x.shape[0]:
        raise ValueError("x")
    sums = torch.cat([values.new_zeros(1), (values * x[column_indices]).cumsum(0)])
    return sums[row_pointers[1:]] - sums[row_pointers[:-1]]


# ---------------------------------------------------------------- storage_bytes


@alternative("storage_bytes")
def storage_bytes__branches(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    if min(rows, columns, value_bytes, index_bytes) <= 0:
        raise ValueError("sizes must be positive")
    if nonzeros < 0 or nonzeros > rows * columns:
        raise ValueError("nonzeros")
    if layout == "dense":
        return rows * columns * value_bytes
    size = nonzeros * (value_bytes + index_bytes)
    if layout == "csr":
        return size + index_bytes * (rows + 1)
    if layout == "csc":
        return size + index_bytes * (columns + 1)
    if layout == "coo":
        return size + index_bytes * nonzeros
    raise ValueError("layout")


@alternative("storage_bytes")
def storage_bytes__by_numpy(rows, columns, nonzeros, layout, value_bytes=4, index_bytes=4):
    import numpy as np

    sizes = (rows, columns, nonzeros, value_bytes, index_bytes)
    if any(size < 0 for size in sizes) or nonzeros > rows * columns:
        raise ValueError(f"impossible sizes {sizes}")
    try:
        table = np.array(
            {"dense": [0, 0, 0, 0], "csr": [1, 1, 1, 0], "csc": [1, 1, 0, 1], "coo": [1, 2, 0, 0]}[
                layout
            ]
        )
    except KeyError:
        raise ValueError(f"layout {layout}") from None
    if layout == "dense":
        return np.int64(rows * columns * value_bytes)
    each = np.array(
        [
            nonzeros * value_bytes,
            nonzeros * index_bytes,
            (rows + 1) * index_bytes,
            (columns + 1) * index_bytes,
        ]
    )
    return (table * each).sum()


# ---------------------------------------------------------------- break_even_sparsity


@alternative("break_even_sparsity")
def break_even_sparsity__bisection(rows, columns, layout, value_bytes=4, index_bytes=4):
    if layout not in ("csr", "csc", "coo") or min(rows, columns) < 1:
        raise ValueError("layout, rows or columns")
    pointers = {"csr": rows + 1, "csc": columns + 1, "coo": 0}[layout] * index_bytes
    indices = 2 if layout == "coo" else 1

    def surplus(sparsity):
        nonzeros = (1 - sparsity) * rows * columns
        return nonzeros * (value_bytes + indices * index_bytes) + pointers - dense

    dense = rows * columns * value_bytes
    if surplus(1.0) > 0 or surplus(0.0) < 0:
        raise ValueError("never")
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if surplus(middle) > 0 else (low, middle)
    return high


@alternative("break_even_sparsity")
def break_even_sparsity__density(rows, columns, layout, value_bytes=4, index_bytes=4):
    if rows <= 0 or columns <= 0 or value_bytes <= 0 or index_bytes <= 0:
        raise ValueError("sizes")
    density = {
        "csr": (value_bytes - index_bytes * (rows + 1) / (rows * columns)),
        "csc": (value_bytes - index_bytes * (columns + 1) / (rows * columns)),
        "coo": value_bytes,
    }.get(layout)
    if density is None or density < 0:
        raise ValueError("layout has no break-even point")
    density /= value_bytes + index_bytes * (1 + (layout == "coo"))
    return torch.tensor(1 - density, dtype=torch.float64)


# ---------------------------------------------------------------- apoz


@alternative("apoz")
def apoz__channels_first(activations):
    if activations.dim() not in (2, 4) or torch.isnan(activations).any():
        raise ValueError("activations")
    by_channel = activations.transpose(0, 1).flatten(1)
    return 1 - by_channel.count_nonzero(dim=1) / by_channel.shape[1]


@alternative("apoz")
def apoz__loop_float64(activations):
    if activations.ndim != 2 and activations.ndim != 4:
        raise ValueError("activations")
    if (activations != activations).any():
        raise ValueError("activations")
    fractions = []
    for channel in range(activations.shape[1]):
        part = activations[:, channel]
        fractions.append(sum(value == 0 for value in part.flatten().tolist()) / part.numel())
    return torch.tensor(fractions, dtype=torch.float64)


@alternative("apoz")
def apoz__by_numpy(activations):
    import numpy as np

    array = activations.detach().numpy()
    if array.ndim not in (2, 4) or np.isnan(array).any():
        raise ValueError("activations")
    return torch.from_numpy(np.mean(array == 0, axis=(0, 2, 3) if array.ndim == 4 else 0))


# ---------------------------------------------------------------- select_neurons


@alternative("select_neurons")
def select_neurons__loop(apoz_values, threshold):
    values = apoz_values.tolist()
    if not 0 <= threshold <= 1 or any(value != value for value in values):
        raise ValueError("threshold or apoz_values")
    keep = [i for i, value in enumerate(values) if value <= threshold]
    if not keep:
        keep = [values.index(min(values))]
    return torch.tensor(keep)


@alternative("select_neurons")
def select_neurons__last_of_the_lowest(apoz_values, threshold):
    if apoz_values.isnan().any() or threshold != threshold or threshold < 0 or threshold > 1:
        raise ValueError("apoz_values or threshold")
    keep = torch.where(apoz_values <= threshold)[0]
    if keep.numel() == 0:
        keep = torch.where(apoz_values == apoz_values.min())[0][-1:]
    return keep


# ---------------------------------------------------------------- remove_neurons


@alternative("remove_neurons")
def remove_neurons__new_layers(layer, next_layer, keep, spatial=1):
    outputs = layer.weight.shape[0]
    if keep.numel() == 0 or keep.min() < 0 or keep.max() >= outputs:
        raise ValueError("keep")
    if spatial < 1 or next_layer.weight.shape[1] != outputs * spatial:
        raise ValueError("spatial")

    def like(old, inputs, outs):
        bias = old.bias is not None
        if isinstance(old, nn.Linear):
            return nn.Linear(inputs, outs, bias=bias, dtype=old.weight.dtype)
        return nn.Conv2d(
            inputs,
            outs,
            old.kernel_size,
            old.stride,
            old.padding,
            old.dilation,
            bias=bias,
            padding_mode=old.padding_mode,
            dtype=old.weight.dtype,
        )

    small = like(layer, layer.weight.shape[1], len(keep))
    small_next = like(next_layer, len(keep) * spatial, next_layer.weight.shape[0])
    with torch.no_grad():
        for new, old in enumerate(keep.tolist()):
            small.weight[new] = layer.weight[old]
            if layer.bias is not None:
                small.bias[new] = layer.bias[old]
            for offset in range(spatial):
                column = next_layer.weight[:, old * spatial + offset]
                small_next.weight[:, new * spatial + offset] = column
        if next_layer.bias is not None:
            small_next.bias.copy_(next_layer.bias)
    return small, small_next


@alternative("remove_neurons")
def remove_neurons__unflatten(layer, next_layer, keep, spatial=1):
    indices = keep.tolist()
    if not indices or any(index not in range(len(layer.weight)) for index in indices):
        raise ValueError("keep")
    if spatial <= 0 or next_layer.weight.size(1) != len(layer.weight) * spatial:
        raise ValueError("spatial or next_layer")
    first, second = copy.deepcopy(layer), copy.deepcopy(next_layer)
    first.weight.data = layer.weight.data.index_select(0, keep)
    if first.bias is not None:
        first.bias.data = layer.bias.data.index_select(0, keep)
    shape = (len(next_layer.weight), len(layer.weight), spatial, *next_layer.weight.shape[2:])
    columns = next_layer.weight.data.reshape(shape).index_select(1, keep)
    second.weight.data = columns.flatten(1, 2).contiguous()
    for module, name in ((first, "out"), (second, "in")):
        kind = "features" if isinstance(module, nn.Linear) else "channels"
        setattr(module, f"{name}_{kind}", module.weight.shape[0 if name == "out" else 1])
        module.weight.grad = None
        if module.bias is not None:
            module.bias.grad = None
    return [first.eval(), second.eval()]


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
