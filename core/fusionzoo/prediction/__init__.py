"""Score and evaluate whole files: the commands `fusionzoo predict` and `fusionzoo evaluate`, without torch.

`predict_job` and `evaluate_job` are the tables of contents: read them first.
"""
