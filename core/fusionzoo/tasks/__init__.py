"""Tasks: what the labels and the outputs of a model mean. `task_choice.py` chooses the task once, from the settings.

`task.py` and the modules of the tasks import no torch, so that serving can use them. `objective.py`, and the modules
that implement it, hold what training needs: losses, and the links from outputs to scores.
"""
