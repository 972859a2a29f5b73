"""The structure of any module: what it computes, sees and costs, how long it takes, where two differ."""
