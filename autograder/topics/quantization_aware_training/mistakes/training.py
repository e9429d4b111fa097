"""Wrong answers that students really give. Names of the define cells are available in them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from autograder.authoring.answers import mistake

# ---------------------------------------------------------------- prepare_qat


@mistake(
    "prepare_qat",
    caught_by="test_every_conv_layer_is_wrapped",
    hint="only the linear layers are wrapped, conv layers stay in float",
)
def prepare_qat__conv_forgotten(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model)
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, nn.Linear):
            twin.set_submodule(name, QATLinear(layer, weight_bits, activation_bits))
    return twin.eval()


@mistake(
    "prepare_qat",
    caught_by="test_every_linear_layer_is_wrapped",
    hint="only the direct children are wrapped; layers deep inside other modules are forgotten",
)
def prepare_qat__nested_forgotten(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model)
    for name, layer in list(twin.named_children()):
        if isinstance(layer, nn.Linear):
            setattr(twin, name, QATLinear(layer, weight_bits, activation_bits))
        elif isinstance(layer, nn.Conv2d):
            setattr(twin, name, QATConv2d(layer, weight_bits, activation_bits))
    return twin.eval()


@mistake(
    "prepare_qat",
    caught_by="test_every_linear_layer_is_wrapped",
    hint="the last layer stays in float",
)
def prepare_qat__last_layer_forgotten(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model)
    layers = [
        (name, layer)
        for name, layer in twin.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    for name, layer in layers[:-1] or layers:
        kind = QATConv2d if isinstance(layer, nn.Conv2d) else QATLinear
        twin.set_submodule(name, kind(layer, weight_bits, activation_bits))
    return twin.eval()


@mistake(
    "prepare_qat",
    caught_by="test_preparing_leaves_the_callers_model",
    hint="the given model itself is changed: work on a deep copy",
)
def prepare_qat__changes_the_model(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Conv2d):
            model.set_submodule(name, QATConv2d(layer, weight_bits, activation_bits))
        elif isinstance(layer, nn.Linear):
            model.set_submodule(name, QATLinear(layer, weight_bits, activation_bits))
    return model.eval()


@mistake(
    "prepare_qat",
    caught_by="test_prepared_model_is_in_eval_mode",
    hint="the result is not in eval mode in all its modules",
)
def prepare_qat__left_in_train_mode(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model).eval()
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, nn.Conv2d):
            twin.set_submodule(name, QATConv2d(layer, weight_bits, activation_bits))
        elif isinstance(layer, nn.Linear):
            twin.set_submodule(name, QATLinear(layer, weight_bits, activation_bits))
    return twin


@mistake(
    "prepare_qat",
    caught_by="test_bits_are_in_their_places",
    hint="weight_bits and activation_bits are swapped",
)
def prepare_qat__bits_swapped(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model)
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, nn.Conv2d):
            twin.set_submodule(name, QATConv2d(layer, activation_bits, weight_bits))
        elif isinstance(layer, nn.Linear):
            twin.set_submodule(name, QATLinear(layer, activation_bits, weight_bits))
    return twin.eval()


@mistake(
    "prepare_qat",
    caught_by="test_every_layer_watches_its_own_input",
    hint="all layers share one observer, so the ranges of different inputs are mixed",
)
def prepare_qat__shared_observer(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin, observer = copy.deepcopy(model), MovingAverageObserver(0.9)
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            kind = QATConv2d if isinstance(layer, nn.Conv2d) else QATLinear
            wrapped = kind(layer, weight_bits, activation_bits)
            wrapped.observer = observer
            twin.set_submodule(name, wrapped)
    return twin.eval()


@mistake(
    "prepare_qat",
    caught_by="test_every_input_is_quantized",
    hint="activation_bits does not reach every layer",
)
def prepare_qat__activation_bits_lost(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model)
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            kind = QATConv2d if isinstance(layer, nn.Conv2d) else QATLinear
            twin.set_submodule(name, kind(layer, weight_bits, 8))
    return twin.eval()


@mistake(
    "prepare_qat",
    caught_by="test_float_weights_are_kept",
    hint="the float weights are rounded at once; they stay, and the layers round them anew",
)
def prepare_qat__rounds_the_weights_at_once(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model)
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            kind = QATConv2d if isinstance(layer, nn.Conv2d) else QATLinear
            scale, weight = weight_scale(layer.weight, weight_bits), layer.weight
            weight.data = fake_quantize(weight.data, scale, 0, weight_bits, True)
            twin.set_submodule(name, kind(layer, weight_bits, activation_bits))
    return twin.eval()


@mistake(
    "prepare_qat",
    caught_by="test_preparing_leaves_the_callers_model",
    hint="the copy shares its parameters with the given model, so training it trains that one too",
)
def prepare_qat__shares_the_parameters(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)
    twin = copy.deepcopy(model, {id(p): p for p in model.parameters()})
    for name, layer in list(twin.named_modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            kind = QATConv2d if isinstance(layer, nn.Conv2d) else QATLinear
            twin.set_submodule(name, kind(layer, weight_bits, activation_bits))
    return twin.eval()


@mistake(
    "prepare_qat",
    caught_by="test_networks_with_a_forward_of_their_own",
    hint="the modules are put into a new Sequential: what the model's own forward does between "
    "them is lost",
)
def prepare_qat__forward_lost(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)

    def wrap(module):
        if isinstance(module, nn.Conv2d):
            return QATConv2d(copy.deepcopy(module), weight_bits, activation_bits)
        if isinstance(module, nn.Linear):
            return QATLinear(copy.deepcopy(module), weight_bits, activation_bits)
        parts = [wrap(child) for child in module.children()]
        return nn.Sequential(*parts) if parts else copy.deepcopy(module)

    return wrap(model).eval()


@mistake(
    "prepare_qat",
    caught_by="test_networks_with_a_forward_of_their_own",
    hint="only the direct children are wrapped; layers deep inside other modules are forgotten",
)
def prepare_qat__only_inside_sequential(model, weight_bits, activation_bits):
    code_range(weight_bits, True), code_range(activation_bits, True)

    def wrap(module):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Conv2d):
                setattr(module, name, QATConv2d(layer, weight_bits, activation_bits))
            elif isinstance(layer, nn.Linear):
                setattr(module, name, QATLinear(layer, weight_bits, activation_bits))
            elif isinstance(layer, nn.Sequential):
                wrap(layer)

    twin = copy.deepcopy(model)
    wrap(twin)
    return twin.eval()


# ---------------------------------------------------------------- train_qat


@mistake(
    "train_qat",
    caught_by="test_training_leaves_the_given_model",
    hint="the given model is trained itself: train a deep copy",
    replay=False,
)
def train_qat__changes_the_model(model, loader, epochs, lr):
    return train(model, loader, epochs, lr)


@mistake(
    "train_qat",
    caught_by="test_trained_model_is_in_eval_mode",
    hint="the result is left in train mode",
    replay=False,
)
def train_qat__left_in_train_mode(model, loader, epochs, lr):
    return train(copy.deepcopy(model), loader, epochs, lr).train()


@mistake(
    "train_qat",
    caught_by="test_ranges_of_the_inputs_are_learnt",
    hint="the model is trained in eval mode, so the observers never see an input",
    replay=False,
)
def train_qat__trains_in_eval_mode(model, loader, epochs, lr):
    require(epochs >= 0 and lr > 0, "epochs and lr")
    twin = copy.deepcopy(model).eval()
    optimizer = torch.optim.Adam(twin.parameters(), lr)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(twin(images), labels).backward()
            optimizer.step()
    return twin


@mistake(
    "train_qat",
    caught_by="test_epochs_and_learning_rate_of_qat_count",
    hint="the number of epochs is ignored",
    replay=False,
)
def train_qat__ignores_epochs(model, loader, epochs, lr):
    require(epochs >= 0, "epochs must be at least 0")
    return train(copy.deepcopy(model), loader, 5, lr)


@mistake(
    "train_qat",
    caught_by="test_epochs_and_learning_rate_of_qat_count",
    hint="the learning rate is ignored",
    replay=False,
)
def train_qat__ignores_the_learning_rate(model, loader, epochs, lr):
    require(lr > 0, "lr must be above 0")
    return train(copy.deepcopy(model), loader, epochs, 1e-2)


@mistake(
    "train_qat",
    caught_by="test_an_easy_task_is_learnt",
    hint="the model that is returned was not trained",
    replay=False,
)
def train_qat__does_not_train(model, loader, epochs, lr):
    train(copy.deepcopy(model), loader, epochs, lr)
    return copy.deepcopy(model).eval()


@mistake(
    "train_qat",
    caught_by="test_every_float_weight_learns",
    hint="the optimizer has only a part of the parameters",
    replay=False,
)
def train_qat__trains_only_a_part(model, loader, epochs, lr):
    require(lr > 0, "lr must be above 0")
    twin = copy.deepcopy(model)
    return train(twin, loader, epochs, optimizer=torch.optim.Adam([*twin.parameters()][-2:], lr))


@mistake(
    "train_qat",
    caught_by="test_every_float_weight_learns",
    hint="after each step the float weights are replaced by the rounded ones",
    replay=False,
)
def train_qat__weights_rounded_after_each_step(model, loader, epochs, lr):
    twin = copy.deepcopy(model)

    def replace():
        with torch.no_grad():
            for layer in twin.modules():
                if isinstance(layer, QATLinear):
                    layer.layer.weight.copy_(layer.quantized_weight())

    return train(twin, loader, epochs, lr, after_step=replace)


@mistake(
    "train_qat",
    caught_by="test_every_batch_is_used",
    hint="each epoch trains on one batch: it ends after the first, or the step follows the loop",
    replay=False,
)
def train_qat__one_step_per_epoch(model, loader, epochs, lr):
    require(epochs >= 0 and lr > 0, "epochs must be 0 or more, lr above 0")
    twin = copy.deepcopy(model).train()
    optimizer = torch.optim.Adam(twin.parameters(), lr)
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(twin(images), labels).backward()
        optimizer.step()
    return twin.eval()


@mistake(
    "train_qat",
    caught_by="test_every_batch_is_used",
    hint="each epoch trains on one batch: it ends after the first, or the step follows the loop",
    replay=False,
)
def train_qat__trains_on_one_batch(model, loader, epochs, lr):
    require(epochs >= 0 and lr > 0, "epochs must be 0 or more, lr above 0")
    twin = copy.deepcopy(model).train()
    optimizer = torch.optim.Adam(twin.parameters(), lr)
    for _ in range(epochs):
        images, labels = next(iter(loader))
        optimizer.zero_grad()
        F.cross_entropy(twin(images), labels).backward()
        optimizer.step()
    return twin.eval()


@mistake(
    "train_qat",
    caught_by="test_training_leaves_the_given_model",
    hint="with epochs=0 the given model itself comes back; a copy is expected then too",
    replay=False,
)
def train_qat__no_copy_without_epochs(model, loader, epochs, lr):
    require(lr > 0, "lr must be above 0")
    if epochs == 0:
        return model.eval()
    return train(copy.deepcopy(model), loader, epochs, lr)


@mistake(
    "train_qat",
    caught_by="test_gradients_do_not_pile_up",
    hint="zero_grad is forgotten: each step uses the sum of all gradients so far",
    replay=False,
)
def train_qat__gradients_pile_up(model, loader, epochs, lr):
    require(epochs >= 0 and lr > 0, "epochs must be 0 or more, lr above 0")
    twin = copy.deepcopy(model).train()
    optimizer = torch.optim.SGD(twin.parameters(), lr)
    for _ in range(epochs):
        for images, labels in loader:
            F.cross_entropy(twin(images), labels).backward()
            optimizer.step()
    return twin.eval()
