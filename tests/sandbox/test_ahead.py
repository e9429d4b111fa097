"""What is done ahead of the forks: PyTorch's compiler stays out until something is compiled."""

import subprocess
import sys
import textwrap


def run(code: str) -> str:
    """Run a program in a fresh interpreter, where no compiler is loaded; return what it prints."""
    program = "from autograder.sandbox.ahead import *\nimport sys\n" + textwrap.dedent(code)
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def test_training_does_not_load_the_compiler():
    printed = run(
        """
        load_ahead()
        model = nn.Linear(2, 2)
        for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop):
            optimizer = kind(model.parameters(), 0.1)
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            optimizer.load_state_dict(optimizer.state_dict())
        print(type(sys.modules["torch._dynamo"]).__name__)
        """
    )
    assert printed == "PutOff\n"


def test_what_compiles_gets_the_real_compiler():
    printed = run(
        """
        load_ahead()
        add = torch.compile(lambda x: x + 1, backend="eager")
        print(add(torch.ones(1)).item(), torch._dynamo is sys.modules["torch._dynamo"])
        print(type(torch._dynamo).__name__)
        warm_up()
        """
    )
    assert printed == "2.0 True\nmodule\n"


def test_a_part_of_the_compiler_can_be_imported():
    printed = run(
        """
        put_off_compiler()
        import torch._dynamo.utils
        print(torch._dynamo.utils.__name__, torch._dynamo.utils is not None)
        """
    )
    assert printed == "torch._dynamo.utils True\n"


def test_seeding_draws_what_torch_draws():
    printed = run(
        """
        seed_everything(7)
        first = torch.rand(3)
        torch.manual_seed(7)
        print(torch.equal(first, torch.rand(3)))
        """
    )
    assert printed == "True\n"
