"""`init_from`: start a training from the weights of a trained model."""
