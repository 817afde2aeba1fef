"""Faulty plugins with a module that is fitted on train, each with the checks that must fail."""

from __future__ import annotations

from correct_plugins import Mutant
from mutant_changes import TEXT, add_fitted, add_to_init, make_common_mistake, make_mutants

FITTED_MUTANTS: tuple[Mutant, ...] = (
    *make_mutants(
        "check_fitted_modules",
        fit_of_a_plain_module=add_to_init("self.fit = lambda train: None"),
        fit_returns_and_stores_nothing=add_fitted("return torch.ones(4)"),
        fit_forgets_the_module_inside=add_fitted("self.means.fill_(1)", inner=True),
    ),
    make_common_mistake(
        "fit_divides_by_zero",
        "check_fitted_modules check_seed_determines_weights",
        add_fitted("self.means.copy_(self.means / 0)"),
    ),
    make_common_mistake(
        "fit_replaces_its_tensor",
        "check_fitted_modules check_state_dict_is_complete",
        add_fitted("self.means = torch.nn.Parameter(torch.ones(9), requires_grad=False)"),
    ),
    *make_mutants(
        "check_state_dict_is_complete",
        fitted_outside_of_the_state=[
            add_fitted("self.means.fill_(1)\n                self.shift = torch.full((width,), 0.5)"),
            (TEXT, f"{TEXT}        joined = joined + self.fitted.shift.to(joined.device)\n"),
        ],
    ),
)
