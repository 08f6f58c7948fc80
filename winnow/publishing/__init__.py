"""Training data of a run as a data set repository on the Hugging Face hub."""
