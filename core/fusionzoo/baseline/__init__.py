"""XGBoost on the table and on TF-IDF components of the text: what a trained model is compared with."""
