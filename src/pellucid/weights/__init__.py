"""Other people's files and names: what a file is, where its tensors are, what libraries call them."""
