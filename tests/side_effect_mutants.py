"""Faulty plugins whose forward or callbacks change something that later batches, or the model folder, do not expect."""

from __future__ import annotations

from correct_plugins import Mutant
from mutant_changes import IMPORTED, TEXT, add_before_return, add_hook, add_to_init, make_common_mistake, make_mutants

ANNEALED = "logits = logits / self.temperature"
ANNEAL = (
    "class LateSum(nn.Module):",
    "class Anneal(Callback):\n"
    "    def on_train_batch_end(self, trainer, pl_module, *args):\n"
    "        pl_module.model.temperature *= 0.9\n\n\nclass LateSum(nn.Module):",
)
CALLBACK_IMPORTED = (IMPORTED, f"{IMPORTED}from lightning.pytorch import Callback\n")

SIDE_EFFECT_MUTANTS: tuple[Mutant, ...] = (
    *make_mutants(
        "check_layers_are_registered",
        layers_in_a_list=add_to_init("self.layers = [nn.Linear(width, width)]"),
        parameters_in_a_dict=add_to_init("self.gates = {'text': [nn.Parameter(torch.ones(width))]}"),
    ),
    *make_mutants(
        "check_forward_has_no_side_effects",
        seeds_torch_in_training=(TEXT, f"{TEXT}        torch.manual_seed(0)\n"),
        seeds_python_in_training=[
            (IMPORTED, f"import random\n{IMPORTED}"),
            (TEXT, f"{TEXT}        random.seed(0)\n"),
        ],
        seeds_numpy_in_training=[
            (IMPORTED, f"import numpy as np\n{IMPORTED}"),
            (TEXT, f"{TEXT}        np.random.seed(0)\n"),
        ],
        switches_to_evaluation_mode=(TEXT, f"{TEXT}        self.eval()\n"),
    ),
    make_common_mistake(
        "counts_batches_in_a_buffer",
        "check_forward_has_no_side_effects",
        add_to_init("self.register_buffer('count', torch.zeros(()))"),
        (TEXT, f"{TEXT}        self.count = self.count + 1\n"),
    ),
    *make_mutants(
        "check_callbacks",
        callback_changes_an_attribute=[
            CALLBACK_IMPORTED,
            ANNEAL,
            add_to_init("self.temperature = 1.0"),
            add_before_return(ANNEALED),
            add_hook("callbacks()", "[Anneal()]"),
        ],
        callback_raises=[
            CALLBACK_IMPORTED,
            ANNEAL,
            add_hook("callbacks()", "[Anneal()]"),
        ],
    ),
    make_common_mistake(
        "remembers_the_first_batch",
        "check_scoring_is_deterministic check_state_dict_is_complete",
        add_to_init("self.center = None"),
        (
            TEXT,
            f"{TEXT}        if self.center is None and rows:\n"
            "            self.center = joined.detach().mean(dim=0, keepdim=True)\n"
            "        joined = joined if self.center is None else joined - self.center.to(joined.device)\n",
        ),
    ),
)
